"""A store that hangs leaves threads for the requests that need none of it."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from botocore.exceptions import ReadTimeoutError

from attachments import storage
from attachments.errors import StorageUnavailable
from attachments.storage import places
from nodus import gunicorn_conf


@pytest.fixture(autouse=True)
def _few_places(settings, monkeypatch):
    settings.ATTACHMENTS = {**settings.ATTACHMENTS, "MAX_STORE_WAITS": 2}
    monkeypatch.setattr(places, "PATIENCE_SECONDS", 0.05)
    monkeypatch.setattr(places, "_places", places._Places())


@contextmanager
def taken_places(count):
    """As many requests as this wait for the store, until the test lets them go."""
    is_over, have_begun = threading.Event(), threading.Barrier(count + 1)

    def wait():
        storage.in_request.set(True)
        with storage.hold_place():
            have_begun.wait(10)
            is_over.wait(30)

    with ThreadPoolExecutor(count) as pool:
        for _ in range(count):
            pool.submit(wait)
        have_begun.wait(10)
        try:
            yield is_over
        finally:
            is_over.set()


@pytest.fixture
def in_request():
    token = storage.in_request.set(True)
    yield
    storage.in_request.reset(token)


def test_one_request_too_many_is_turned_away(in_request, told):
    with taken_places(2) as is_over:
        with pytest.raises(StorageUnavailable), storage.hold_place():
            pass
        assert not is_over.is_set()  # it waited for none of the others

    assert told("store_busy") == [{}]
    with storage.hold_place():
        pass


def test_a_call_of_a_request_is_turned_away_too(in_request, bucket, store_calls):
    storage.has_bucket()
    store_calls()
    with taken_places(2), pytest.raises(StorageUnavailable):
        storage.inspect_object("attachments/none")

    assert store_calls() == []


def test_who_waits_a_moment_gets_the_place_of_the_next_that_is_done(in_request, monkeypatch):
    monkeypatch.setattr(places, "PATIENCE_SECONDS", 60)
    monkeypatch.setattr(places, "MAX_WAIT_SECONDS", 60)
    with taken_places(2) as is_over:
        threading.Timer(0.05, is_over.set).start()

        with storage.hold_place():
            pass


@pytest.mark.parametrize("failure", [StorageUnavailable(), ReadTimeoutError(endpoint_url="")])
def test_nobody_waits_once_the_store_has_failed(in_request, monkeypatch, failure):
    monkeypatch.setattr(places, "PATIENCE_SECONDS", 60)
    with pytest.raises(type(failure)), storage.hold_place():
        raise failure

    with taken_places(2) as is_over:
        with pytest.raises(StorageUnavailable), storage.hold_place():
            pass
        assert not is_over.is_set()


def test_they_wait_again_when_it_has_answered_somebody(in_request, monkeypatch):
    monkeypatch.setattr(places, "PATIENCE_SECONDS", 60)
    with pytest.raises(StorageUnavailable), storage.hold_place():
        raise StorageUnavailable
    with storage.hold_place():
        pass

    with taken_places(2) as is_over:
        threading.Timer(0.05, is_over.set).start()
        with storage.hold_place():
            pass


def test_who_waits_already_is_turned_away_when_the_store_fails(monkeypatch):
    monkeypatch.setattr(places, "PATIENCE_SECONDS", 60)
    monkeypatch.setattr(places, "MAX_WAIT_SECONDS", 60)
    turned_away = threading.Event()

    def wait_for_a_place(number):
        storage.in_request.set(True)
        try:
            with storage.hold_place():
                turned_away.wait(30)
        except StorageUnavailable:
            turned_away.set()

    with ThreadPoolExecutor(3) as pool, taken_places(1):
        began = places._places.take()
        for number in range(3):  # one of them gets the place that the failing one leaves
            pool.submit(wait_for_a_place, number)
        while len(places._places.change._waiters) < 3:
            time.sleep(0.01)
        places._places.give_back(began, has_failed=True)
        assert turned_away.wait(30)


def test_a_request_that_has_a_place_needs_no_other(in_request):
    with taken_places(1), storage.hold_place(), storage.hold_place():
        pass


def test_workers_and_commands_are_never_turned_away():
    with taken_places(2), storage.hold_place():
        pass


def test_the_server_has_more_threads_than_places():
    from attachments.conf import DEFAULTS

    assert DEFAULTS["MAX_STORE_WAITS"] < gunicorn_conf.threads


@pytest.mark.django_db(transaction=True)
def test_a_confirm_is_turned_away_and_nothing_is_lost(api, user, upload):
    ticket = upload(user)
    body = {"attachment_id": str(ticket.attachment_id)}

    with taken_places(2):
        refused = api(user).post("/api/v1/attachments/confirm", body, format="json")
        detail = api(user).get(f"/api/v1/attachments/{ticket.attachment_id}")

    assert refused.status_code == 503
    assert refused.json()["errors"][0]["code"] == "storage_unavailable"
    assert refused["Retry-After"] == "5"
    assert detail.status_code == 200
    again = api(user).post("/api/v1/attachments/confirm", body, format="json")
    assert again.json()["status"] == "ready"
