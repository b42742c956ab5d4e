from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from attachments.models import Attachment, ObjectDeletion
from attachments.services.usage import (
    Amount,
    Orphans,
    Usage,
    WaitingDeletions,
    measure_usage,
)
from attachments.services.usage import Owners as OwnersUsage

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


def test_everything_is_counted(user, other_user, message_of, make_row):
    # given
    linked = make_row(user, size_bytes=100, message=message_of(user))
    orphan = make_row(user, size_bytes=20, content_type="video/mp4")
    overdue = make_row(other_user, size_bytes=7, created_at=days_ago(8))
    make_row(user, size_bytes=None, status="pending")
    make_row(other_user, size_bytes=5000, status="rejected")
    oldest_at = days_ago(2)
    ObjectDeletion.objects.create(key="a", created_at=oldest_at, attempts=2, last_error="timeout")
    ObjectDeletion.objects.create(key="b")

    # when
    usage = measure_usage(days=2)

    # then
    today = timezone.localdate()
    assert usage == Usage(
        ready=Amount(files=3, size_bytes=127),
        by_status={
            "ready": Amount(files=3, size_bytes=127),
            "pending": Amount(files=1, size_bytes=0),
            "rejected": Amount(files=1, size_bytes=5000),
        },
        by_type={
            "image/png": Amount(files=2, size_bytes=107),
            "video/mp4": Amount(files=1, size_bytes=20),
        },
        by_day={
            today - timedelta(days=1): Amount(),
            today: Amount(files=2, size_bytes=120),
        },
        owners=OwnersUsage(
            top=[
                (user, Amount(files=2, size_bytes=120)),
                (other_user, Amount(files=1, size_bytes=7)),
            ],
            others=0,
            of_others=Amount(),
        ),
        orphans=Orphans(
            amount=Amount(files=2, size_bytes=27), overdue=Amount(files=1, size_bytes=7)
        ),
        largest=[linked, orphan, overdue],
        deletions=WaitingDeletions(
            objects=2, attempted=1, oldest_at=oldest_at, last_error="timeout"
        ),
    )
    assert list(usage.by_type) == ["image/png", "video/mp4"]


def test_owners_beyond_the_top_are_counted_together(django_user_model, make_row):
    owners = [django_user_model.objects.create_user(f"user-{number}") for number in range(13)]
    for number, owner in enumerate(owners, start=1):
        make_row(owner, size_bytes=number)
        make_row(owner, size_bytes=0)

    usage = measure_usage(days=7)

    assert [owner for owner, _amount in usage.owners.top] == owners[:2:-1]
    assert usage.owners.others == 3
    assert usage.owners.of_others == Amount(files=6, size_bytes=1 + 2 + 3)
    assert len(usage.largest) == 10


def test_days_are_those_of_the_current_time_zone(user, make_row):
    late = datetime.combine(timezone.now().date() - timedelta(days=1), datetime.min.time(), UTC)
    make_row(user, created_at=late + timedelta(hours=22))

    with timezone.override("Asia/Vladivostok"):
        by_day = measure_usage(days=7).by_day

    assert by_day[late.date() + timedelta(days=1)] == Amount(files=1, size_bytes=1)
    assert by_day[late.date()] == Amount()


def test_an_empty_database_has_no_use(db):
    usage = measure_usage(days=7)

    assert usage == Usage(
        ready=Amount(),
        by_status={},
        by_type={},
        by_day={timezone.localdate() - timedelta(days=days): Amount() for days in range(7)},
        owners=OwnersUsage(top=[], others=0, of_others=Amount()),
        orphans=Orphans(amount=Amount(), overdue=Amount()),
        largest=[],
        deletions=WaitingDeletions(objects=0, attempted=0, oldest_at=None, last_error=""),
    )


def test_eight_queries_at_any_size(django_assert_num_queries, django_user_model, make_row):
    for number in range(30):
        make_row(django_user_model.objects.create_user(f"user-{number}"))

    with django_assert_num_queries(8):
        usage = measure_usage(days=90)
        assert [attachment.user.username for attachment in usage.largest]
