"""What Prometheus reads, and who else may."""

import os
import socket
import threading
from datetime import timedelta

import pytest
import requests
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from attachments import events, metrics, probes, services
from attachments.metrics import gauges
from attachments.metrics.directory import remove_dead
from attachments.models import Attachment, ObjectDeletion, PeriodicJob, WorkerSign
from attachments.services import backlogs
from nodus.dev.embedded import find_free_ports

pytestmark = pytest.mark.django_db(transaction=True)
TOKEN = "a-token-of-prometheus"


@pytest.fixture(autouse=True)
def _ask_anew():
    gauges._backlogs.forget()
    yield
    gauges._backlogs.forget()


def read(text=None):
    """The samples by their name and the values of their labels."""
    text = metrics.render_metrics().decode() if text is None else text
    families = text_string_to_metric_families(text)
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
    }


def test_an_upload_is_counted(user, upload, samples):
    before = read()

    ticket = upload(user)
    services.confirm_upload(attachment_id=ticket.attachment_id, user=user)

    after = read()
    size = len(samples["image/png"])
    for name, grown in {
        ("attachments_presigned_total",): 1,
        ("attachments_uploads_total",): 1,
        ("attachments_upload_size_bytes_sum",): size,
        ("attachments_upload_size_bytes_count",): 1,
        ("attachments_confirmed_total", "ready"): 1,
        ("attachments_confirm_duration_seconds_count",): 1,
        ("attachments_store_calls_total", "CopyObject", "ok"): 1,
        ("attachments_store_call_duration_seconds_count", "CopyObject"): 1,
    }.items():
        assert after[name] - before[name] == grown, name


def test_each_event_that_is_counted_moves_its_counter():
    facts = dict.fromkeys(events.purged.facts, 2)
    told = {
        events.batch_presigned: ({"count": 1}, ("presigned_total",)),
        events.presign_refused: ({"code": "file_too_large"}, ("refused_total", "file_too_large")),
        events.refused: ({"code": "infected"}, ("refused_total", "infected")),
        events.throttled: ({"scope": "confirm"}, ("throttled_total", "confirm")),
        events.scanned: ({"outcome": "clean", "seconds": 1}, ("scanned_total", "clean")),
        events.processed: (
            {"step": "scan", "seconds": 1},
            ("step_duration_seconds_count", "scan"),
        ),
        events.lease_taken_over: ({}, ("lease_takeovers_total",)),
        events.linked: ({"count": 1}, ("linked_total",)),
        events.deleted: ({"count": 1}, ("deleted_total",)),
        events.objects_deleted: (
            {"count": 1, "refused_count": 0},
            ("objects_deleted_total", "ok"),
        ),
        events.purged: ({**facts, "orphans": 1}, ("purged_total", "orphans")),
        events.job_ended: ({"job": "purge", "is_done": False}, ("jobs_total", "purge", "undone")),
        events.store_busy: ({}, ("store_busy_total",)),
    }
    for event, (facts, (name, *labels)) in told.items():
        series = (f"attachments_{name}", *labels)
        before = read()[series]

        event.tell(**facts)

        assert read()[series] - before == 1, series


def test_series_of_errors_are_there_before_the_first_one():
    found = read()

    for series in [
        ("attachments_refused_total", "content_mismatch"),
        ("attachments_confirmed_total", "storage_unavailable"),
        ("attachments_confirmed_total", "checksum_mismatch"),
        ("attachments_store_calls_total", "DeleteObjects", "unreachable"),
        ("attachments_scanned_total", "unavailable"),
        ("attachments_jobs_total", "purge", "undone"),
    ]:
        assert series in found


def test_what_waits(user, upload):
    now = timezone.now()
    hour = timedelta(hours=1)
    pending, *others = (upload(user, content=None).attachment_id for _ in range(5))
    times = {"lease_expires_at": now, "created_at": now - 3 * hour}
    for pk, status, waiting_since in zip(
        others,
        ["scanning", "scanning", "verifying", "verifying"],
        [now - hour, now, now - hour / 2, None],  # nobody has handed the last one over
        strict=True,
    ):
        rows = Attachment.objects.filter(pk=pk)
        rows.update(status=status, waiting_since=waiting_since, **times)
    Attachment.objects.filter(pk=pending).update(created_at=now - 2 * hour)
    ObjectDeletion.objects.create(key="looked for again", due_at=now + hour)
    ObjectDeletion.objects.create(key="due", due_at=now - hour)
    ObjectDeletion.objects.create(
        key="refused", attempts=1, due_at=now + hour, last_error="AccessDenied"
    )
    WorkerSign.objects.create(seen_at=now, expected_by=now - timedelta(seconds=1))
    for number in (1, 2):
        PeriodicJob.objects.create(name=str(number), due_at=now + number * hour)

    found = read()

    counts = {labels[1]: found[labels] for labels in found if labels[0] == "attachments_waiting"}
    assert counts == {
        "pending": 1,
        "verifying": 1,
        "scanning": 2,
        "stuck": 2,
        "deletions": 2,
        "failing_deletions": 1,
    }
    for kind, moment in {
        "pending": now - 2 * hour,
        "verifying": now - hour / 2,
        "scanning": now - hour,
        "stuck": now - hour,
    }.items():
        since = found["attachments_waiting_since_timestamp_seconds", kind]
        assert since == pytest.approx(moment.timestamp(), abs=0.001), kind
    due_at = found["attachments_schedule_due_timestamp_seconds",]
    assert due_at == pytest.approx((now + hour).timestamp(), abs=0.001)
    assert found["attachments_worker_seen_timestamp_seconds",] == pytest.approx(now.timestamp())
    assert found["attachments_worker_silent",] == 1
    assert found["attachments_database_up",] == 1


def test_what_is_over_hides_nothing_that_waits(user, upload, monkeypatch):
    monkeypatch.setattr(backlogs, "MAX_COUNTED", 1)
    over = upload(user, content=None)
    Attachment.objects.update(status="rejected")
    waiting = upload(user, content=None)

    assert over.expires_at < waiting.expires_at
    assert read()["attachments_waiting", "pending"] == 1


@pytest.mark.postgres
def test_what_waits_is_found_by_the_indexes_of_what_waits(django_assert_num_queries):
    with connection.cursor() as cursor:
        cursor.execute("SET enable_seqscan = off; SET enable_sort = off")
    try:
        rows = {
            "attachments_stale": Attachment.objects.unconfirmed().order_by("expires_at"),
            "attachments_waiting": Attachment.objects.in_background().order_by("pk"),
        }
        for index, found in rows.items():
            assert index in found[: services.MAX_COUNTED].explain()
        with django_assert_num_queries(6):
            services.measure_backlogs()
    finally:
        with connection.cursor() as cursor:
            cursor.execute("RESET enable_seqscan; RESET enable_sort")


def test_a_database_that_hangs_keeps_no_scrape_waiting(monkeypatch):
    is_over = threading.Event()
    hanging = probes.Probe(is_over.wait, patience_seconds=0.01, fresh_seconds=1)
    monkeypatch.setattr(gauges, "_backlogs", hanging)

    found = read()

    is_over.set()
    assert found["attachments_database_up",] == 0
    assert ("attachments_worker_silent",) not in found


@pytest.mark.parametrize(
    ("allowed", "headers", "debug", "status"),
    [
        ([], {}, False, 404),
        ([], {}, True, 200),
        (["127.0.0.1"], {}, False, 200),
        (["127.0.0.0/8"], {}, False, 200),
        (["10.0.0.0/8"], {}, False, 404),
        (["10.0.0.0/8"], {}, True, 404),
        (["127.0.0.1"], {"X-Forwarded-For": "127.0.0.1"}, False, 404),
        ([TOKEN], {"Authorization": f"Bearer {TOKEN}"}, False, 200),
        ([TOKEN], {"Authorization": f"Bearer {TOKEN}", "X-Forwarded-For": "8.8.8.8"}, False, 200),
        ([TOKEN], {"Authorization": "Bearer another"}, False, 404),
        ([TOKEN], {}, False, 404),
        (["", TOKEN], {"Authorization": "Bearer "}, False, 404),
    ],
)
def test_who_may_read_it(client, settings, allowed, headers, debug, status):
    settings.DEBUG = debug
    settings.ATTACHMENTS = {**settings.ATTACHMENTS, "METRICS_ALLOWED": allowed}

    response = client.get("/metrics", headers=headers)

    assert response.status_code == status
    assert (b"attachments_uploads_total" in response.content) is (status == 200)


def test_a_worker_serves_its_own(settings):
    (port,) = find_free_ports(1)
    bind = f"127.0.0.1:{port}"
    settings.ATTACHMENTS = {**settings.ATTACHMENTS, "METRICS_BIND": bind}

    with metrics.serve_metrics():
        found = read(requests.get(f"http://{bind}/metrics", timeout=10).text)

    assert ("attachments_uploads_total",) in found
    assert ("attachments_database_up",) not in found  # the server tells those
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://{bind}/metrics", timeout=10)


def test_an_address_that_another_has_is_told(settings):
    with socket.create_server(("127.0.0.1", 0)) as other:
        bind = f"127.0.0.1:{other.getsockname()[1]}"
        settings.ATTACHMENTS = {**settings.ATTACHMENTS, "METRICS_BIND": bind}

        with pytest.raises(ImproperlyConfigured, match=f"METRICS_BIND, {bind}: .*in use"):
            metrics.serve_metrics().__enter__()


def test_what_processes_counted_that_are_gone(tmp_path):
    living, dead = tmp_path / f"counter_{os.getpid()}.db", tmp_path / "counter_99999999.db"
    living.touch()
    dead.touch()

    remove_dead(tmp_path)

    assert list(tmp_path.iterdir()) == [living]
