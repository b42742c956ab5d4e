import socket
import threading
from datetime import timedelta

import pytest
from django.db import OperationalError
from django.utils import timezone

from attachments import storage
from attachments.models import WorkerSign
from nodus import health
from tests.stores import take_store_away, use_endpoint

pytestmark = pytest.mark.django_db(transaction=True)
ALL_IS_WELL = {"status": "ok", "minio": "connected", "database": "connected"}
PATHS = ("/health", "/health/ready")


@pytest.fixture
def hang(monkeypatch):
    """Let a part give no answer until the test is over."""
    is_over = threading.Event()

    def let_hang(probe):
        monkeypatch.setattr(probe, "_patience", 0.01)
        monkeypatch.setattr(probe, "_ask", is_over.wait)

    yield let_hang
    is_over.set()


@pytest.fixture
def silent_store(settings, monkeypatch):
    """It takes connections and requests, and never answers, as when its process is stopped."""
    monkeypatch.setattr(health.STORE, "_patience", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        use_endpoint(settings, f"http://127.0.0.1:{server.getsockname()[1]}")
        yield


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["get", "head"])
def test_all_is_well(api, bucket, path, method):
    response = getattr(api(), method)(path)

    assert response.status_code == 200
    assert response["Cache-Control"] == "no-store"
    assert method == "head" or response.json() == ALL_IS_WELL


def test_the_store_is_down(api, settings):
    take_store_away(settings)

    response = api().get("/health")

    assert response.status_code == 503
    assert response.json() == {**ALL_IS_WELL, "status": "error", "minio": "unavailable"}


def test_the_store_hangs(api, silent_store):
    response = api().get("/health")

    assert not health.STORE._run.is_over.is_set()  # the answer did not wait for the store's
    assert response.status_code == 503
    assert response.json() == {**ALL_IS_WELL, "status": "error", "minio": "unavailable"}


@pytest.mark.parametrize("path", PATHS)
def test_the_database_hangs(api, bucket, hang, path):
    hang(health.DATABASE)

    response = api().get(path)

    assert response.status_code == 503
    assert response.json() == {**ALL_IS_WELL, "status": "error", "database": "unavailable"}


def test_while_a_part_hangs_one_thread_waits(api, bucket, hang):
    hang(health.DATABASE)

    for _ in range(5):
        api().get("/health")

    probes = [thread for thread in threading.enumerate() if thread.name == "probe"]
    assert len([thread for thread in probes if thread.is_alive()]) == 1


def test_the_database_is_down(api, bucket, monkeypatch, caplog):
    class Broken:
        def cursor(self):
            raise OperationalError("connection to server at 10.0.0.1, user nodus failed")

    monkeypatch.setattr(health, "connection", Broken())

    response = api().get("/health")

    assert response.status_code == 503
    assert response.json() == {**ALL_IS_WELL, "status": "error", "database": "unavailable"}
    assert "connection to server at 10.0.0.1, user nodus failed" in caplog.text


def test_a_burst_asks_once(api, bucket, store_calls, monkeypatch):
    monkeypatch.setattr(health.STORE, "_fresh", 60)
    store_calls()

    answers = [getattr(api(), method)("/health") for method in ("get", "head") * 5]

    assert {answer.status_code for answer in answers} == {200}
    assert store_calls() == ["HeadBucket"]


def test_live_asks_nothing(api, settings, hang, store_calls, django_assert_num_queries):
    take_store_away(settings)
    hang(health.DATABASE)

    with django_assert_num_queries(0):
        response = api().get("/health/live")

    assert (response.status_code, response.json()) == (200, {"status": "ok"})
    assert store_calls() == []


@pytest.mark.parametrize(("late", "state"), [(-1, "working"), (1, "silent")])
def test_the_worker(api, bucket, late, state):
    now = timezone.now()
    WorkerSign.objects.create(seen_at=now, expected_by=now - timedelta(minutes=late))

    response = api().get("/health/ready")

    assert (response.status_code, response.json()) == (200, {**ALL_IS_WELL, "worker": state})
    trouble = {} if state == "working" else {"worker": state}
    assert api().get("/health").json() == {**ALL_IS_WELL, **trouble}


def test_the_scanner(api, bucket, real_clamd):
    assert api().get("/health/ready").json() == {**ALL_IS_WELL, "scanner": "connected"}
    assert api().get("/health").json() == ALL_IS_WELL


def test_a_scanner_that_is_down(api, bucket, use_scanner, caplog):
    use_scanner("unix:///nowhere/clamd.ctl")

    response = api().get("/health")

    assert response.status_code == 200  # files wait, and the site works
    assert response.json() == {**ALL_IS_WELL, "scanner": "unavailable"}
    assert "No such file" in caplog.text


def test_a_scanner_of_the_host_that_cannot_be_asked(api, bucket, use_scanner):
    use_scanner(SCANNER="tests.test_health.Blind")

    assert api().get("/health").json() == ALL_IS_WELL


class Blind:
    def scan(self, chunks):
        raise NotImplementedError


def test_probes_need_no_place_in_the_queue_to_the_store(api, bucket, settings):
    settings.ATTACHMENTS = {**settings.ATTACHMENTS, "MAX_STORE_WAITS": 1}
    token = storage.in_request.set(True)
    try:
        with storage.hold_place():
            assert api().get("/health").status_code == 200
    finally:
        storage.in_request.reset(token)
