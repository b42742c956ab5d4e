"""The HTTP contract, to the letter."""

import base64
import hashlib
import json
import time
from datetime import timedelta
from uuid import UUID

import psycopg
import pytest
import requests
from django.db import connection
from django.db.utils import DatabaseErrorWrapper
from django.urls import reverse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema
from gunicorn.config import Config
from gunicorn.http.parser import RequestParser

from attachments import services
from attachments.models import Attachment
from attachments.services import soon
from attachments.storage import find_link_expiry
from tests.databases import get_database_url

pytestmark = pytest.mark.django_db

NO_ID = "2f9f1e6c-5b1c-4f57-9d35-0c7f4a1f8a11"
BASE = "/api/v1/attachments"
PNG = {"filename": "a.png", "content_type": "image/png"}


@pytest.fixture
def client(api, user):
    return api(user)


def presign(client, headers=None, **body):
    return client.post(f"{BASE}/presigned", {**PNG, **body}, format="json", headers=headers)


def confirm(client, attachment_id, **body):
    return client.post(f"{BASE}/confirm", {"attachment_id": attachment_id, **body}, format="json")


def get_error(response):
    """The one error of a response, whose shape is checked."""
    body = response.json()
    assert body.keys() == {"type", "errors"}
    (error,) = body["errors"]
    assert error.keys() == {"code", "detail", "attr"}
    assert error["detail"]
    return response.status_code, error["code"], error["attr"]


@pytest.fixture
def uploaded(client, post_file, samples):
    """A ticket whose file is in the store."""
    ticket = presign(client).json()
    assert post_file(ticket, samples["image/png"]).status_code == 204
    return ticket


@pytest.fixture
def ready(client, uploaded):
    """An attachment as confirm gives it."""
    return confirm(client, uploaded["attachment_id"]).json()


# The flow


def test_presign(client):
    response = presign(client)

    assert response.status_code == 201
    ticket = response.json()
    assert ticket.keys() == {
        "attachment_id",
        "url",
        "fields",
        "expires_at",
        "expires_in",
        "max_size_bytes",
    }
    assert ticket["fields"]["key"] == f"pending/{UUID(ticket['attachment_id'])}"
    assert parse_datetime(ticket["expires_at"]) > timezone.now()
    assert (ticket["expires_in"], ticket["max_size_bytes"]) == (600, 104857600)
    assert "Idempotent-Replayed" not in response.headers


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        ("IMAGE/PNG; charset=binary", "image/png"),
        ("image/jpg", "image/jpeg"),
        ("audio/ogg; codecs=opus", "audio/ogg"),
    ],
)
def test_content_types_as_browsers_send_them(client, sent, meant):
    ticket = presign(client, content_type=sent).json()

    assert ticket["fields"]["Content-Type"] == meant
    assert client.get(f"{BASE}/{ticket['attachment_id']}").json()["content_type"] == meant


def test_confirm_and_detail(client, user, uploaded, samples, settings):
    response = confirm(client, uploaded["attachment_id"], metadata={"caption": "Кот"})

    assert response.status_code == 200
    attachment = response.json()
    options = settings.STORAGES["attachments"]["OPTIONS"]
    key = Attachment.objects.get().key
    assert attachment == {
        "id": uploaded["attachment_id"],
        "user_id": user.pk,
        "message_id": None,
        "filename": "a.png",
        "content_type": "image/png",
        "size_bytes": len(samples["image/png"]),
        "checksum_sha256": base64.b64encode(hashlib.sha256(samples["image/png"]).digest()).decode(),
        "status": "ready",
        "metadata": {"caption": "Кот"},
        "media": {},
        "created_at": attachment["created_at"],
        "confirmed_at": attachment["confirmed_at"],
        "download_url": f"{options['endpoint_url']}/{options['bucket_name']}/{key}",
        "download_expires_at": None,
        "thumbnail_url": None,
        "error": None,
    }
    assert parse_datetime(attachment["created_at"]) < parse_datetime(attachment["confirmed_at"])
    assert client.get(f"{BASE}/{attachment['id']}").json() == attachment
    assert requests.get(attachment["download_url"], timeout=10).content == samples["image/png"]


def test_detail_before_confirm(client, uploaded):
    attachment = client.get(f"{BASE}/{uploaded['attachment_id']}").json()

    assert attachment["status"] == "pending"
    assert (attachment["download_url"], attachment["confirmed_at"]) == (None, None)


def test_confirm_twice(client, ready):
    response = confirm(client, ready["id"])

    assert (response.status_code, response.json()) == (200, ready)


def test_download(client, ready):
    response = client.get(f"{BASE}/{ready['id']}/download")

    assert response.status_code == 302
    assert response["Location"] == ready["download_url"]
    assert response["Cache-Control"] == "no-store"


@pytest.mark.parametrize("accept", ["image/*", "text/html", "application/xml", "rubbish", "*/*"])
def test_a_download_takes_any_accept(client, ready, accept):
    response = client.get(f"{BASE}/{ready['id']}/download", headers={"Accept": accept})

    assert (response.status_code, response["Location"]) == (302, ready["download_url"])


@pytest.mark.parametrize("public_read", [True, False])
def test_a_download_can_be_forced_past_the_cdn(client, ready, settings, samples, public_read):
    settings.ATTACHMENTS = {
        **settings.ATTACHMENTS,
        "CDN_URL": "https://cdn.example.com",
        "PUBLIC_READ": public_read,
    }

    shown = client.get(f"{BASE}/{ready['id']}/download", {"disposition": "inline"})
    forced = client.get(f"{BASE}/{ready['id']}/download", {"disposition": "attachment"})

    assert shown["Location"].startswith("https://cdn.example.com/")
    file = requests.get(forced["Location"], timeout=10)
    assert file.content == samples["image/png"]
    assert file.headers["Content-Disposition"] == 'attachment; filename="a.png"'


@pytest.mark.parametrize("disposition", ["", "nonsense", "\0"])
def test_another_disposition_is_refused(client, ready, disposition):
    response = client.get(f"{BASE}/{ready['id']}/download", {"disposition": disposition})

    assert get_error(response) == (400, "invalid_choice", "disposition")


def test_a_private_link_says_when_it_ends(client, ready, settings):
    settings.ATTACHMENTS = {**settings.ATTACHMENTS, "PUBLIC_READ": False}

    attachment = client.get(f"{BASE}/{ready['id']}").json()

    expires_at = parse_datetime(attachment["download_expires_at"])
    assert expires_at == find_link_expiry(attachment["download_url"])
    assert timedelta(seconds=299) < expires_at - timezone.now() <= timedelta(seconds=600)


def test_head_and_ranges_break_nothing(client, ready):
    detail = client.head(f"{BASE}/{ready['id']}")
    download = client.head(f"{BASE}/{ready['id']}/download", headers={"Range": "bytes=9-1,x"})

    assert (detail.status_code, detail.content) == (200, b"")
    assert (download.status_code, download["Location"]) == (302, ready["download_url"])


def test_delete(client, ready):
    response = client.delete(f"{BASE}/{ready['id']}")

    assert (response.status_code, response.content) == (204, b"")
    assert get_error(client.get(f"{BASE}/{ready['id']}")) == (404, "not_found", None)


def test_a_session_login_works_too(user, client):
    from rest_framework.test import APIClient

    browser = APIClient()
    browser.force_login(user)

    assert presign(browser).status_code == 201


# The list


def test_list_is_newest_first_in_cursor_pages(client, user):
    for name in "abc":
        presign(client, filename=name)

    first = client.get(BASE, {"page_size": 2}).json()
    second = client.get(first["next"]).json()

    assert first.keys() == {"next", "previous", "results"}
    assert [item["filename"] for item in first["results"]] == ["c", "b"]
    assert [item["filename"] for item in second["results"]] == ["a"]
    assert (first["previous"], second["next"]) == (None, None)


def test_list_pages_hold_at_most_100(client, user):
    Attachment.objects.bulk_create(
        Attachment(user=user, filename=str(number), expires_at=timezone.now())
        for number in range(120)
    )

    assert len(client.get(BASE, {"page_size": 1000}).json()["results"]) == 100


def test_list_filters(client, api, user, other_user, ready, message_of):
    message = message_of(user, other_user)
    linked = presign(client, message_id=message.pk).json()["attachment_id"]

    def list_ids(client, **query):
        return [item["id"] for item in client.get(BASE, query).json()["results"]]

    assert list_ids(client) == [linked, ready["id"]]
    assert list_ids(client, status="ready") == [ready["id"]]
    assert list_ids(client, message_id=message.pk) == [linked]
    assert list_ids(client, message_id=message.pk, status="ready") == []
    assert list_ids(api(other_user)) == []  # it is not ready yet
    Attachment.objects.filter(pk=linked).update(status="ready", size_bytes=1)
    assert list_ids(api(other_user)) == [linked]
    assert list_ids(api(other_user), message_id=message.pk + 1) == []


@pytest.mark.parametrize("cursor", ["nonsense", base64.b64encode(b"p=nonsense").decode()])
def test_list_refuses_a_cursor_that_it_did_not_give(client, cursor):
    assert get_error(client.get(BASE, {"cursor": cursor})) == (404, "not_found", None)


@pytest.mark.parametrize(
    "query",
    [
        {"status": "nonsense"},
        {"status": ""},
        {"message_id": "x"},
        {"message_id": 2**80},
        {"message_id": ""},
        {"message_id": "\0"},
    ],
)
def test_list_refuses_nonsense(client, query):
    response = client.get(BASE, query)

    assert response.status_code == 400
    assert response.json()["errors"][0]["attr"] in query


def test_list_takes_as_many_queries_for_many_rows(client, user, django_assert_num_queries):
    Attachment.objects.bulk_create(
        Attachment(user=user, filename=str(number), expires_at=timezone.now())
        for number in range(60)
    )

    with django_assert_num_queries(4):  # the token's user, own ids, readable messages, the rows
        client.get(BASE)


# Idempotency


def test_an_idempotency_key_replays(client):
    first = presign(client, headers={"Idempotency-Key": "k"})
    second = presign(client, headers={"Idempotency-Key": "k"})

    assert (first.status_code, second.status_code) == (201, 201)
    assert second["Idempotent-Replayed"] == "true"
    assert second.json()["attachment_id"] == first.json()["attachment_id"]
    assert second.json().keys() == first.json().keys()


def test_an_idempotency_key_reused(client):
    presign(client, headers={"Idempotency-Key": "k"})

    response = presign(client, headers={"Idempotency-Key": "k"}, filename="b.png")

    assert get_error(response) == (422, "idempotency_key_reused", None)


# Errors, each provoked for real


@pytest.mark.parametrize(
    ("body", "code", "attr"),
    [
        ({"content_type": "text/html"}, "content_type_not_allowed", "content_type"),
        ({"size_bytes": 104857601}, "file_too_large", "size_bytes"),
        ({"size_bytes": 0}, "invalid_size", "size_bytes"),
        ({"size_bytes": "many"}, "invalid", "size_bytes"),
        ({"filename": "a/b.png"}, "invalid_filename", "filename"),
        ({"filename": ""}, "invalid_filename", "filename"),
        ({"filename": "x" * 256}, "invalid_filename", "filename"),
        ({"filename": "a\0b"}, "invalid_filename", "filename"),
        ({"filename": 5}, "invalid", "filename"),
        ({"filename": None}, "null", "filename"),
        ({"metadata": "text"}, "invalid_metadata", "metadata"),
        ({"metadata": {"a": "\0"}}, "invalid_metadata", "metadata"),
        ({"metadata": {"a": "x" * 9000}}, "invalid_metadata", "metadata"),
        ({"checksum_sha256": "zz"}, "invalid_checksum", "checksum_sha256"),
        ({"checksum_sha256": ""}, "invalid_checksum", "checksum_sha256"),
        ({"message_id": ""}, "invalid", "message_id"),
        ({"message_id": "x"}, "invalid", "message_id"),
        ({"message_id": True}, "invalid", "message_id"),
        ({"message_id": 1.5}, "invalid", "message_id"),
        ({"message_id": 2**80}, "invalid", "message_id"),
    ],
)
def test_presign_refuses(client, body, code, attr):
    response = presign(client, **body)

    assert get_error(response) == (400, code, attr)
    assert response.json()["type"] == "validation_error"
    assert not Attachment.objects.exists()


def test_presign_names_each_missing_field(client):
    response = client.post(f"{BASE}/presigned", {}, format="json")

    assert response.status_code == 400
    assert {(item["code"], item["attr"]) for item in response.json()["errors"]} == {
        ("required", "filename"),
        ("required", "content_type"),
    }


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "parse_error"),
        (b"[]", 400, "parse_error"),
        (b"null", 400, "parse_error"),
        (b'{"metadata": ' + b"[" * 30_000, 400, "parse_error"),
        (b'{"metadata": ' + b'{"a":' * 10_000 + b"1" + b"}" * 10_001, 400, "parse_error"),
        (b'{"filename": "' + b"x" * 70_000 + b'"}', 413, "request_too_large"),
        (b"\xff\xfe", 400, "parse_error"),
        (b'{"filename": "\\ud800", "content_type": "image/png"}', 400, "invalid_filename"),
        (
            b'{"filename": "a", "content_type": "image/png", "metadata": {"a": "\\ud800"}}',
            400,
            "invalid_metadata",
        ),
        (
            b'{"filename": "a", "content_type": "image/png", "metadata": {"a": 1e999}}',
            400,
            "invalid_metadata",
        ),
        (b'{"filename": "a", "content_type": "\\ud800"}', 400, "content_type_not_allowed"),
        (b'{"filename": "a", "content_type": "image/png", "message_id": 1e999}', 400, "invalid"),
    ],
)
def test_rubbish_is_refused(client, body, status, code):
    response = client.post(f"{BASE}/presigned", body, content_type="application/json")

    assert get_error(response)[:2] == (status, code)


@pytest.mark.parametrize("max_memory_size", [100, None])
@pytest.mark.parametrize("is_chunked", [True, False])
@pytest.mark.parametrize(
    ("path", "limit"), [("presigned", 64 * 1024), ("presigned/batch", 256 * 1024)]
)
def test_bodies_have_limits_of_their_own(
    client, settings, path, limit, is_chunked, max_memory_size
):
    """Whatever Django's own limit is, and whether a length was declared or not."""
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = max_memory_size
    headers = {"CONTENT_LENGTH": "", "HTTP_TRANSFER_ENCODING": "chunked"} if is_chunked else {}
    body = json.dumps({"files": [PNG]} if "batch" in path else PNG).encode()

    def post(size):
        content = body + b" " * (size - len(body))
        return client.generic("POST", f"{BASE}/{path}", content, "application/json", **headers)

    assert post(limit).status_code == 201
    for size in (limit + 1, 3_000_000):
        assert get_error(post(size)) == (413, "request_too_large", None)


@pytest.mark.parametrize(
    ("received", "status"),
    [
        (b"2d\r\n%b\r\n0\r\n\r\n", 201),
        (b"2d\r\n%b\r\nrubbish\r\n\r\n", 400),
        (b"2d\r\n%b", 400),
    ],
)
def test_chunks_as_gunicorn_reads_them(client, received, status):
    head = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = b'{"filename":"a","content_type":"image/png"}  '
    request = next(RequestParser(Config(), iter([head + received % body]), ("::1", 1)))
    environ = {"wsgi.input": request.body, "CONTENT_LENGTH": ""}

    response = client.generic(
        "POST", f"{BASE}/presigned", b"-", "application/json",
        HTTP_TRANSFER_ENCODING="chunked", **environ,
    )  # fmt: skip

    assert response.status_code == status


@pytest.mark.parametrize("content_type", ["APPLICATION/JSON; charset=UTF-8", "application/json"])
def test_json_is_read_however_it_is_called(client, content_type):
    body = b"\xef\xbb\xbf" + json.dumps(PNG).encode()  # a byte order mark, as of PowerShell

    response = client.generic("POST", f"{BASE}/presigned", body, content_type)

    assert response.status_code == 201


def test_a_form_is_no_json(client):
    response = client.post(f"{BASE}/presigned", PNG, format="multipart")

    assert get_error(response)[:2] == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("post", "/presigned"),
        ("post", "/confirm"),
        ("get", ""),
        ("get", f"/{NO_ID}"),
        ("get", f"/{NO_ID}/download"),
        ("delete", f"/{NO_ID}"),
    ],
)
def test_nobody_gets_in_without_a_token(api, method, path):
    assert get_error(getattr(api(), method)(BASE + path)) == (401, "not_authenticated", None)


def test_a_wrong_token(api):
    client = api()
    client.credentials(HTTP_AUTHORIZATION="Bearer nonsense")

    response = client.get(BASE)

    assert response.status_code == 401
    assert response.json()["errors"][0]["code"] == "token_not_valid"


@pytest.mark.parametrize("attachment_id", [NO_ID, "nonsense", "0", "%00", "a/b"])
def test_no_such_attachment(client, attachment_id):
    assert get_error(client.get(f"{BASE}/{attachment_id}")) == (404, "not_found", None)
    assert get_error(client.delete(f"{BASE}/{attachment_id}")) == (404, "not_found", None)
    assert get_error(client.get(f"{BASE}/{attachment_id}/download")) == (404, "not_found", None)


def test_a_strangers_attachment_looks_like_none(api, other_user, ready):
    stranger = api(other_user)

    answers = [
        stranger.get(f"{BASE}/{ready['id']}"),
        stranger.delete(f"{BASE}/{ready['id']}"),
        stranger.get(f"{BASE}/{ready['id']}/download"),
        confirm(stranger, ready["id"]),
    ]

    missing = stranger.get(f"{BASE}/{NO_ID}")
    for answer in answers:
        assert (answer.status_code, answer.json()) == (404, missing.json())


def test_readers_may_not_delete(client, api, user, other_user, ready, message_of):
    confirm(client, ready["id"], message_id=message_of(user, other_user).pk)

    response = api(other_user).delete(f"{BASE}/{ready['id']}")

    assert get_error(response) == (403, "permission_denied", None)


def test_confirm_before_the_object_is_there(client):
    ticket = presign(client).json()

    assert get_error(confirm(client, ticket["attachment_id"])) == (409, "not_uploaded", None)


def test_confirm_while_another_runs(client, uploaded):
    Attachment.objects.update(
        status="verifying", lease_expires_at=timezone.now() + timedelta(seconds=30)
    )

    response = confirm(client, uploaded["attachment_id"])

    assert get_error(response) == (409, "upload_in_progress", None)
    assert int(response["Retry-After"]) > 0


def test_confirm_of_what_never_came(client):
    ticket = presign(client).json()
    Attachment.objects.update(expires_at=timezone.now())

    assert get_error(confirm(client, ticket["attachment_id"])) == (410, "upload_expired", None)


def test_confirm_of_nothing(client):
    assert get_error(confirm(client, "nonsense")) == (400, "invalid", "attachment_id")
    assert get_error(confirm(client, NO_ID)) == (404, "not_found", None)


def test_content_mismatch(client, post_file):
    ticket = presign(client).json()
    post_file(ticket, b"<html>")

    response = confirm(client, ticket["attachment_id"])

    assert get_error(response) == (422, "content_mismatch", None)
    detail = client.get(f"{BASE}/{ticket['attachment_id']}").json()
    assert (detail["status"], detail["download_url"]) == ("rejected", None)
    assert detail["error"] == {
        "code": "content_mismatch",
        "detail": response.json()["errors"][0]["detail"],
    }


def test_size_and_checksum_mismatch(client, bucket, samples):
    """The store refuses both at once. If a store does not, confirm finds it."""
    digest = base64.b64encode(hashlib.sha256(b"x").digest()).decode()
    short = presign(client, size_bytes=5).json()["attachment_id"]
    other = presign(client, checksum_sha256=digest).json()["attachment_id"]
    for attachment_id in (short, other):
        bucket.put_object(Key=f"pending/{attachment_id}", Body=samples["image/png"])

    assert get_error(confirm(client, short)) == (422, "size_mismatch", None)
    assert get_error(confirm(client, other)) == (422, "checksum_mismatch", None)


def test_not_ready(client, uploaded):
    response = client.get(f"{BASE}/{uploaded['attachment_id']}/download")

    assert get_error(response) == (409, "attachment_not_ready", None)


def test_already_linked(client, user, ready, message_of):
    confirm(client, ready["id"], message_id=message_of(user).pk)

    response = confirm(client, ready["id"], message_id=message_of(user).pk)

    assert get_error(response) == (409, "already_linked", "message_id")


def test_a_foreign_message(client, other_user, message_of):
    theirs = message_of(other_user)

    assert get_error(presign(client, message_id=theirs.pk)) == (404, "not_found", "message_id")


def test_a_method_that_is_not_there(client):
    assert get_error(client.put(BASE))[:2] == (405, "method_not_allowed")


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("statements", "status", "code"),
    [
        (["SET statement_timeout = 1", "SELECT pg_sleep(5)"], 500, "error"),
        (["SELECT pg_terminate_backend(pg_backend_pid())"], 503, "database_unavailable"),
    ],
)
def test_a_database_that_cancels_a_statement_is_there(
    client, monkeypatch, caplog, statements, status, code
):
    def fail(**kwargs):
        with wrap_errors, psycopg.connect(get_database_url(), autocommit=True) as other:
            for statement in statements:
                other.execute(statement)

    wrap_errors = DatabaseErrorWrapper(connection)
    monkeypatch.setattr(services, "get_attachment", fail)
    client.raise_request_exception = False

    response = client.get(f"{BASE}/{NO_ID}")

    assert get_error(response)[:2] == (status, code)
    assert caplog.records


# Speed: what one call costs


def test_what_the_plain_calls_cost(
    client, post_file, samples, store_calls, django_assert_num_queries
):
    presign(client)
    store_calls()

    with django_assert_num_queries(2):
        ticket = presign(client).json()
    assert store_calls() == []
    post_file(ticket, samples["image/png"])
    with django_assert_num_queries(4):
        confirm(client, ticket["attachment_id"])
    assert store_calls() == ["CopyObject", "GetObject"]
    with django_assert_num_queries(2):
        client.get(f"{BASE}/{ticket['attachment_id']}")
    assert store_calls() == []


@pytest.mark.parametrize(
    ("padding", "calls"),
    [(0, ["CopyObject", "GetObject"]), (2**18, ["CopyObject", "GetObject", "HeadObject"])],
)
def test_what_a_declared_checksum_costs(client, post_file, samples, store_calls, padding, calls):
    """Nothing, if the first bytes are all; a look, if the store tells it."""
    content = samples["image/png"] + b"\0" * padding
    digest = base64.b64encode(hashlib.sha256(content).digest()).decode()
    ticket = presign(client, checksum_sha256=digest).json()
    post_file(ticket, content)
    store_calls()

    assert confirm(client, ticket["attachment_id"]).json()["checksum_sha256"] == digest

    assert store_calls() == calls


def test_originals_go_soon_many_in_one_call(
    client, post_file, samples, store_calls, bucket, monkeypatch
):
    monkeypatch.setattr(soon, "DELAY_SECONDS", 1)
    for _ in range(3):
        ticket = presign(client).json()
        post_file(ticket, samples["image/png"])
        confirm(client, ticket["attachment_id"])
    store_calls()

    deadline = time.monotonic() + 10
    while list(bucket.objects.filter(Prefix=f"pending/{ticket['attachment_id']}")):
        assert time.monotonic() < deadline
        time.sleep(0.1)

    assert store_calls() == ["DeleteObjects"]


# What no client may do


@pytest.mark.parametrize("field", ["status", "storage_key", "user_id", "id", "confirmed_at"])
def test_clients_cannot_set_what_the_server_finds(client, user, field):
    ticket = presign(client, **{field: "ready"}, metadata={field: "ready"}).json()

    row = Attachment.objects.get(pk=ticket["attachment_id"])
    assert (row.status, row.user, row.storage_key.name) == ("pending", user, f"pending/{row.pk}")


def test_a_confirm_believes_nothing_that_the_client_says(client, post_file):
    ticket = presign(client).json()
    post_file(ticket, b"not a png")

    response = confirm(client, ticket["attachment_id"], status="ready", size_bytes=1)

    assert response.status_code == 422


def test_errors_speak_the_clients_language(client):
    response = presign(client, headers={"Accept-Language": "ru"}, filename="a/b")

    assert "Недопустимое имя файла" in response.json()["errors"][0]["detail"]


def test_json_is_what_it_says(client):
    assert json.loads(presign(client).content)
    assert presign(client)["Content-Type"] == "application/json"


@pytest.mark.parametrize("is_debug", [True, False])
@pytest.mark.parametrize("method", ["get", "post"])
def test_an_address_that_does_not_exist(client, settings, method, is_debug):
    settings.DEBUG = is_debug

    response = getattr(client, method)("/api/v1/attachment")

    assert response["Content-Type"] == "application/json"
    assert get_error(response) == (404, "not_found", None)


# A host may capture more in its addresses


@pytest.mark.urls("tests.host_urls")
@pytest.mark.parametrize("prefix", ["/acme/files", "/versions/v1"])
def test_addresses_that_capture_more(api, user, post_file, samples, prefix):
    client = api(user)

    ticket = client.post(f"{prefix}/attachments/presigned", PNG, format="json").json()
    assert post_file(ticket, samples["image/png"]).status_code == 204
    body = {"attachment_id": ticket["attachment_id"]}
    confirmed = client.post(f"{prefix}/attachments/confirm", body, format="json")
    batch = client.post(f"{prefix}/attachments/presigned/batch", {"files": [PNG]}, format="json")
    path = f"{prefix}/attachments/{ticket['attachment_id']}"
    listed = client.get(f"{prefix}/attachments?page_size=1").json()

    assert (confirmed.status_code, batch.status_code) == (200, 201)
    assert client.get(path).json() == confirmed.json()
    assert client.get(f"{path}/download").status_code == 302
    assert listed["next"].startswith(f"http://testserver{prefix}/attachments?")
    assert client.get(listed["next"]).json()["results"] == [confirmed.json()]
    assert client.delete(path).status_code == 204


@pytest.mark.urls("tests.host_urls")
def test_addresses_that_capture_more_are_made_and_described():
    kwargs = {"tenant": "acme", "attachment_id": NO_ID}
    generator = SchemaGenerator(urlconf="tests.host_urls")

    schema = generator.get_schema(request=None, public=True)

    assert reverse("attachments:detail", kwargs=kwargs) == f"/acme/files/attachments/{NO_ID}"
    found = schema["paths"]["/{tenant}/files/attachments/{attachment_id}"]["get"]["parameters"]
    assert {parameter["name"] for parameter in found} == {"tenant", "attachment_id"}
    assert validate_schema(schema) is None
