"""How nodus uses PostgreSQL: what DATABASE_URL says, a server that restarts, PgBouncer between."""

import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import environ
import psycopg
import pytest
from django.db import OperationalError, connection, transaction

from attachments.models import Attachment
from nodus.databases import PatientConnection, complete_postgres
from nodus.dev.embedded import find_free_ports
from tests.databases import get_database_url

URL = "postgres://nodus:secret@db.example.com/nodus"
POOL = {
    "min_size": 1,
    "max_size": 8,
    "timeout": 1.5,
    "connection_class": PatientConnection,
}
LIVENESS = {
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
PREPARED = {
    "connect_timeout": 2,
    **LIVENESS,
    "server_side_binding": True,
    "prepare_threshold": 5,
}


def read(query="", *, is_pgbouncer=False):
    config = environ.Env.db_url_config(f"{URL}?{query}")
    return complete_postgres(config, is_pgbouncer=is_pgbouncer)


def test_what_it_adds():
    config = read()

    assert config["CONN_HEALTH_CHECKS"] is True
    assert config["DISABLE_SERVER_SIDE_CURSORS"] is False
    assert config["OPTIONS"] == {**PREPARED, "pool": POOL}


def test_nothing_stays_with_a_connection_of_pgbouncer():
    config = read(is_pgbouncer=True)

    assert config["DISABLE_SERVER_SIDE_CURSORS"] is True
    assert config["OPTIONS"] == {**PREPARED, "prepare_threshold": None, "pool": POOL}


@pytest.mark.parametrize("is_pgbouncer", [False, True])
@pytest.mark.parametrize(
    ("query", "options"),
    [
        ("prepare_threshold=none", {"prepare_threshold": None}),
        ("prepare_threshold=0", {"prepare_threshold": 0}),
        ("server_side_binding=false", {"server_side_binding": False}),
        ("connect_timeout=30", {"connect_timeout": 30}),
        (
            "sslmode=verify-full&require_auth=none",
            {"sslmode": "verify-full", "require_auth": "none"},
        ),
        ("options=-c%20statement_timeout%3D3s", {"options": "-c statement_timeout=3s"}),
        ("pool=false", {"pool": None}),
        ("pool=off", {"pool": None}),
        ("pool_max_lifetime=600", {"pool": {**POOL, "max_lifetime": 600}}),
        ("conn_max_age=60", {"pool": None}),
        ("pool_max_size=20&pool_timeout=1", {"pool": {**POOL, "max_size": 20, "timeout": 1}}),
    ],
)
def test_what_the_url_says_wins(query, options, is_pgbouncer):
    found = read(query, is_pgbouncer=is_pgbouncer)["OPTIONS"]

    assert {name: found.get(name) for name in options} == options


@pytest.mark.parametrize(
    ("query", "name", "value"),
    [
        ("conn_health_checks=false", "CONN_HEALTH_CHECKS", False),
        ("disable_server_side_cursors=true", "DISABLE_SERVER_SIDE_CURSORS", True),
        ("conn_max_age=60", "CONN_MAX_AGE", 60),
        ("atomic_requests=true", "ATOMIC_REQUESTS", True),
    ],
)
def test_what_the_url_says_to_django_wins(query, name, value):
    assert read(query)[name] == value


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_connections_that_the_server_closed_are_not_used(user):
    connection.close()
    connection.close_pool()  # a thread of some other test may have kept one of its connections
    connection.pool.open()
    pooled = [connection.pool.getconn() for _ in range(POOL["max_size"])]
    for one in pooled:
        connection.pool.putconn(one)

    others = (
        "FROM pg_stat_activity "
        "WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()"
    )
    with psycopg.connect(get_database_url(), autocommit=True) as other:
        closed = other.execute(f"SELECT count(pg_terminate_backend(pid)) {others}").fetchone()
        # A backend is told at once, and ends when it gets to it.
        while other.execute(f"SELECT count(*) {others}").fetchone() != (0,):
            time.sleep(0.01)

    assert closed >= (POOL["max_size"],)
    user.refresh_from_db()


@pytest.fixture
def full_pool(monkeypatch):
    """All connections are taken, until the test is over."""
    connection.close()
    connection.close_pool()
    pool = connection.pool
    pool.open()
    held = [pool.getconn() for _ in range(POOL["max_size"])]
    monkeypatch.setattr(pool, "timeout", 0.01)
    yield
    for one in held:
        pool.putconn(one)


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_a_call_that_gets_no_connection(request, user, api):
    caller = api(user)
    request.getfixturevalue("full_pool")

    response = caller.get("/api/v1/attachments")

    assert (response.status_code, response["Retry-After"]) == (503, "5")
    assert response.json()["errors"][0]["code"] == "database_unavailable"


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_a_page_that_gets_no_connection(request, staff_user, client):
    client.force_login(staff_user)
    request.getfixturevalue("full_pool")

    response = client.get("/admin/")

    assert (response.status_code, response["Retry-After"]) == (503, "5")
    assert response.content == b"The database is not available. Try again later."


def test_a_request_waits_for_a_connection_for_less_than_a_client_may():
    assert read()["OPTIONS"]["pool"]["timeout"] < 2


@pytest.fixture
def impatient(monkeypatch):
    """Statements get an answer soon, or are given up; connections of others may be in the pool."""
    connection.close()
    connection.close_pool()
    monkeypatch.setattr(PatientConnection, "patience", 1)
    yield
    connection.close()
    connection.close_pool()


WAITING = (
    "SELECT count(*) FROM pg_stat_activity "
    "WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


@contextmanager
def hold_table(name):
    with psycopg.connect(get_database_url()) as other:
        other.execute(f"LOCK TABLE {name}")
        yield


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_a_statement_without_an_answer_is_given_up(user, api, impatient):
    caller = api(user)

    with hold_table("attachments"):
        response = caller.get("/api/v1/attachments")
        with psycopg.connect(get_database_url(), autocommit=True) as other:
            while other.execute(WAITING).fetchone() != (0,):
                time.sleep(0.01)

    assert (response.status_code, response["Retry-After"]) == (503, "5")
    assert response.json()["errors"][0]["code"] == "database_unavailable"
    connection.close()  # as a server does after each request
    assert caller.get("/api/v1/attachments").status_code == 200


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_a_transaction_without_an_answer_is_rolled_back(user, impatient):
    with (
        hold_table("attachments"),
        pytest.raises(OperationalError, match="no answer within"),
        transaction.atomic(),
    ):
        type(user).objects.filter(pk=user.pk).update(first_name="New")
        Attachment.objects.exists()

    user.refresh_from_db()
    assert user.first_name == ""


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_an_error_that_the_server_tells_keeps_the_connection(impatient):
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 100")
        with pytest.raises(OperationalError, match="canceling statement"):
            cursor.execute("SELECT pg_sleep(5)")

        cursor.execute("SET statement_timeout = 0")


def test_a_server_waits_for_each_statement_as_long_as_a_proxy_does():
    ask = "import nodus.wsgi, nodus.databases; print(nodus.databases.PatientConnection.patience)"

    asked = subprocess.run([sys.executable, "-c", ask], check=True, capture_output=True, text=True)

    assert asked.stdout == "60\n"


# PgBouncer, as Debian has it

USE_TWO_CLIENTS = """
import sys, threading
import django
django.setup()
from django.contrib.auth import get_user_model
from django.db import connection, transaction
from attachments import services
from attachments.models import Attachment

user = get_user_model().objects.get()
barrier = threading.Barrier(2, timeout=20)
pids = set()

def use():
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        pids.add(cursor.fetchone()[0])
    for number in range(8):
        barrier.wait()
        services.presign_upload(user=user, filename=f"{number}.png", content_type="image/png")
        assert len(list(Attachment.objects.iterator(chunk_size=2))) > number
        services.VisibleAttachments(user=user)
        with transaction.atomic():
            services.settle_usage()
            list(Attachment.objects.select_for_update(skip_locked=True)[:1])
    connection.close()

threads = [threading.Thread(target=use) for _ in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
services.purge_attachments()
services.refresh_usage()
print(len(pids), Attachment.objects.count())
"""


@contextmanager
def run_pgbouncer(directory):
    """One connection to the server for all clients; give the DATABASE_URL."""
    url = urlsplit(get_database_url())
    (port,) = find_free_ports(1)
    with psycopg.connect(get_database_url()) as direct:
        server = direct.info.get_parameters()
    settings = {
        "listen_addr": "127.0.0.1",
        "listen_port": port,
        "unix_socket_dir": "",
        "auth_type": "any",
        "pool_mode": "transaction",
        "default_pool_size": 1,
    }
    if os.getuid() == 0:  # it does not run as root; whoever runs PostgreSQL may use its socket
        settings["user"] = Path(server["host"]).owner()
    lines = [f"{name} = {value}" for name, value in settings.items()]
    where = " ".join(
        f"{name}={server[name]}" for name in ("host", "port", "user") if name in server
    )
    config = directory / "pgbouncer.ini"
    config.write_text("\n".join(["[databases]", f"* = {where}", "[pgbouncer]", *lines, ""]))
    log = directory / "pgbouncer.log"
    with log.open("w") as output:
        process = subprocess.Popen([find_pgbouncer(), config], stdout=output, stderr=output)
    with process:
        try:
            wait_for_port(port, process, log)
            yield f"postgres://{url.username}@127.0.0.1:{port}{url.path}"
        finally:
            process.terminate()


def find_pgbouncer():
    return shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


def wait_for_port(port, process, log):
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        else:
            return


@pytest.mark.postgres
@pytest.mark.skipif(not find_pgbouncer(), reason="pgbouncer is not installed")
@pytest.mark.django_db(transaction=True)
def test_pgbouncer_in_transaction_mode(user, bucket, tmp_path):
    with run_pgbouncer(tmp_path) as url:
        result = subprocess.run(
            [sys.executable, "-c", USE_TWO_CLIENTS],
            env={**os.environ, "DATABASE_URL": url, "DATABASE_PGBOUNCER": "true"},
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )

    assert (result.returncode, result.stdout) == (0, "1 16\n"), result.stderr
    assert "Error" not in result.stderr
