"""The store, the database and the process fail for real; nothing is lost and nothing sticks."""

import copy
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from uuid import uuid4

import pytest
import requests
from botocore.config import Config
from django.db import OperationalError, connection
from django.utils import timezone
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from attachments import services, storage
from attachments.errors import StorageUnavailable
from attachments.models import Attachment, ObjectDeletion
from nodus.dev.embedded import EmbeddedPostgres, find_free_ports
from tests.stores import get_checksum, make_store

pytestmark = pytest.mark.django_db

BASE = "/api/v1/attachments"


def confirm(client, ticket):
    body = {"attachment_id": str(ticket.attachment_id)}
    return client.post(f"{BASE}/confirm", body, format="json")


def use_endpoint(settings, url, **config):
    storages = copy.deepcopy(settings.STORAGES)
    options = storages["attachments"]["OPTIONS"]
    options["endpoint_url"] = url
    options["client_config"] = options["client_config"].merge(Config(**config))
    settings.STORAGES = storages


def assert_unavailable(response):
    (error,) = response.json()["errors"]
    assert (response.status_code, error["code"]) == (503, "storage_unavailable")
    assert response.json()["type"] == "server_error"
    assert int(response["Retry-After"]) > 0


# The store stops


@pytest.fixture
def own_store(tmp_path, settings):
    """A store that a test may stop."""
    store = make_store(tmp_path)
    use_endpoint(settings, store.start())
    yield store
    store.kill()  # its data is thrown away


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_the_store_stops_while_a_client_confirms(own_store, user, upload, api, samples, s3, how):
    client, ticket = api(user), upload(user)
    getattr(own_store, how)()

    started = time.monotonic()
    assert_unavailable(confirm(client, ticket))
    assert time.monotonic() - started < 10
    assert Attachment.objects.get().status == "pending"

    own_store.start()
    response = confirm(client, ticket)
    assert (response.status_code, response.json()["status"]) == (200, "ready")
    assert response.json()["size_bytes"] == len(samples["image/png"])


def test_a_store_that_is_down_does_not_stop_what_needs_none(
    own_store, user, upload, attachment_of, api
):
    client, attachment = api(user), attachment_of(user)
    own_store.stop()

    assert client.get(f"{BASE}/{attachment.pk}").status_code == 200
    assert client.get(BASE).status_code == 200
    assert client.get(f"{BASE}/{attachment.pk}/download").status_code == 302
    presigned = client.post(
        f"{BASE}/presigned", {"filename": "a", "content_type": "image/png"}, format="json"
    )
    assert presigned.status_code == 201
    own_store.start()


# The store answers wrongly

XML = '<?xml version="1.0" encoding="UTF-8"?><Error><Code>{}</Code><Message>no</Message></Error>'
ANSWERS = {
    "403": (403, "application/xml", XML.format("AccessDenied")),
    "403 bare": (403, "text/plain", ""),
    "500": (500, "application/xml", XML.format("InternalError")),
    "503": (503, "application/xml", XML.format("SlowDown")),
    "404 of a proxy": (404, "text/html", "<html><h1>Not Found</h1></html>"),
    "404 bare": (404, "text/plain", ""),
    "404 of the bucket": (404, "application/xml", XML.format("NoSuchBucket")),
    "200 of a portal": (200, "text/html", "<html>Please log in</html>"),
    "200 bare": (200, "text/plain", ""),
    "206 without headers": (206, "text/plain", "x"),
    "301": (301, "text/html", ""),
    "not even HTTP": (None, "", "\x00\x01rubbish\r\n\r\n"),
}


@contextmanager
def serve(answer):
    """A server that gives everybody the same answer, or hangs."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            if answer is None:
                time.sleep(3)
                return
            status, content_type, body = answer
            if status is None:
                self.wfile.write(body.encode())
                return
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body.encode())))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body.encode())

        do_HEAD = do_PUT = do_POST = do_GET  # noqa: N815

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize("answer", ANSWERS)
def test_the_store_answers_wrongly(settings, user, upload, api, answer):
    ticket = upload(user)

    with serve(ANSWERS[answer]) as url, settings_of(settings, url):
        assert_unavailable(confirm(api(user), ticket))

    assert Attachment.objects.get().status == "pending"
    assert confirm(api(user), ticket).status_code == 200


def test_the_store_is_slow(settings, user, upload, api):
    ticket = upload(user)

    started = time.monotonic()
    with serve(None) as url, settings_of(settings, url, read_timeout=0.3):
        assert_unavailable(confirm(api(user), ticket))
    assert time.monotonic() - started < 10

    assert confirm(api(user), ticket).status_code == 200


def test_the_clients_never_wait_for_ever(settings):
    config = settings.STORAGES["attachments"]["OPTIONS"]["client_config"]

    assert (config.connect_timeout, config.read_timeout) == (2, 10)
    assert config.retries["total_max_attempts"] == 2


@contextmanager
def settings_of(settings, url, **config):
    before = settings.STORAGES
    use_endpoint(settings, url, **config)
    yield
    settings.STORAGES = before


def test_presign_with_a_store_that_was_never_seen(settings, user, api):
    (port,) = find_free_ports(1)
    use_endpoint(settings, f"http://127.0.0.1:{port}")

    response = api(user).post(
        f"{BASE}/presigned", {"filename": "a", "content_type": "image/png"}, format="json"
    )

    assert_unavailable(response)


# The database stops


@pytest.fixture
def own_database():
    """A database that a test may stop."""
    with tempfile.TemporaryDirectory(prefix="nodus-", ignore_cleanup_errors=True) as directory:
        Path(directory).chmod(0o755)  # PostgreSQL runs as another user when the tests run as root
        database = EmbeddedPostgres(data_dir=Path(directory) / "postgres", is_durable=False)
        yield database
        database.stop()


@pytest.fixture
def call(own_database, tmp_path):
    """Call nodus behind gunicorn, on a database of its own, as alice."""
    (port,) = find_free_ports(1)
    environment = {
        **os.environ,
        "DATABASE_URL": own_database.start(),
        "BIND": f"127.0.0.1:{port}",
        "WEB_CONCURRENCY": "1",
        "DJANGO_SUPERUSER_PASSWORD": "alice-demo",
    }
    python = [sys.executable]
    for command in ("migrate", "createsuperuser --noinput --username=alice --email=a@example.com"):
        subprocess.run([*python, "manage.py", *command.split()], check=True, env=environment)
    command = [*python, "-m", "gunicorn", "-c", "python:nodus.gunicorn_conf"]
    log = (tmp_path / "gunicorn.log").open("w")
    server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    session = requests.Session()
    session.mount("http://", HTTPAdapter(max_retries=Retry(20, backoff_factor=0.1)))  # it starts

    def call(method, path, body=None):
        return session.request(method, f"http://127.0.0.1:{port}{path}", json=body, timeout=30)

    try:
        with log, session:
            body = {"username": "alice", "password": "alice-demo"}
            token = call("POST", "/api/v1/auth/token", body).json()["access"]
            session.headers["Authorization"] = f"Bearer {token}"
            yield call
    finally:
        server.send_signal(signal.SIGINT)  # at once, without waiting for idle clients
        server.wait(40)


@pytest.mark.postgres
def test_the_database_stops_and_comes_back(own_database, call, post_file, samples):
    ticket = call("POST", f"{BASE}/presigned", {"filename": "a", "content_type": "image/png"})
    post_file(ticket.json(), samples["image/png"])
    body = {"attachment_id": ticket.json()["attachment_id"]}
    health = {"status": "ok", "minio": "connected", "database": "connected"}
    assert call("GET", "/health").json() == health

    own_database.stop()

    down = call("GET", "/health")
    assert down.status_code == 503
    assert down.json() == {**health, "status": "error", "database": "unavailable"}
    started = time.monotonic()
    response = call("POST", f"{BASE}/confirm", body)
    assert time.monotonic() - started < 10
    assert (response.status_code, int(response.headers["Retry-After"]) > 0) == (503, True)
    assert response.json() == {
        "type": "server_error",
        "errors": [
            {
                "code": "database_unavailable",
                "detail": "The database is not available. Try again later.",
                "attr": None,
            }
        ],
    }

    own_database.start()

    deadline = time.monotonic() + 30  # the pool tries again after 1 s, 2 s, 4 s ...
    while (response := call("POST", f"{BASE}/confirm", body)).status_code == 503:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert (response.status_code, response.json()["status"]) == (200, "ready")
    assert call("GET", "/health").json() == health


def test_the_database_goes_in_the_middle_of_a_request(user, upload, api, monkeypatch, caplog):
    """What it says of itself goes to the log, not to the client."""
    client, ticket = api(user), upload(user)

    def fail(self, *args, **kwargs):
        raise OperationalError("the server closed the connection unexpectedly")

    with monkeypatch.context() as patch:
        patch.setattr("django.db.backends.utils.CursorWrapper.execute", fail)
        response = confirm(client, ticket)

    (error,) = response.json()["errors"]
    assert (response.status_code, error["code"]) == (503, "database_unavailable")
    assert "closed the connection" not in response.content.decode()
    assert "closed the connection" in caplog.text
    assert confirm(client, ticket).status_code == 200


# The process is killed

DYING = """
import os, signal, sys
from django.contrib.auth import get_user_model
from attachments import services, signals, storage

def die(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)

def then_die(function):
    def run(*args, **kwargs):
        function(*args, **kwargs)
        die()
    return run

moment, function = sys.argv[1].split()
step = getattr(storage, function, None)
user = get_user_model().objects.get()
"""
CONFIRM_AND_DIE = f"""{DYING}
from attachments.services import verify
from attachments.storage import copies

verify.MAX_COPY_IN_REQUEST = int(sys.argv[3])
copies.PART_BYTES = 5 * 2**20
setattr(storage, function, die if moment == "before" else then_die(step))
services.confirm_upload(attachment_id=sys.argv[2], user=user)
services.process_attachment(attachment_id=sys.argv[2])
services.remove_now()
"""
DELETE_AND_DIE = f"""{DYING}
if function == "commit":
    signals.transaction.on_commit = die
else:
    storage.delete_objects = die if moment == "before" else then_die(step)
services.delete_attachment(attachment_id=sys.argv[2], user=user)
"""


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("step", "status"),
    [
        ("before copy_object", "verifying"),
        ("after copy_object", "verifying"),
        ("before inspect_object", "verifying"),
        ("after inspect_object", "verifying"),
        ("before delete_objects", "ready"),
        ("after delete_objects", "ready"),
    ],
)
def test_a_confirm_is_killed(kill, user, upload, api, bucket, samples, step, status):
    ticket = upload(user)

    kill(CONFIRM_AND_DIE, step, ticket.attachment_id, 2**20)

    assert Attachment.objects.get().status == status
    if status == "verifying":  # the lease of the dead keeps others out until it is over
        assert confirm(api(user), ticket).status_code == 409
        Attachment.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    response = confirm(api(user), ticket)
    assert (response.status_code, response.json()["status"]) == (200, "ready")
    assert_rows_and_objects_agree(bucket)
    row = Attachment.objects.get()
    assert bucket.Object(row.storage_key.name).get()["Body"].read() == samples["image/png"]


def assert_rows_and_objects_agree(bucket):
    """Once what is noted was deleted, as the next purge does."""
    services.remove_now()
    services.carry_out_deletions()
    row = Attachment.objects.get()
    found = [item.key for item in bucket.objects.filter(Prefix=f"attachments/{row.pk}/")]
    assert found == [row.key]
    assert not list(storage.list_copies(f"attachments/{row.pk}/"))


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "step",
    [
        "before inspect_object",
        "before begin_copy",
        "before copy_in_parts",
        "after copy_in_parts",
        "after inspect_object",
        "before find_checksum",
        "before delete_objects",
    ],
)
def test_a_worker_is_killed(kill, user, upload, api, bucket, samples, step):
    content = samples["image/png"] + b"\0" * (6 * 2**20)
    ticket = upload(user, content=content)
    Attachment.objects.update(
        status="verifying", waiting_since=timezone.now(), lease_expires_at=timezone.now()
    )

    kill(CONFIRM_AND_DIE, step, ticket.attachment_id, 2**20)

    if Attachment.objects.get().status == "verifying":
        services.process_waiting()
        assert Attachment.objects.get().status == "verifying"  # the lease keeps others out
    Attachment.objects.filter(lease_expires_at__isnull=False).update(
        lease_expires_at=timezone.now() - timedelta(seconds=1)
    )
    services.process_waiting()
    row = Attachment.objects.get()
    assert (row.status, row.checksum_sha256) == ("ready", get_checksum(content))
    assert_rows_and_objects_agree(bucket)
    assert bucket.Object(row.key).get()["Body"].read() == content


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_a_rejecting_confirm_is_killed(kill, user, upload, api, bucket, post_file):
    ticket = upload(user, content=b"<html>")

    kill(CONFIRM_AND_DIE, "before delete_objects", ticket.attachment_id, 2**20)

    response = confirm(api(user), ticket)
    assert response.status_code == 422
    assert Attachment.objects.get().status == "rejected"
    ObjectDeletion.objects.update(due_at=timezone.now())  # the claim of the dead is over
    services.carry_out_deletions()
    assert f"pending/{ticket.attachment_id}" not in {item.key for item in bucket.objects.all()}


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("step", "has_row", "has_object"),
    [
        ("before commit", True, True),
        ("before delete_objects", False, True),
        ("after delete_objects", False, False),
    ],
)
def test_a_delete_is_killed(kill, user, attachment_of, bucket, step, has_row, has_object):
    attachment = attachment_of(user)

    kill(DELETE_AND_DIE, step, attachment.pk)

    assert Attachment.objects.exists() == has_row
    assert ObjectDeletion.objects.filter(key=attachment.key).exists() != has_row
    assert (attachment.key in {item.key for item in bucket.objects.all()}) == has_object
    ObjectDeletion.objects.update(due_at=timezone.now())  # the claim of the dead is over
    services.purge_attachments()
    assert (attachment.key in {item.key for item in bucket.objects.all()}) == has_row
    assert not ObjectDeletion.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_the_store_stops_while_attachments_are_deleted(own_store, user, attachment_of, api, s3):
    client, attachment = api(user), attachment_of(user)
    own_store.kill()

    assert client.delete(f"{BASE}/{attachment.pk}").status_code == 204
    assert not Attachment.objects.exists()
    note = ObjectDeletion.objects.get(key=attachment.key)
    assert note.attempts == 1
    assert "Could not connect" in note.last_error

    own_store.start()
    assert storage.inspect_object(attachment.key).size_bytes > 0
    services.purge_attachments()
    assert not ObjectDeletion.objects.exists()
    with pytest.raises(storage.ObjectNotFound):
        storage.inspect_object(attachment.key)


@pytest.mark.django_db(transaction=True)
def test_the_store_stops_in_the_middle_of_a_purge(own_store, user, attachment_of):
    keys = {attachment_of(user).key for _ in range(12)}
    moment = timezone.now() - timedelta(days=8)
    Attachment.objects.update(created_at=moment, confirmed_at=moment, expires_at=moment)

    with pytest.raises(StorageUnavailable):
        services.purge_attachments(batch_size=1, on_progress=lambda count: own_store.kill())

    own_store.start()
    left = {item.key for item in storage.list_objects("attachments/")}
    rows = set(Attachment.objects.values_list("storage_key", flat=True))
    notes = set(ObjectDeletion.objects.values_list("key", flat=True))
    assert rows  # it stopped
    assert rows <= left <= rows | notes <= keys

    services.purge_attachments()
    assert not Attachment.objects.exists()
    assert not ObjectDeletion.objects.exists()
    assert not list(storage.list_objects("attachments/"))


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_no_transaction_is_open_while_the_store_is_asked(user, upload, monkeypatch):
    ticket = upload(user)
    states = []
    for step in ("inspect_object", "copy_object"):
        original = getattr(storage, step)

        def look(*args, original=original, **kwargs):
            states.append(
                (connection.in_atomic_block, connection.connection.info.transaction_status.name)
            )
            return original(*args, **kwargs)

        monkeypatch.setattr(storage, step, look)

    services.confirm_upload(attachment_id=ticket.attachment_id, user=user)

    assert states == [(False, "IDLE")] * 2


def test_an_unknown_id_costs_the_store_nothing(user, store_calls, api):
    ticket = type("Ticket", (), {"attachment_id": uuid4()})
    storage.ensure_bucket()
    store_calls()

    assert confirm(api(user), ticket).status_code == 404
    assert store_calls() == []
