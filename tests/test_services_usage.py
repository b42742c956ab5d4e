from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from attachments import services
from attachments.models import Attachment, ObjectDeletion, Usage, UsageFigures
from attachments.services import kept_usage
from attachments.services.kept_usage import find_figures, request_refresh
from attachments.services.usage import (
    DAYS,
    Amount,
    Figures,
    Orphans,
    Owners,
    WaitingDeletions,
    measure_figures,
    measure_owners,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def make_row():
    """Make a row without an object: only rows are counted."""

    def make(user, **fields):
        now = timezone.now()
        fields = {"status": "ready", "content_type": "image/png", "size_bytes": 1} | fields
        return Attachment.objects.create(
            user=user, filename="file", expires_at=now, storage_key="attachments/key", **fields
        )

    return make


def days_ago(days):
    return timezone.now() - timedelta(days=days)


def test_everything_is_counted(user, other_user, staff_user, message_of, make_row):
    # given
    linked = make_row(user, size_bytes=100, message=message_of(user))
    orphan = make_row(
        user,
        size_bytes=20,
        content_type="video/mp4",
        created_at=days_ago(8),
        confirmed_at=timezone.now(),  # its age counts from here
    )
    overdue = make_row(other_user, size_bytes=7, created_at=days_ago(8), confirmed_at=days_ago(8))
    make_row(user, size_bytes=None, status="pending")
    make_row(other_user, size_bytes=5000, status="rejected")
    make_row(staff_user, size_bytes=None, status="pending")  # who owns nothing yet
    ObjectDeletion.objects.create(
        key="c", due_at=days_ago(1), attempts=1, last_error="an older error"
    )
    oldest_at = days_ago(2)
    ObjectDeletion.objects.create(key="a", created_at=oldest_at, attempts=2, last_error="timeout")
    ObjectDeletion.objects.create(key="b")

    # when
    owners, figures = measure_owners(), measure_figures()

    # then
    today = timezone.localdate()
    period = [today - timedelta(days=days) for days in range(DAYS - 1, -1, -1)]
    assert owners == Owners(
        stored=Amount(files=3, size_bytes=127),
        top=[
            (user, Amount(files=2, size_bytes=120)),
            (other_user, Amount(files=1, size_bytes=7)),
        ],
        others=0,
        rows=6,
    )
    assert owners.of_others == Amount()
    assert figures == Figures(
        computed_at=figures.computed_at,
        time_zone="UTC",
        by_status={
            "ready": Amount(files=3, size_bytes=127),
            "pending": Amount(files=2, size_bytes=0),
            "rejected": Amount(files=1, size_bytes=5000),
        },
        by_type={
            "image/png": Amount(files=2, size_bytes=107),
            "video/mp4": Amount(files=1, size_bytes=20),
        },
        by_day={day: Amount() for day in period}
        | {
            today - timedelta(days=8): Amount(files=2, size_bytes=27),
            today: Amount(files=1, size_bytes=100),
        },
        orphans=Orphans(
            amount=Amount(files=2, size_bytes=27), overdue=Amount(files=1, size_bytes=7)
        ),
        largest=[linked.pk, orphan.pk, overdue.pk],
        deletions=WaitingDeletions(
            objects=3, attempted=2, oldest_at=oldest_at, last_error="timeout"
        ),
    )
    assert figures.ready == Amount(files=3, size_bytes=127)
    assert list(figures.by_type) == ["image/png", "video/mp4"]
    assert list(figures.by_day) == period
    assert timezone.now() - figures.computed_at < timedelta(minutes=1)


def test_owners_beyond_the_top_are_counted_together(django_user_model, make_row):
    owners = [django_user_model.objects.create_user(f"user-{number}") for number in range(13)]
    for number, owner in enumerate(owners, start=1):
        make_row(owner, size_bytes=number)
        make_row(owner, size_bytes=0)

    usage = measure_owners()

    assert [owner for owner, _amount in usage.top] == owners[:2:-1]
    assert usage.others == 3
    assert usage.of_others == Amount(files=6, size_bytes=1 + 2 + 3)
    assert len(measure_figures().largest) == 10


def test_days_are_those_of_the_current_time_zone(user, make_row):
    late = datetime.combine(timezone.now().date() - timedelta(days=1), datetime.min.time(), UTC)
    make_row(user, created_at=late + timedelta(hours=22))

    with timezone.override("Asia/Vladivostok"):
        by_day = measure_figures().by_day

    assert by_day[late.date() + timedelta(days=1)] == Amount(files=1, size_bytes=1)
    assert by_day[late.date()] == Amount()


def test_an_empty_database_has_no_use(db):
    figures = measure_figures()

    assert measure_owners() == Owners(stored=Amount(), top=[], others=0, rows=0)
    assert figures == Figures(
        computed_at=figures.computed_at,
        time_zone="UTC",
        by_status={},
        by_type={},
        by_day={timezone.localdate() - timedelta(days=days): Amount() for days in range(DAYS)},
        orphans=Orphans(amount=Amount(), overdue=Amount()),
        largest=[],
        deletions=WaitingDeletions(objects=0, attempted=0, oldest_at=None, last_error=""),
    )


def test_as_many_queries_at_any_size(django_assert_num_queries, django_user_model, make_row):
    for number in range(30):
        make_row(django_user_model.objects.create_user(f"user-{number}"))

    with django_assert_num_queries(6):
        measure_figures()
    settling = connection.vendor == "postgresql"  # as this test is a transaction
    with django_assert_num_queries(3 + settling):
        assert len(measure_owners().top) == 10


# Figures that are kept


@pytest.fixture
def _many_rows(monkeypatch):
    """Take any number of rows for too many to count while somebody waits."""
    monkeypatch.setattr(kept_usage, "MAX_COUNTED_AT_ONCE", -1)


@pytest.mark.usefixtures("_many_rows")
def test_what_is_kept_is_what_was_counted(user, message_of, make_row):
    # given
    make_row(user, size_bytes=100, message=message_of(user), content_type="video/mp4")
    make_row(user, size_bytes=20, created_at=days_ago(8))
    make_row(user, size_bytes=None, status="pending")
    ObjectDeletion.objects.create(key="a", attempts=2, last_error="timeout")
    assert find_figures(rows=3) is None

    # when
    services.refresh_usage()
    counted = measure_figures()
    Attachment.objects.all().delete()

    # then
    kept = find_figures(rows=3)
    assert kept == replace(counted, computed_at=kept.computed_at)
    assert list(kept.by_type) == list(counted.by_type)
    assert timedelta(0) < counted.computed_at - kept.computed_at < timedelta(minutes=1)


def test_few_rows_are_counted_whenever_somebody_looks(user, make_row):
    services.refresh_usage()
    make_row(user, size_bytes=5)

    assert find_figures(rows=kept_usage.MAX_COUNTED_AT_ONCE).ready == Amount(files=1, size_bytes=5)
    assert find_figures(rows=kept_usage.MAX_COUNTED_AT_ONCE + 1).ready == Amount()


@pytest.mark.usefixtures("_many_rows")
def test_a_refresh_replaces_what_was_kept(user, make_row):
    services.refresh_usage()
    make_row(user, size_bytes=5)

    services.refresh_usage()

    assert find_figures(rows=1).ready == Amount(files=1, size_bytes=5)
    assert UsageFigures.objects.count() == 1


@pytest.mark.usefixtures("_many_rows")
def test_kept_days_are_those_of_the_settings(settings):
    settings.TIME_ZONE = "Asia/Vladivostok"

    with timezone.override("America/New_York"):
        services.refresh_usage()

    kept = find_figures(rows=1)
    assert kept.time_zone == "Asia/Vladivostok"
    assert max(kept.by_day) == timezone.now().astimezone(ZoneInfo("Asia/Vladivostok")).date()


@pytest.mark.usefixtures("_many_rows")
def test_figures_of_another_format_are_not_read():
    UsageFigures.objects.create(figures={"format": 2})

    assert find_figures(rows=1) is None


def test_a_worker_is_asked_once_in_ten_minutes():
    asked_at, is_new = request_refresh()
    assert is_new
    assert request_refresh() == (asked_at, False)

    UsageFigures.objects.update(requested_at=asked_at - timedelta(minutes=11))

    asked_again_at, is_new = request_refresh()
    assert is_new
    assert asked_again_at > asked_at


@pytest.mark.django_db(transaction=True)
def test_a_purge_refreshes(user, make_row, bucket, monkeypatch):
    monkeypatch.setattr(kept_usage, "MAX_COUNTED_AT_ONCE", -1)
    make_row(user, size_bytes=5)
    Usage.objects.update(files=100)

    call_command("purge_orphans", "--json")

    assert find_figures(rows=1).ready == Amount(files=1, size_bytes=5)
    assert measure_owners().stored == Amount(files=1, size_bytes=5)
