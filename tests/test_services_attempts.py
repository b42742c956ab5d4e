from datetime import timedelta
from functools import partial

import pytest
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from attachments import services, storage
from attachments.errors import NotFound, SizeMismatch, UploadInProgress
from attachments.models import Attachment, ObjectDeletion
from attachments.services import attempts
from attachments.services.attempts import Attempt
from attachments.services.leases import LEASE, RETRY_AFTER

pytestmark = pytest.mark.django_db


@pytest.fixture
def row(user, upload):
    return Attachment.find(upload(user).attachment_id)


def read_lease():
    return Attachment.objects.get().lease_expires_at - timezone.now()


def end_lease():
    Attachment.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))


def list_notes():
    return set(ObjectDeletion.objects.values_list("key", "repeats"))


def test_taking_names_a_new_key_and_begins_a_lease(row):
    attempt = Attempt.take(row)

    stored = Attachment.objects.get()
    assert (stored.status, stored.copy_key) == ("verifying", attempt.key)
    assert timedelta(0) < timedelta(minutes=2) - read_lease() < timedelta(seconds=10)
    assert list_notes() == set()


def test_nobody_takes_what_another_holds(row):
    Attempt.take(Attachment.find(row.pk))

    with pytest.raises(UploadInProgress):
        Attempt.take(row)  # as it was before
    with pytest.raises(UploadInProgress):
        Attempt.take(Attachment.find(row.pk))  # as it is now


def test_nobody_takes_over_what_was_handed_to_a_worker_meanwhile(row):
    """Its message and metadata are newer than what this confirm read."""
    stale = Attachment.find(row.pk)
    Attempt.take(row).hand_over()

    with pytest.raises(UploadInProgress):
        Attempt.take(stale)
    assert Attempt.take(Attachment.find(row.pk)).attachment.in_background


def test_nobody_takes_over_from_an_attempt_that_they_have_not_seen(row):
    """Its key would get no note."""
    stale = Attachment.find(row.pk)
    Attempt.take(row)
    end_lease()

    with pytest.raises(UploadInProgress):
        Attempt.take(stale)


def test_the_key_of_a_dead_attempt_is_noted_with_the_taking(row):
    dead = Attempt.take(row)
    dead.name_upload("upload")
    end_lease()

    attempt = Attempt.take(Attachment.find(row.pk))

    note = ObjectDeletion.objects.get()
    assert (note.key, note.upload_id, note.repeats) == (dead.key, "upload", 3)
    assert attempt.key != dead.key
    assert Attachment.objects.get().copy_upload_id == ""  # it is the dead one's


@pytest.mark.parametrize(
    "end", [partial(Attempt.settle, size_bytes=1), Attempt.hand_over, Attempt.release]
)
def test_the_row_of_an_attempt_that_is_over_names_no_upload(row, end):
    attempt = Attempt.take(row)
    attempt.name_upload("upload")

    end(attempt)

    assert Attachment.objects.get().copy_upload_id == ""


@pytest.mark.parametrize(
    "end",
    [
        partial(Attempt.settle, size_bytes=1),
        Attempt.hand_over,
        Attempt.release,
        Attempt.check_is_held,
        partial(Attempt.name_upload, upload_id="upload"),
    ],
)
def test_an_attempt_that_lost_its_row_changes_nothing(row, end):
    lost = Attempt.take(row)
    end_lease()
    Attempt.take(Attachment.find(row.pk))
    before = Attachment.objects.values().get()

    with pytest.raises(attempts.AttemptLost):
        end(lost)

    assert Attachment.objects.values().get() == before


def test_a_lost_attempt_cannot_reject(row):
    lost = Attempt.take(row)
    end_lease()
    Attempt.take(Attachment.find(row.pk))

    with pytest.raises(UploadInProgress), lost.hold():
        raise SizeMismatch(found=1, expected="2")

    assert Attachment.objects.get().status == "verifying"


def test_a_lost_attempt_deletes_its_own_copy_alone(row, bucket):
    lost = Attempt.take(row)
    end_lease()
    winner = Attempt.take(Attachment.find(row.pk))
    services.carry_out_deletions()  # before the copy comes
    for attempt in (lost, winner):
        bucket.put_object(Key=attempt.key, Body=b"copy")
        attempt.may_have_copied = True

    with pytest.raises(UploadInProgress), lost.hold():
        lost.settle(size_bytes=1)

    left = {item.key for item in bucket.objects.filter(Prefix=f"attachments/{row.pk}/")}
    assert left == {winner.key}


def test_an_attempt_that_lost_its_row_by_publishing_deletes_nothing(row, bucket):
    attempt = Attempt.take(row)
    bucket.put_object(Key=attempt.key, Body=b"copy")
    attempt.may_have_copied = True

    with pytest.raises(UploadInProgress), attempt.hold():
        attempt.settle(size_bytes=4)
        attempt.check_is_held()

    assert bucket.Object(attempt.key).content_length == 4


def test_a_lease_is_renewed_when_a_good_part_of_it_is_over(row, monkeypatch):
    attempt = Attempt.take(row)
    end_lease()
    attempt.renew()
    assert read_lease() < timedelta(0)  # hardly any time is over

    now = attempts.monotonic()
    monkeypatch.setattr(attempts, "monotonic", lambda: now + LEASE.total_seconds() / 3)
    attempt.renew()

    assert read_lease() > timedelta(0)
    end_lease()
    attempt.renew()
    assert read_lease() < timedelta(0)  # the time counts from the last renewal


@pytest.mark.django_db(transaction=True)
def test_a_rejection_and_its_notes_stand_or_fall_together(row, monkeypatch):
    def fail(keys):
        raise ConnectionError

    monkeypatch.setattr(attempts, "note_deletions", fail)

    with pytest.raises(ConnectionError), Attempt.take(row).hold():
        raise SizeMismatch(found=1, expected="2")

    assert Attachment.objects.get().status == "pending"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("change", [Attempt.release, Attempt.hand_over, "take"])
def test_whoever_leaves_a_key_notes_it_or_does_not_leave_it(row, monkeypatch, change):
    def fail(key, **kwargs):
        raise ConnectionError

    attempt = Attempt.take(row)
    attempt.may_have_copied = True
    end_lease()
    monkeypatch.setattr(attempts, "note_late_copy", fail)

    with pytest.raises(ConnectionError):
        Attempt.take(Attachment.find(row.pk)) if change == "take" else change(attempt)

    assert Attachment.objects.get().copy_key == attempt.key


def test_whatever_ends_an_attempt_half_way_releases_it(row):
    attempt = Attempt.take(row)
    attempt.may_have_copied = True
    attempt.name_upload("upload")

    with pytest.raises(ZeroDivisionError), attempt.hold():
        raise ZeroDivisionError

    stored = Attachment.objects.get()
    assert (stored.status, stored.key) == ("pending", stored.pending_key)
    note = ObjectDeletion.objects.get()
    assert (note.key, note.upload_id, note.repeats) == (attempt.key, "upload", 3)


def test_what_was_published_stays_so_though_the_answer_was_lost(row, monkeypatch):
    attempt = Attempt.take(row)

    def lose_answer(row, **change):
        monkeypatch.undo()
        row.change(**change)
        raise OperationalError

    monkeypatch.setattr(Attachment, "change", lose_answer)

    with pytest.raises(OperationalError), attempt.hold():
        attempt.settle(size_bytes=1)

    assert Attachment.objects.get().status == "ready"


def test_a_worker_that_fails_leaves_the_row_to_others_a_little_later(row):
    Attempt.take(row).hand_over()
    attempt = Attempt.take(Attachment.find(row.pk))

    with pytest.raises(ZeroDivisionError), attempt.hold():
        raise ZeroDivisionError

    stored = Attachment.find(row.pk)
    assert (stored.status, stored.in_background) == ("verifying", True)
    assert timedelta(0) < read_lease() < RETRY_AFTER[0]
    with pytest.raises(UploadInProgress):
        Attempt.take(stored)


def test_what_was_tried_in_vain_begins_anew_once_it_is_published(row):
    Attempt.take(row).hand_over()
    Attachment.objects.update(tries=3)

    Attempt.take(Attachment.find(row.pk)).settle(size_bytes=1)

    assert Attachment.objects.get().tries == 0


@pytest.mark.parametrize(
    "end",
    [
        partial(Attempt.settle, size_bytes=1),
        partial(Attempt.reject, error=SizeMismatch(found=1, expected="2")),
        Attempt.release,
    ],
)
def test_what_a_worker_has_ended_waits_for_none(row, end):
    Attempt.take(row).hand_over()

    end(Attempt.take(Attachment.find(row.pk)))

    stored = Attachment.objects.get()
    assert (stored.waiting_since, stored.lease_expires_at) == (None, None)


def test_what_goes_on_to_the_scanner_has_waited_since_it_was_handed_over(row, use_scanner):
    Attempt.take(row).hand_over()
    since = timezone.now() - timedelta(hours=1)
    Attachment.objects.update(waiting_since=since)
    use_scanner("tcp://127.0.0.1:1")

    Attempt.take(Attachment.find(row.pk)).settle(size_bytes=1)

    stored = Attachment.objects.get()
    assert (stored.status, stored.waiting_since) == ("scanning", since)


@pytest.mark.parametrize(
    "end", [partial(Attempt.settle, size_bytes=1), Attempt.hand_over, Attempt.release]
)
def test_an_attempt_that_is_over_does_nothing_more(row, end):
    attempt = Attempt.take(row)

    with CaptureQueriesContext(connection) as queries, attempt.hold():
        end(attempt)

    assert sum(item["sql"].startswith("UPDATE") for item in queries) == 1


def test_a_row_that_goes_under_an_attempt(row):
    attempt = Attempt.take(row)
    Attachment.objects.all().delete()

    with pytest.raises(NotFound), attempt.hold():
        attempt.settle(size_bytes=1)


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_a_host_with_a_transaction_per_request_holds_none_while_the_store_is_asked(
    user, upload, api, monkeypatch
):
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    ticket, states = upload(user), []
    copy_object = storage.copy_object

    def copy(**kwargs):
        states.append(connection.in_atomic_block)
        return copy_object(**kwargs)

    monkeypatch.setattr(storage, "copy_object", copy)
    body = {"attachment_id": str(ticket.attachment_id)}
    response = api(user).post("/api/v1/attachments/confirm", body, format="json")

    assert (response.status_code, states) == (200, [False])


@pytest.mark.parametrize("waiting_since", [None, timezone.now()])
def test_an_attachment_is_ready_once(attachment_of, user, waiting_since):
    first = attachment_of(user)
    first.change(where={}, waiting_since=waiting_since, lease_expires_at=timezone.now())

    with pytest.raises(UploadInProgress):
        Attempt.take(first)
