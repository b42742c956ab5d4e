"""Objects go after their rows, whatever deletes the rows and whatever fails."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from datetime import timedelta
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError
from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from attachments import events, services, storage, tasks
from attachments.errors import ContentMismatch, StorageUnavailable
from attachments.models import Attachment, ObjectDeletion
from attachments.services import bulk, deletions
from attachments.storage.client import get_client
from tests.commands import IMMEDIATE
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
        status="verifying", copy_key=key, copy_upload_id="upload", lease_expires_at=Now()
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
        assert (note.attempts, note.last_error) == (0, "")
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


@pytest.mark.parametrize("context", [nullcontext, transaction.atomic])
def test_many_rows_cost_one_call_to_the_store(user, attachment_of, store_calls, context):
    for _ in range(3):
        attachment_of(user)
    store_calls()

    with context():
        user.delete()

    assert store_calls() == ["DeleteObjects"]


def test_the_store_is_down_and_comes_back(user, attachment_of, bucket, store_down):
    attachment = attachment_of(user)
    Attachment.objects.update(expires_at=timezone.now() - SECOND)

    attachment.delete()

    assert not Attachment.objects.exists()
    note = ObjectDeletion.objects.get()
    assert (note.attempts, note.last_error) == (1, "no route to the store")

    store_down()
    assert services.carry_out_deletions() == 1
    assert attachment.key not in list_keys(bucket)
    assert list_notes() == set()


def test_a_note_is_due_at_once_though_the_clock_here_is_ahead_of_the_databases(monkeypatch):
    due_at = ObjectDeletion._meta.get_field("due_at")
    later = timezone.now() + timedelta(hours=1)
    monkeypatch.setattr(due_at, "_get_default", lambda: later)

    deletions.note_deletions(["attachments/due"])
    deletions.note_late_copy("attachments/late", upload_id="")

    assert find_due().count() == 2


def test_the_object_goes_at_once_though_the_clock_here_is_behind_the_databases(
    user, attachment_of, monkeypatch
):
    attachment = attachment_of(user)
    here = timezone.now() - SECOND
    monkeypatch.setattr(timezone, "now", lambda: here)

    attachment.delete()

    assert list_notes() == set()


@pytest.mark.parametrize("error", [OperationalError, InterfaceError])
def test_a_database_that_goes_after_the_commit_keeps_the_notes(user, attachment_of, caplog, error):
    """The row is gone: the user must not hear that it is not."""
    attachment = attachment_of(user)
    Attachment.objects.update(expires_at=timezone.now() - SECOND)

    def go_after_the_commit(execute, sql, *args):
        if sql.startswith("SELECT") and "attachments_deletions" in sql:
            raise error("the database is gone")
        return execute(sql, *args)

    with connection.execute_wrapper(go_after_the_commit):
        attachment.delete()

    assert list_notes() == {attachment.key}
    assert "wait for the next purge_orphans: the database is gone" in caplog.text


def test_carrying_out_says_that_the_store_is_down(user, attachment_of, store_down):
    attachment_of(user).delete()

    with pytest.raises(StorageUnavailable):
        services.carry_out_deletions()

    assert {note.attempts for note in ObjectDeletion.objects.all()} == {2}


def test_what_the_store_refuses_to_delete_stays_with_its_reason(
    user, attachment_of, monkeypatch, caplog, told
):
    refused, gone = attachment_of(user), attachment_of(user)
    Attachment.objects.update(expires_at=timezone.now() - SECOND)
    caplog.clear()
    monkeypatch.setattr(
        storage, "delete_objects", lambda keys: {refused.key: "AccessDenied: locked"}
    )

    Attachment.objects.all().delete()

    note = ObjectDeletion.objects.get()
    assert (note.key, note.attempts) == (refused.key, 1)
    assert note.last_error == "AccessDenied: locked"
    *_, facts = told("objects_deleted")
    assert (facts["count"], facts["refused_count"]) == (1, 1)
    assert f"to delete 1 (AccessDenied): attachments/{refused.pk}/…\n" in caplog.text
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


def test_two_runs_share_the_work_and_begin_with_what_waits_longest(monkeypatch):
    for seconds in range(4):
        due_at = timezone.now() - seconds * SECOND
        ObjectDeletion.objects.create(key=f"attachments/{seconds}", due_at=due_at)
    monkeypatch.setattr(storage, "MAX_DELETE", 2)

    taken = [deletions._claim_notes(find_due()) for _ in range(3)]

    found = [{note.key for note in notes} for notes in taken]
    assert found == [{"attachments/3", "attachments/2"}, {"attachments/1", "attachments/0"}, set()]


def test_a_run_that_was_killed_leaves_its_notes_for_a_later_one(user, attachment_of, bucket):
    attachment = attachment_of(user)
    Attachment.objects.all()._raw_delete("default")
    deletions._claim_notes(find_due())  # and then the process is gone

    assert services.carry_out_deletions() == 0
    wait = ObjectDeletion.objects.latest("due_at").due_at - timezone.now()
    assert timedelta(0) < timedelta(minutes=2) - wait < 30 * SECOND
    ObjectDeletion.objects.update(due_at=Now())  # its claim is over
    assert services.carry_out_deletions() >= 1
    assert attachment.key not in list_keys(bucket)


# A request carries out its own notes


@pytest.fixture
def nudges():
    """The signals that objects are left."""
    found = []

    def note(**kwargs):
        found.append(kwargs)

    events.deletions_left.connect(note)
    yield found
    events.deletions_left.disconnect(note)


def test_a_request_leaves_the_notes_of_others(user, attachment_of, bucket, nudges):
    others = {f"attachments/{number}" for number in range(3)}
    deletions.note_deletions(others)
    attachment = attachment_of(user)

    attachment.delete()

    assert list_notes() == others
    assert attachment.key not in list_keys(bucket)
    assert nudges == []
    assert set(ObjectDeletion.objects.values_list("attempts", flat=True)) == {0}


def test_a_rejection_leaves_the_notes_of_others(user, upload, bucket):
    deletions.note_deletions(["attachments/other"])
    ticket = upload(user, content=b"no picture")

    with pytest.raises(ContentMismatch):
        services.confirm_upload(attachment_id=ticket.attachment_id, user=user)

    assert list_notes() == {"attachments/other"}
    assert not [key for key in list_keys(bucket) if str(ticket.attachment_id) in key]


def test_a_request_deletes_all_that_is_noted_of_one_attachment(bucket):
    mine, other = uuid4(), uuid4()
    for pk in (mine, other):
        places = ("attachments/{}/nonce/file", "quarantine/{}/nonce", "thumbnails/{}/nonce.webp")
        deletions.note_deletions([place.format(pk) for place in (*places, "pending/{}")])

    deletions.carry_out_notes_of(mine)

    assert len(list_notes()) == 4
    assert all(str(other) in key for key in list_notes())


def test_what_a_run_took_is_too_late_to_keep():
    deletions.note_made("thumbnails/late")
    ObjectDeletion.objects.update(due_at=Now())

    deletions._claim_notes(find_due())  # it deletes the object at this moment

    with transaction.atomic():
        assert not deletions.keep_made("thumbnails/late")
    assert list_notes() == {"thumbnails/late"}


@pytest.mark.postgres
def test_what_is_kept_is_taken_by_no_run_meanwhile():
    """Or else a row would name an object that a run is about to delete."""
    deletions.note_made("thumbnails/kept")
    ObjectDeletion.objects.update(due_at=Now())
    taken = []

    def run():
        try:
            taken.extend(deletions._claim_notes(find_due()))
        finally:
            connection.close()

    def run_before(execute, sql, *args):
        if sql.startswith("DELETE"):
            with ThreadPoolExecutor(1) as other:
                other.submit(run).result(timeout=30)
        return execute(sql, *args)

    with transaction.atomic(), connection.execute_wrapper(run_before):
        assert deletions.keep_made("thumbnails/kept") == {"thumbnails/kept"}

    assert taken == []
    assert list_notes() == set()


def test_what_no_row_will_name_goes_at_once_and_nothing_else(bucket):
    for key in ("thumbnails/dropped", "thumbnails/other"):
        bucket.put_object(Key=key, Body=b"x")
        deletions.note_made(key)

    deletions.drop_made("thumbnails/dropped")

    assert "thumbnails/dropped" not in list_keys(bucket)
    assert "thumbnails/other" in list_keys(bucket)
    waiting = ObjectDeletion.objects.exclude(pk__in=find_due()).values_list("key", "repeats")
    assert set(waiting) == {("thumbnails/dropped", 2), ("thumbnails/other", 3)}


def test_a_request_leaves_what_is_looked_for_again_later(bucket):
    attachment_id = uuid4()
    deletions.note_late_copy(f"attachments/{attachment_id}/nonce/file", upload_id="")
    services.carry_out_deletions()

    deletions.carry_out_notes_of(attachment_id)

    assert ObjectDeletion.objects.get().repeats == 2


@pytest.mark.parametrize(("rows", "left"), [(2, 0), (3, 1)])
def test_a_request_deletes_the_objects_of_so_many_rows_and_no_more(
    user, attachment_of, monkeypatch, nudges, rows, left
):
    monkeypatch.setattr(deletions, "MAX_OWN_KEYS", 4)
    for _ in range(rows):
        attachment_of(user)
    Attachment.objects.update(expires_at=timezone.now() - SECOND)

    user.delete()

    assert len(list_notes()) == left
    assert len(nudges) == left
    services.carry_out_deletions()
    assert list_notes() == set()


def test_a_bulk_deletion_deletes_so_many_objects_and_no_more(
    user, attachment_of, monkeypatch, nudges
):
    monkeypatch.setattr(deletions, "MAX_OWN_KEYS", 4)
    monkeypatch.setattr(bulk, "MAX_OWN_ROWS", 2)
    for _ in range(5):
        attachment_of(user)
    Attachment.objects.update(expires_at=timezone.now() - SECOND)

    with CaptureQueriesContext(connection) as queries:
        deleted = services.delete_attachments(Attachment.objects.all()).deleted

    assert (deleted, len(list_notes()), len(nudges)) == (5, 3, 1)
    (read,) = [item["sql"] for item in queries if item["sql"].endswith(" LIMIT 3")]
    assert "ORDER BY" not in read  # the rest is not even read


def test_what_is_still_to_be_uploaded_takes_no_space(user, upload):
    upload(user, content=None, size_bytes=5)

    extent = services.measure_attachments(Attachment.objects.all())

    assert extent == bulk.Extent(row_count=1, object_count=0, size_bytes=0)


def test_a_task_does_the_rest(settings, bucket):
    settings.TASKS = {"default": {"BACKEND": "django_tasks.backends.dummy.DummyBackend"}}
    bucket.put_object(Key="attachments/left", Body=b"x")
    deletions.note_deletions(["attachments/left"])

    events.deletions_left.send(sender=None)

    (queued,) = tasks.carry_out_deletions.get_backend().results
    assert queued.task.func is tasks.carry_out_deletions.func
    assert tasks.carry_out_deletions.call() == 1
    assert "attachments/left" not in list_keys(bucket)


def test_a_backend_that_works_in_the_request_is_not_nudged(settings):
    settings.TASKS = {"default": {"BACKEND": IMMEDIATE}}
    deletions.note_deletions(["attachments/left"])

    events.deletions_left.send(sender=None)

    assert list_notes() == {"attachments/left"}


def test_a_savepoint_that_is_kept_and_one_that_is_not(user, attachment_of, bucket):
    first, second, third = (attachment_of(user) for _ in range(3))

    class RollBack(Exception):
        pass

    with transaction.atomic():
        with transaction.atomic():
            first.delete()
        with pytest.raises(RollBack), transaction.atomic():
            Attachment.objects.filter(pk=second.pk).delete()
            raise RollBack
        third.delete()

    assert {key for key in list_keys(bucket) if key.startswith("attachments/")} >= {second.key}
    assert not {first.key, third.key} & list_keys(bucket)
    assert list_notes() == set()


def test_the_admin_tries_the_chosen_notes_again_and_no_others(bucket, nudges):
    deletions.note_deletions(["attachments/chosen", "attachments/other"])
    ObjectDeletion.objects.update(attempts=3, due_at=timezone.now() + timedelta(hours=1))
    deletions.note_deletions(["attachments/due"])

    chosen = ObjectDeletion.objects.filter(key="attachments/chosen")
    assert services.retry_deletions(chosen) == 1
    due = ObjectDeletion.objects.filter(key="attachments/due")
    assert services.retry_deletions(due) == 0  # it was not tried in vain

    assert list_notes() == {"attachments/other", "attachments/due"}
    assert nudges == []  # nothing is left for a task


def test_the_admin_tries_so_many_notes_again_and_no_more(bucket, monkeypatch, nudges):
    monkeypatch.setattr(storage, "MAX_DELETE", 2)
    deletions.note_deletions(f"attachments/{number}" for number in range(3))
    ObjectDeletion.objects.update(attempts=3, due_at=timezone.now() + timedelta(hours=1))

    assert services.retry_deletions(ObjectDeletion.objects.all()) == 2

    assert len(nudges) == 1  # a task does the rest
    assert find_due().count() == 1


# A backlog


def refuse_all(keys):
    return dict.fromkeys(keys, "AccessDenied: locked")


def test_refused_notes_wait_longer_each_time():
    minutes = [deletions.get_delay(attempts) / timedelta(minutes=1) for attempts in range(1, 14)]

    assert minutes == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 1440, 1440]
    assert deletions.get_delay(10**6) == timedelta(days=1)


def test_a_refused_note_is_due_again_after_its_delay(monkeypatch):
    monkeypatch.setattr(storage, "delete_objects", refuse_all)
    deletions.note_deletions(["attachments/locked"])
    for attempts, minutes in ((1, 1), (2, 2), (3, 4)):
        assert services.carry_out_deletions() == 0

        note = ObjectDeletion.objects.get()
        assert note.attempts == attempts
        assert abs(note.due_at - timezone.now() - timedelta(minutes=minutes)) < 30 * SECOND
        ObjectDeletion.objects.update(due_at=timezone.now() - SECOND)


def test_a_run_ends_and_logs_a_line_for_each_call_though_all_is_refused(monkeypatch, caplog):
    """Even if what was refused were due again at once."""
    monkeypatch.setattr(storage, "delete_objects", refuse_all)
    monkeypatch.setattr(storage, "MAX_DELETE", 5)
    monkeypatch.setattr(deletions, "get_delay", lambda attempts: timedelta(seconds=0.1))
    deletions.note_deletions(f"attachments/id/{number}" for number in range(10))
    caplog.set_level("ERROR")

    assert services.carry_out_deletions() == 0

    lines = [record.getMessage() for record in caplog.records]
    assert (
        lines
        == [
            "The store refuses to delete 5 (AccessDenied): "
            "attachments/id/…, attachments/id/…, attachments/id/…, ..."
        ]
        * 2
    )
    assert set(ObjectDeletion.objects.values_list("attempts", flat=True)) == {1}


def test_what_becomes_due_meanwhile_is_for_the_next_run(monkeypatch):
    """Or else a run would never end beside a busy server."""
    deletions.note_deletions(["attachments/due"])

    def delete_slowly(keys):
        monkeypatch.undo()
        due_at = Now() + timedelta(milliseconds=20)
        ObjectDeletion.objects.create(key="attachments/new", due_at=due_at)
        while not find_due().filter(key="attachments/new").exists():
            pass
        return storage.delete_objects(keys)

    monkeypatch.setattr(storage, "delete_objects", delete_slowly)

    assert services.carry_out_deletions() == 1
    assert list_notes() == {"attachments/new"}


def test_a_copy_that_the_store_does_not_abort_stops_no_other(bucket, monkeypatch, caplog):
    bucket.put_object(Key="attachments/other", Body=b"x")
    deletions.note_deletions(["attachments/other"])
    deletions.note_late_copy("attachments/copy", upload_id="begun")
    client = get_client()
    error = {"Error": {"Code": "AccessDenied", "Message": "not yours"}}

    def refuse(**kwargs):
        raise ClientError(error, "AbortMultipartUpload")

    monkeypatch.setattr(client, "abort_multipart_upload", refuse)

    assert services.carry_out_deletions() == 1

    note = ObjectDeletion.objects.get()
    assert (note.key, note.repeats, note.last_error) == (
        "attachments/copy",
        3,
        "AccessDenied: not yours",
    )
    assert "attachments/other" not in list_keys(bucket)


def test_an_outage_while_a_copy_is_aborted_is_raised(monkeypatch):
    deletions.note_late_copy("attachments/copy", upload_id="begun")

    def fail(**kwargs):
        raise ClientError({"Error": {"Code": "SlowDown"}}, "AbortMultipartUpload")

    monkeypatch.setattr(get_client(), "abort_multipart_upload", fail)

    with pytest.raises(StorageUnavailable):
        services.carry_out_deletions()


def test_a_key_that_the_store_cannot_be_told_stops_no_other(bucket):
    bucket.put_object(Key="attachments/other", Body=b"x")
    deletions.note_deletions(["attachments/other", "attachments/\x01", ""])

    assert services.carry_out_deletions() == 1

    assert list_notes() == {"attachments/\x01", ""}
    errors = set(ObjectDeletion.objects.values_list("last_error", flat=True))
    assert errors == {"InvalidKey: DeleteObjects cannot name it."}
    assert "attachments/other" not in list_keys(bucket)


@pytest.mark.postgres
def test_runs_do_not_wait_for_each_other(bucket):
    """Notes that another run has locked are passed over; with a wait this would time out."""
    deletions.note_deletions(["attachments/held", "attachments/free"])

    def run():
        try:
            with connection.cursor() as cursor:
                cursor.execute("SET lock_timeout = '3s'")
            return services.carry_out_deletions()
        finally:
            with connection.cursor() as cursor:
                cursor.execute("RESET lock_timeout")
            connection.close()

    with ThreadPoolExecutor(1) as thread, transaction.atomic():
        ObjectDeletion.objects.select_for_update().get(key="attachments/held")
        assert thread.submit(run).result(timeout=30) == 1

    assert list_notes() == {"attachments/held"}


@pytest.mark.postgres
def test_finding_what_is_due_reads_nothing_else(bucket):
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO attachments_deletions (key, due_at) "
            "SELECT 'attachments/' || n, now() + interval '1 day' FROM generate_series(1, 5000) n"
        )
        cursor.execute("ANALYZE attachments_deletions")
    deletions.note_deletions(["attachments/due"])

    with CaptureQueriesContext(connection) as queries:
        assert services.carry_out_deletions() == 1
    (claim,) = [item["sql"] for item in queries if "FOR UPDATE" in item["sql"]][:1]
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS OFF, TIMING OFF, COSTS OFF) {claim}")
        plan = "\n".join(line for (line,) in cursor.fetchall())

    assert "Index Cond: (due_at <=" in plan
    assert "Removed by Filter" not in plan
    assert "Seq Scan" not in plan
