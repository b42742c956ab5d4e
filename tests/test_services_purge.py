"""What a purge removes and what it leaves alone, on the real store."""

import threading
import unittest
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import connection, transaction
from django.test import TestCase
from django.utils import timezone

from attachments import services, storage
from attachments.conf import conf
from attachments.errors import NotFound, StorageUnavailable
from attachments.models import Attachment, IdempotencyKey, ObjectDeletion
from attachments.services import batches, purge, purgeable
from attachments.services.attempts import Attempt
from attachments.services.deletions import note_deletions
from attachments.tasks import purge_orphans
from tests.commands import IMMEDIATE
from tests.stores import list_keys

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("empty_bucket")]

DAY = timedelta(days=1)


@pytest.fixture
def aged(attachment_of):
    """Make a ready attachment of this age."""

    def make(user, age, **request):
        attachment = attachment_of(user, **request)
        moment = timezone.now() - age
        Attachment.objects.filter(pk=attachment.pk).update(
            created_at=moment,
            confirmed_at=moment,
            expires_at=moment + timedelta(minutes=10),
        )
        return attachment

    return make


@pytest.fixture
def expired(upload):
    """Make an upload that was never confirmed, and whose form expired this long ago."""

    def make(user, age, **request):
        ticket = upload(user, **request)
        Attachment.objects.filter(pk=ticket.attachment_id).update(expires_at=timezone.now() - age)
        return ticket

    return make


@pytest.fixture
def forms_are_over(monkeypatch):
    """Treat objects under pending/ as if they had come long ago: no store can be made to say so."""
    monkeypatch.setattr(purgeable, "LATE_GRACE", -DAY)


def list_rows():
    return set(Attachment.objects.values_list("pk", flat=True))


def test_orphans_go_and_what_hangs_on_a_message_stays(user, aged, message_of, bucket, samples):
    aged(user, 8 * DAY)
    young = aged(user, 6 * DAY)
    linked = aged(user, 8 * DAY, message_id=message_of(user).pk)

    report = services.purge_attachments()

    size_bytes = len(samples["image/png"])
    assert report == services.PurgeReport(orphans=1, size_bytes=size_bytes)
    assert list_rows() == {young.pk, linked.pk}
    assert list_keys(bucket) == {young.key, linked.key}


def test_the_age_of_orphans_is_a_setting_and_an_argument(user, aged, settings):
    aged(user, 2 * DAY)
    settings.ATTACHMENTS = {**settings.ATTACHMENTS, "ORPHAN_DAYS": 3}

    assert services.purge_attachments().orphans == 0
    assert services.preview_purge(older_than=DAY).orphans == 1
    assert services.purge_attachments(older_than=DAY).orphans == 1


def test_uploads_that_were_never_confirmed_go_a_day_after_their_time(user, expired, bucket):
    old = expired(user, 25 * timedelta(hours=1))
    young = expired(user, 23 * timedelta(hours=1))

    report = services.purge_attachments()

    assert (report.stale, report.row_count, report.size_bytes) == (1, 1, 0)
    assert list_rows() == {young.attachment_id}
    assert list_keys(bucket) == {f"pending/{young.attachment_id}"}
    assert old.attachment_id != young.attachment_id


def test_what_a_dead_confirm_copied_goes_with_its_row(user, expired, bucket):
    ticket = expired(user, 2 * DAY)
    row = Attachment.objects.get()
    key = row.make_key()
    bucket.copy({"Bucket": bucket.name, "Key": row.pending_key}, key)
    Attachment.objects.update(
        status="verifying",
        storage_key=key,
        lease_expires_at=timezone.now() - timedelta(seconds=1),
    )

    assert services.purge_attachments().stale == 1
    assert list_keys(bucket) == set()
    assert ticket.attachment_id not in list_rows()


def test_what_is_being_confirmed_is_left_alone(user, expired):
    expired(user, 2 * DAY)
    lease = timezone.now() + timedelta(seconds=30)
    Attachment.objects.update(status="verifying", lease_expires_at=lease)

    assert services.purge_attachments().row_count == 0
    assert Attachment.objects.exists()


def test_rejected_rows_go_past_their_time(user, upload):
    ticket = upload(user, content=b"no picture")
    with pytest.raises(Exception, match="content_mismatch"):
        services.confirm_upload(attachment_id=ticket.attachment_id, user=user)

    assert services.purge_attachments().refused == 0
    Attachment.objects.update(created_at=timezone.now() - 8 * DAY)
    report = services.purge_attachments()
    assert (report.refused, report.row_count) == (1, 1)


def test_what_was_marked_missing_stays_as_the_record_of_a_loss(user, aged, bucket):
    lost = aged(user, 8 * DAY)
    bucket.Object(lost.key).delete()
    services.reconcile_storage(mark_missing=True)

    assert services.purge_attachments().row_count == 0
    assert Attachment.objects.get().status == "rejected"


def test_without_retention_what_is_linked_stays_for_ever(user, aged, message_of):
    aged(user, 4000 * DAY, message_id=message_of(user).pk)

    assert services.purge_attachments().row_count == 0


def test_beyond_retention_everything_goes_rows_and_objects(
    user, aged, message_of, bucket, settings
):
    settings.ATTACHMENTS = {**settings.ATTACHMENTS, "RETENTION_DAYS": 365}
    aged(user, 366 * DAY, message_id=message_of(user).pk)
    aged(user, 366 * DAY)
    kept = aged(user, 364 * DAY, message_id=message_of(user).pk)

    previewed = services.preview_purge()
    report = services.purge_attachments()

    assert (report.expired, report.orphans) == (2, 0)
    assert previewed == report
    assert list_keys(bucket) == {kept.key}


def test_ages_of_ready_files_count_from_their_confirm(user, aged, message_of, settings):
    settings.ATTACHMENTS = {**settings.ATTACHMENTS, "RETENTION_DAYS": 365}
    orphan = aged(user, 8 * DAY)
    linked = aged(user, 366 * DAY, message_id=message_of(user).pk)
    now = timezone.now()
    for attachment, days in ((orphan, 6), (linked, 364)):
        row = Attachment.objects.filter(pk=attachment.pk)
        row.update(confirmed_at=now - days * DAY)

    assert services.purge_attachments() == services.PurgeReport()
    Attachment.objects.filter(pk=orphan.pk).update(confirmed_at=now - 8 * DAY)
    Attachment.objects.filter(pk=linked.pk).update(confirmed_at=now - 366 * DAY)
    report = services.purge_attachments()
    assert (report.orphans, report.expired) == (1, 1)


def test_retention_counts_from_its_creation_for_what_was_never_confirmed(user, upload, settings):
    settings.ATTACHMENTS = {**settings.ATTACHMENTS, "RETENTION_DAYS": 2}
    upload(user)
    Attachment.objects.update(created_at=timezone.now() - 3 * DAY)

    assert services.purge_attachments().expired == 1


def test_a_preview_removes_nothing(user, aged, expired, bucket):
    aged(user, 8 * DAY)
    expired(user, 2 * DAY)
    before = list_rows(), list_keys(bucket)

    previewed = services.preview_purge()

    assert (list_rows(), list_keys(bucket)) == before
    assert previewed == services.purge_attachments()


def test_a_preview_names_some_of_each_kind_and_counts_all(
    user, aged, bucket, forms_are_over, monkeypatch
):
    row = aged(user, 8 * DAY)
    aged(user, 8 * DAY - timedelta(hours=1))
    monkeypatch.setattr(storage, "MAX_DELETE", 2)
    for key in ("pending/a", "pending/b", "pending/c"):
        bucket.put_object(Key=key, Body=b"x")
    note_deletions(["attachments/old"])
    ObjectDeletion.objects.create(
        key="attachments/held", due_at=timezone.now() + DAY, attempts=1, last_error="AccessDenied"
    )
    named = []

    report = services.preview_purge(max_named=1, on_named=named.append)

    row.refresh_from_db()
    swept = named[1].name
    assert swept in {"pending/a", "pending/b", "pending/c"}
    assert named == [
        purgeable.Candidate(
            kind="orphans",
            name=str(row.pk),
            filename="file",
            size_bytes=row.size_bytes,
            created_at=row.created_at,
        ),
        purgeable.Candidate(kind="swept", name=swept),
        purgeable.Candidate(kind="waiting", name="attachments/old"),
    ]
    assert (report.orphans, report.swept, report.waiting, report.failing) == (2, 3, 2, 1)


def test_a_limit_bounds_the_rows_over_all_kinds(user, aged, expired):
    for _ in range(2):
        aged(user, 8 * DAY)
        expired(user, 2 * DAY)
        expired(user, 2 * DAY)

    previewed = services.preview_purge(limit=5)
    report = services.purge_attachments(limit=5, batch_size=2)

    assert previewed == report
    assert (report.orphans, report.stale) == (2, 3)
    assert Attachment.objects.count() == 1


def test_progress_is_told_of_each_batch(user, aged):
    for _ in range(5):
        aged(user, 8 * DAY)
    steps = []

    services.purge_attachments(batch_size=2, on_progress=steps.append)

    assert sum(steps) == 5
    assert set(steps) <= {1, 2}  # batches side by side may find the last rows taken


def test_a_batch_is_no_larger_than_a_statement_may_be(user, aged, monkeypatch):
    for _ in range(3):
        aged(user, 8 * DAY)
    monkeypatch.setattr(purge, "MAX_BATCH_SIZE", 2)
    steps = []

    services.purge_attachments(batch_size=100_000, on_progress=steps.append)

    assert sorted(steps) == [1, 2]  # side by side, in no order


@pytest.mark.postgres
def test_batches_wait_for_the_store_side_by_side(user, aged, monkeypatch):
    for _ in range(2):
        aged(user, 8 * DAY)
    barrier, first = threading.Barrier(2), iter(range(2))

    def wait_for_the_other():
        if next(first, None) is not None:
            barrier.wait(10)

    monkeypatch.setattr(batches, "carry_out_deletions", wait_for_the_other)

    assert services.purge_attachments(batch_size=1).orphans == 2


def test_a_thousand_orphans_take_few_calls_to_the_store(user, store_calls, bucket):
    moment = timezone.now() - 8 * DAY
    Attachment.objects.bulk_create(
        Attachment(
            user=user,
            filename=str(number),
            status="ready",
            size_bytes=1,
            checksum_sha256="x",
            storage_key=f"attachments/{number}",
            created_at=moment,
            confirmed_at=moment,
            expires_at=moment,
        )
        for number in range(1000)
    )
    storage.ensure_bucket()
    store_calls()

    services.purge_attachments()

    first, *deletes = store_calls()
    lists = [deletes.pop() for _ in range(6)]
    assert first == "HeadBucket"
    assert lists == [*["ListMultipartUploads"] * 2, *["ListObjectsV2"] * 4]
    assert set(deletes) == {"DeleteObjects"}
    assert len(deletes) <= batches.WORKERS  # they may share the notes of one batch


# Objects that came late


def test_what_lands_after_its_clean_up_is_swept(user, upload, post_file, bucket, forms_are_over):
    ticket = upload(user)
    attachment = services.confirm_upload(attachment_id=ticket.attachment_id, user=user)
    attachment.change(where={}, is_inspected=True)
    services.remove_now()
    gone = upload(user)
    Attachment.objects.filter(pk=gone.attachment_id).delete()
    for late in (ticket, gone):
        assert post_file(late, b"late").status_code == 204

    report = services.purge_attachments()

    assert report.swept == 2
    assert list_keys(bucket) == {attachment.key}


def test_what_may_still_be_confirmed_is_not_swept(user, upload, bucket, forms_are_over):
    ticket = upload(user)

    assert services.purge_attachments().swept == 0
    assert services.confirm_upload(attachment_id=ticket.attachment_id, user=user).is_ready


@pytest.mark.parametrize(("minutes", "swept"), [(59, 0), (61, 1)])
def test_what_comes_late_has_an_hour_after_its_form(
    user, upload, post_file, monkeypatch, minutes, swept
):
    ticket = upload(user)
    services.confirm_upload(attachment_id=ticket.attachment_id, user=user)
    services.remove_now()
    post_file(ticket, b"late")
    now = timezone.now() + conf.upload_expires_in + timedelta(minutes=minutes)
    monkeypatch.setattr(purge.timezone, "now", lambda: now)

    assert services.purge_attachments().swept == swept


def test_a_form_that_still_works_is_not_swept_yet(user, upload, post_file, bucket):
    ticket = upload(user)
    services.confirm_upload(attachment_id=ticket.attachment_id, user=user)
    post_file(ticket, b"late")

    assert services.purge_attachments().swept == 0


@pytest.mark.parametrize("name", ["of-another-program", "{id}/x", "{hex}", "{upper}"])
def test_whatever_lies_under_pending_is_swept_when_its_time_is_over(
    user, upload, bucket, forms_are_over, name
):
    kept = upload(user).attachment_id
    key = "pending/" + name.format(id=kept, hex=kept.hex, upper=str(kept).upper())
    bucket.put_object(Key=key, Body=b"x")

    assert services.purge_attachments().swept == 1
    assert list_keys(bucket) == {f"pending/{kept}"}


@pytest.mark.parametrize("prefix", ["pending", "quarantine", "attachments", "thumbnails"])
def test_what_a_killed_check_of_the_store_left_is_swept(bucket, forms_are_over, prefix):
    bucket.put_object(Key=f"{prefix}/check-storage-1/original", Body=b"x")
    bucket.put_object(Key="attachments/another", Body=b"x")

    assert services.purge_attachments().swept == 1
    assert list_keys(bucket) == {"attachments/another"}


def test_a_copy_in_parts_that_no_row_names_is_aborted(bucket, monkeypatch, caplog):
    """It was begun by a process that died before it could say so."""
    bucket.Object("attachments/x").initiate_multipart_upload()
    assert services.purge_attachments().row_count == 0
    assert list(storage.list_copies("attachments/"))

    monkeypatch.setattr(purge, "COPY_GRACE", timedelta(0))
    with monkeypatch.context() as patch:
        patch.setattr(storage, "abort_copy", lambda **kwargs: "AccessDenied: locked")
        services.purge_attachments()
    assert "The store refuses to delete 1 (AccessDenied): attachments/x" in caplog.text
    services.purge_attachments()

    assert not list(storage.list_copies("attachments/"))


# Idempotency keys


def test_idempotency_keys_go_when_their_time_is_over(user, monkeypatch):
    monkeypatch.setattr(purge, "BATCH_SIZE", 2)
    now = timezone.now()
    for number in range(5):
        IdempotencyKey.objects.create(
            user=user, key=f"old-{number}", fingerprint="", expires_at=now - timedelta(seconds=1)
        )
    IdempotencyKey.objects.create(
        user=user, key="living", fingerprint="", expires_at=now + timedelta(minutes=1)
    )

    services.purge_attachments()

    assert IdempotencyKey.objects.get().key == "living"


# Failures


def test_a_purge_ends_and_says_so_though_the_store_refuses_for_ever(
    user, aged, bucket, forms_are_over, monkeypatch, caplog
):
    bucket.put_object(Key="pending/late", Body=b"late")
    for _ in range(3):
        aged(user, 8 * DAY)
    note_deletions(["attachments/old"])
    monkeypatch.setattr(
        storage, "delete_objects", lambda keys: dict.fromkeys(keys, "AccessDenied: locked")
    )

    report = services.purge_attachments()

    assert (report.orphans, report.swept, report.waiting, report.failing) == (3, 0, 4, 4)
    assert "The store refuses to delete 1 (AccessDenied): pending/late" in caplog.text
    with pytest.raises(SystemExit) as stopped:
        call_command("purge_orphans", stdout=StringIO())
    assert stopped.value.code == 1


@pytest.fixture
def impatient_sessions(transactional_db):
    """Whoever waits for a lock fails after three seconds, and does not hang."""
    database = connection.ops.quote_name(connection.settings_dict["NAME"])

    def change(what):
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER ROLE CURRENT_USER IN DATABASE {database} {what}")
        connection.close()
        connection.close_pool()  # the next sessions are new, and obey

    change("SET lock_timeout = '3s'")
    yield
    change("RESET lock_timeout")


@pytest.mark.postgres
def test_a_purge_does_not_wait_for_what_is_locked(user, aged, impatient_sessions):
    held, _free = aged(user, 8 * DAY), aged(user, 8 * DAY)
    for key in ("held", "free"):
        IdempotencyKey.objects.create(
            user=user, key=key, fingerprint="", expires_at=timezone.now() - DAY
        )

    with transaction.atomic():
        Attachment.objects.select_for_update().get(pk=held.pk)
        IdempotencyKey.objects.select_for_update().get(key="held")
        assert in_thread(services.purge_attachments).orphans == 1

    assert list_rows() == {held.pk}
    assert IdempotencyKey.objects.get().key == "held"


@pytest.mark.parametrize("limit", [None, 0])
def test_notes_of_earlier_failures_are_carried_out(bucket, limit):
    bucket.put_object(Key="attachments/left", Body=b"x")
    note_deletions(["attachments/left"])

    report = services.purge_attachments(limit=limit)

    assert report.waiting == 0
    assert list_keys(bucket) == set()


def test_the_store_is_down_before(user, aged, monkeypatch):
    aged(user, 8 * DAY)

    def fail():
        raise StorageUnavailable

    monkeypatch.setattr(storage, "ping_bucket", fail)

    with pytest.raises(StorageUnavailable):
        services.purge_attachments()
    assert Attachment.objects.exists()


def test_the_store_goes_down_in_the_middle(user, aged, bucket, monkeypatch):
    keys = {aged(user, 8 * DAY).key for _ in range(12)}

    def fail(keys):
        raise StorageUnavailable from ConnectionError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(storage, "delete_objects", fail)
        with pytest.raises(StorageUnavailable):
            services.purge_attachments(batch_size=2)

    rows = set(Attachment.objects.values_list("storage_key", flat=True))
    notes = set(ObjectDeletion.objects.values_list("key", flat=True))
    assert rows  # it stopped
    assert notes  # it began
    assert (rows | notes, rows & notes) == (keys, set())
    assert list_keys(bucket) == keys

    assert services.purge_attachments().orphans == len(rows)
    assert (list_keys(bucket), ObjectDeletion.objects.count()) == (set(), 0)


def test_the_store_goes_down_while_a_purge_does_the_work_of_workers(user, upload, monkeypatch):
    ticket = upload(user)
    Attempt.take(Attachment.find(ticket.attachment_id)).hand_over()

    def fail(**kwargs):
        raise StorageUnavailable

    monkeypatch.setattr(storage, "copy_object", fail)

    assert services.preview_purge().processed == 1
    with pytest.raises(StorageUnavailable):
        services.purge_attachments()


@pytest.mark.postgres
def test_what_is_being_linked_at_this_moment_is_left_alone(user, aged, message_of):
    linked, orphan = aged(user, 8 * DAY), aged(user, 8 * DAY)
    message = message_of(user)

    with transaction.atomic():
        services.link_attachments(attachment_ids=[linked.pk], message=message, user=user)
        purged = in_thread(services.purge_attachments)

    assert purged.orphans == 1
    assert Attachment.objects.get() == linked
    assert orphan.pk not in list_rows()


@pytest.mark.postgres
def test_linking_what_is_being_purged_is_refused(user, aged, message_of, monkeypatch):
    attachment, message = aged(user, 8 * DAY), message_of(user)
    is_held, may_go_on = threading.Event(), threading.Event()
    delete = Attachment.objects.filter

    def hold(**kwargs):
        is_held.set()
        assert may_go_on.wait(10)
        return delete(**kwargs)

    monkeypatch.setattr(Attachment.objects, "filter", hold)
    thread = threading.Thread(target=in_thread, args=[services.purge_attachments])
    thread.start()
    assert is_held.wait(10)
    monkeypatch.undo()
    threading.Timer(0.2, may_go_on.set).start()

    with pytest.raises(NotFound):
        services.link_attachments(attachment_ids=[attachment.pk], message=message, user=user)
    thread.join()
    assert not Attachment.objects.exists()


@pytest.mark.postgres
def test_several_purges_at_once_share_the_work(user, aged, bucket):
    for _ in range(12):
        aged(user, 8 * DAY)
    reports = []
    threads = [
        threading.Thread(
            target=lambda: reports.append(
                in_thread(lambda: services.purge_attachments(batch_size=2))
            )
        )
        for _ in range(3)
    ]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(report.orphans for report in reports) == 12
    assert (list_rows(), list_keys(bucket)) == (set(), set())


def in_thread(work):
    """Call ``work`` in a thread with a database connection of its own; give its result."""
    results = []

    def run():
        try:
            results.append(work())
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return results[0]


def test_it_is_a_task_too(user, aged, settings):
    settings.TASKS = {"default": {"BACKEND": IMMEDIATE}}
    aged(user, 8 * DAY)

    result = purge_orphans.enqueue()

    assert result.return_value["orphans"] == 1
    assert not Attachment.objects.exists()


def test_it_works_inside_the_testcase_of_a_host(user, aged, bucket):
    class HostTest(TestCase):
        def test(self):
            assert connection.in_atomic_block
            attachment = aged(user, 8 * DAY)
            kept = aged(user, DAY)

            report = services.purge_attachments(batch_size=1)

            assert report.orphans == 1
            assert list(Attachment.objects.values_list("pk", flat=True)) == [kept.pk]
            assert attachment.key not in list_keys(bucket)
            with self.captureOnCommitCallbacks(execute=True):
                kept.delete()
            assert kept.key not in list_keys(bucket)

    result = unittest.TestSuite([HostTest("test")]).run(unittest.TestResult())

    assert (result.testsRun, result.errors, result.failures) == (1, [], [])


def test_it_refuses_a_transaction_that_may_be_rolled_back(user, aged, bucket):
    attachment = aged(user, 8 * DAY)

    with pytest.raises(RuntimeError), transaction.atomic():
        attachment.delete()
        services.purge_attachments()

    assert Attachment.objects.exists()
    assert attachment.key in list_keys(bucket)
