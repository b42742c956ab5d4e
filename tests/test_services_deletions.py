"""Objects go after their rows, whatever deletes the rows and whatever fails."""

from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from attachments import services, storage
from attachments.errors import StorageUnavailable
from attachments.models import Attachment, ObjectDeletion
from attachments.services import deletions
from tests.stores import list_keys

pytestmark = pytest.mark.django_db(transaction=True)


SECOND = timedelta(seconds=1)


@pytest.fixture
def store_down(monkeypatch):
    """The store does not answer until this is called."""

    def fail(keys):
        raise StorageUnavailable from ConnectionError("no route to the store")

    monkeypatch.setattr(storage, "delete_objects", fail)
    return monkeypatch.undo


def list_notes():
    return set(ObjectDeletion.objects.values_list("key", flat=True))


def find_due():
    return ObjectDeletion.objects.filter(due_at__lte=Now())


def delete_by_sql(rows):
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM attachments")


DELETE = {
    "the row": lambda rows: rows.get().delete(),
    "a queryset": lambda rows: rows.delete(),
    "a queryset, raw": lambda rows: rows._raw_delete("default"),
    "its user": lambda rows: rows.get().user.delete(),
    "its message": lambda rows: rows.get().message.delete(),
    "its conversation": lambda rows: rows.get().message.conversation.delete(),
    "SQL": delete_by_sql,
}


@pytest.mark.parametrize("what", DELETE)
def test_whatever_deletes_a_row_leaves_a_note(user, attachment_of, message_of, store_down, what):
    attachment = attachment_of(user, message_id=message_of(user).pk)
    Attachment.objects.update(expires_at=timezone.now() - SECOND)

    DELETE[what](Attachment.objects.all())

    assert list_notes() == {attachment.key}


@pytest.mark.parametrize("what", sorted(DELETE.keys() - {"SQL", "a queryset, raw"}))
def test_the_object_goes_after_the_commit(user, attachment_of, message_of, bucket, what):
    attachment = attachment_of(user, message_id=message_of(user).pk)

    with transaction.atomic():
        DELETE[what](Attachment.objects.all())
        assert attachment.key in list_keys(bucket)

    assert attachment.key not in list_keys(bucket)
    assert list_notes() == set()


def test_a_row_that_is_not_ready_leaves_notes_of_all_that_it_may_own(user, upload, store_down):
    ticket = upload(user)
    key = Attachment.objects.get().make_key()
    Attachment.objects.update(
        status="verifying", storage_key=key, copy_upload_id="upload", lease_expires_at=Now()
    )

    Attachment.objects.all().delete()

    pending_key = f"pending/{ticket.attachment_id}"
    notes = ObjectDeletion.objects.values_list("key", "upload_id", "repeats")
    assert set(notes) == {(pending_key, "", 0), (key, "upload", 3)}


def test_a_form_that_still_works_is_cleaned_up_after_too(user, upload, store_down):
    ticket = upload(user)
    services.confirm_upload(attachment_id=ticket.attachment_id, user=user)

    Attachment.objects.all().delete()

    assert f"pending/{ticket.attachment_id}" in list_notes()


def test_a_copy_that_was_given_up_is_deleted_again_after_an_hour_a_day_and_a_week(bucket):
    key = "attachments/late"
    deletions.note_late_copy(key, upload_id="")
    for delay in (timedelta(hours=1), timedelta(days=1), timedelta(weeks=1)):
        services.carry_out_deletions()
        bucket.put_object(Key=key, Body=b"it lands after all")

        note = ObjectDeletion.objects.get()
        assert abs(note.due_at - timezone.now() - delay) < timedelta(minutes=1)
        assert services.carry_out_deletions() == 0  # it is not due yet
        ObjectDeletion.objects.update(due_at=timezone.now() - timedelta(seconds=1))

    services.carry_out_deletions()
    assert list_notes() == set()
    assert key not in list_keys(bucket)


def test_a_copy_in_parts_that_was_given_up_is_aborted(bucket):
    key = "attachments/begun"
    begun = bucket.Object(key).initiate_multipart_upload()
    deletions.note_late_copy(key, upload_id=begun.id)

    services.carry_out_deletions()

    assert not [copy for copy in storage.list_copies("attachments/") if copy.key == key]


def test_rolled_back_nothing_happens(user, attachment_of, bucket):
    attachment = attachment_of(user)

    class RollBack(Exception):
        pass

    with pytest.raises(RollBack), transaction.atomic():
        Attachment.objects.all().delete()
        assert list_notes() >= {attachment.key}
        raise RollBack

    assert Attachment.objects.get() == attachment
    assert attachment.key in list_keys(bucket)
    assert list_notes() == set()


def test_a_savepoint_that_is_rolled_back_does_not_stop_what_comes_after(
    user, attachment_of, bucket
):
    kept, gone = attachment_of(user), attachment_of(user)

    class RollBack(Exception):
        pass

    with transaction.atomic():
        with pytest.raises(RollBack), transaction.atomic():
            kept_row = Attachment.objects.get(pk=kept.pk)
            kept_row.delete()
            raise RollBack
        gone.delete()

    assert kept.key in list_keys(bucket)
    assert gone.key not in list_keys(bucket)


def test_many_rows_cost_one_call_to_the_store(user, attachment_of, store_calls):
    for _ in range(3):
        attachment_of(user)
    store_calls()

    user.delete()

    assert store_calls() == ["DeleteObjects"]


def test_the_store_is_down_and_comes_back(user, attachment_of, bucket, store_down, caplog):
    attachment = attachment_of(user)
    Attachment.objects.update(expires_at=timezone.now() - SECOND)

    attachment.delete()

    assert not Attachment.objects.exists()
    note = ObjectDeletion.objects.get()
    assert (note.attempts, note.last_error) == (1, "no route to the store")
    assert "noted deletions wait" in caplog.text

    store_down()
    assert services.carry_out_deletions() == 1
    assert attachment.key not in list_keys(bucket)
    assert list_notes() == set()


def test_the_object_goes_at_once_though_the_clock_here_is_behind_the_databases(
    user, attachment_of, monkeypatch
):
    attachment = attachment_of(user)
    here = timezone.now() - SECOND
    monkeypatch.setattr(timezone, "now", lambda: here)

    attachment.delete()

    assert list_notes() == set()


def test_carrying_out_says_that_the_store_is_down(user, attachment_of, store_down):
    attachment_of(user).delete()

    with pytest.raises(StorageUnavailable):
        services.carry_out_deletions()

    assert {note.attempts for note in ObjectDeletion.objects.all()} == {2}


def test_what_the_store_refuses_to_delete_stays_with_its_reason(
    user, attachment_of, monkeypatch, caplog
):
    refused, gone = attachment_of(user), attachment_of(user)
    Attachment.objects.update(expires_at=timezone.now() - SECOND)
    monkeypatch.setattr(
        storage, "delete_objects", lambda keys: {refused.key: "AccessDenied: locked"}
    )

    Attachment.objects.all().delete()

    note = ObjectDeletion.objects.get()
    assert (note.key, note.attempts) == (refused.key, 1)
    assert note.last_error == "AccessDenied: locked"
    assert str(refused.pk) in caplog.text
    assert refused.key not in caplog.text  # it still opens the file
    assert str(gone.pk) not in caplog.text
    # The same run does not try again, and the next not at once.
    assert services.carry_out_deletions() == 0


def test_many_refusals_cost_no_more_queries_than_one(monkeypatch):
    monkeypatch.setattr(storage, "delete_objects", lambda keys: dict.fromkeys(keys, "AccessDenied"))

    def count_queries(notes):
        deletions.note_deletions(f"attachments/{number}" for number in range(notes))
        with CaptureQueriesContext(connection) as queries:
            assert services.carry_out_deletions() == 0
        return len(queries)

    assert count_queries(20) == count_queries(1)
    assert set(ObjectDeletion.objects.values_list("last_error", flat=True)) == {"AccessDenied"}


def test_an_object_that_is_gone_already_is_no_error(user, attachment_of, bucket):
    attachment = attachment_of(user)
    bucket.Object(attachment.key).delete()

    attachment.delete()

    assert list_notes() == set()


def test_two_runs_share_the_work(user, attachment_of, monkeypatch):
    keys = [f"attachments/{number}" for number in range(4)]
    deletions.note_deletions(keys)
    monkeypatch.setattr(storage, "MAX_DELETE", 2)
    taken = [deletions._claim_notes(find_due()) for _ in range(3)]

    found = [{note.key for note in notes} for notes in taken]
    assert [len(keys) for keys in found] == [2, 2, 0]
    assert found[0] | found[1] == set(keys)


def test_a_run_that_was_killed_leaves_its_notes_for_a_later_one(user, attachment_of, bucket):
    attachment = attachment_of(user)
    Attachment.objects.all()._raw_delete("default")
    deletions._claim_notes(find_due())  # and then the process is gone

    assert services.carry_out_deletions() == 0
    ObjectDeletion.objects.update(due_at=Now())  # its claim is over
    assert services.carry_out_deletions() >= 1
    assert attachment.key not in list_keys(bucket)
