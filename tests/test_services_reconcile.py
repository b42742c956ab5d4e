"""What reconciling finds and what it leaves alone, on the real store."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.utils import timezone

from attachments import services, storage
from attachments.errors import ObjectMissing, StorageUnavailable
from attachments.models import Attachment, ObjectDeletion
from attachments.services import FindingKind, reconcile
from attachments.services.deletions import note_deletions
from tests.stores import get_checksum, list_keys, take_store_away

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("empty_bucket")]

DAY = timedelta(days=1)
# Treats each object as if it had come long ago: no store can be made to say so.
ALL_ARE_OLD = {"grace": -DAY}


@pytest.fixture
def ready_rows(user):
    """Make ready rows without objects; give them in the order of their ids."""

    def make(count):
        now = timezone.now()
        rows = [
            Attachment(
                user=user,
                filename="file.pdf",
                content_type="application/pdf",
                size_bytes=5,
                status="ready",
                expires_at=now,
            )
            for _ in range(count)
        ]
        for row in rows:
            row.storage_key = row.make_key()
        Attachment.objects.bulk_create(rows)
        return sorted(rows, key=lambda row: row.pk)

    return make


@pytest.fixture
def checked_attachment_of(attachment_of, samples):
    """Make a ready attachment whose row has the SHA-256; some stores do not tell it."""

    def make(user, content_type="image/png"):
        checksum_sha256 = get_checksum(samples[content_type])
        return attachment_of(user, content_type=content_type, checksum_sha256=checksum_sha256)

    return make


def put_objects(bucket, keys):
    client = bucket.meta.client
    with ThreadPoolExecutor(8) as threads:
        list(
            threads.map(
                lambda key: client.put_object(Bucket=bucket.name, Key=key, Body=b"hello"), keys
            )
        )


def find(**options):
    """Reconcile as if every object were old; give the findings and the report."""
    findings = []
    report = services.reconcile_storage(on_finding=findings.append, **{**ALL_ARE_OLD, **options})
    assert report.finding_count == len(findings)
    return findings, report


@pytest.fixture
def freeze_rows(monkeypatch):
    """Reconcile from here on with the rows as they are now."""

    def freeze():
        rows = [*reconcile._read_rows()]
        monkeypatch.setattr(reconcile, "_read_rows", lambda: iter(rows))

    return freeze


@pytest.fixture
def freeze_listing(monkeypatch):
    """Reconcile from here on with the objects as they are listed now."""

    def freeze():
        pages = {
            prefix: [*storage.list_objects(prefix)]
            for prefix in ("attachments/", "pending/", "quarantine/", "thumbnails/")
        }
        monkeypatch.setattr(storage, "list_objects", lambda prefix: iter(pages[prefix]))

    return freeze


def test_rows_and_objects_that_agree(user, checked_attachment_of, samples):
    for content_type in samples:
        checked_attachment_of(user, content_type)

    findings, report = find(with_checksums=True)

    assert findings == []
    assert report == services.ReconcileReport(rows=len(samples), objects=len(samples))
    assert report.is_clean


def test_nothing_at_all():
    report = find()[1]

    assert report == services.ReconcileReport()
    assert (report.rows, report.objects, report.waiting, report.young) == (0, 0, 0, 0)


def test_a_missing_object(user, attachment_of, bucket):
    attachment, other = attachment_of(user), attachment_of(user)
    bucket.Object(attachment.key).delete()

    findings, report = find()

    assert findings == [
        services.Finding(
            kind=FindingKind.MISSING_OBJECT, key=attachment.key, attachment_id=attachment.pk
        )
    ]
    assert (report.rows, report.objects, report.is_clean) == (2, 1, False)
    assert list_keys(bucket) == {other.key}


def test_an_object_of_another_size(user, attachment_of, bucket):
    attachment = attachment_of(user)
    bucket.put_object(Key=attachment.key, Body=b"short")

    assert find()[0] == [
        services.Finding(
            kind=FindingKind.SIZE_MISMATCH,
            key=attachment.key,
            attachment_id=attachment.pk,
            size_bytes=5,
            expected=attachment.size_bytes,
            found=5,
        )
    ]


def test_an_object_that_lost_its_bytes(user, checked_attachment_of, bucket):
    attachment = checked_attachment_of(user)
    bucket.put_object(Key=attachment.key, Body=b"")

    (finding,) = find(with_checksums=True)[0]

    assert (finding.kind, finding.found) == (FindingKind.SIZE_MISMATCH, 0)


def test_other_bytes_of_the_same_size(user, checked_attachment_of, bucket):
    attachment = checked_attachment_of(user)
    content = b"x" * attachment.size_bytes
    bucket.put_object(Key=attachment.key, Body=content)

    assert find()[0] == []
    assert find(with_checksums=True)[0] == [
        services.Finding(
            kind=FindingKind.CHECKSUM_MISMATCH,
            key=attachment.key,
            attachment_id=attachment.pk,
            size_bytes=attachment.size_bytes,
            expected=attachment.checksum_sha256,
            found=get_checksum(content),
        )
    ]


def test_a_row_without_a_checksum_is_counted(user, attachment_of):
    attachment_of(user)
    Attachment.objects.update(checksum_sha256="")

    findings, report = find(with_checksums=True)

    assert (findings, report.without_checksum, report.is_clean) == ([], 1, True)


UNKNOWN = uuid.UUID(int=1)


@pytest.mark.parametrize(
    "key",
    [
        f"attachments/{UNKNOWN}/file.png",
        f"attachments/{UNKNOWN}",
        f"attachments/{UNKNOWN}-x/file.png",
        "attachments/not-an-id/файл.png",
        "attachments/~",
        f"pending/{UNKNOWN}",
        "pending/not-an-id",
        f"quarantine/{UNKNOWN}",
        f"quarantine/{UNKNOWN}/0123/more",
        f"thumbnails/{UNKNOWN}/0123.webp",
        "thumbnails/not-an-id",
    ],
)
def test_an_object_that_no_row_knows(user, attachment_of, bucket, key):
    attachment = attachment_of(user)
    bucket.put_object(Key=key, Body=b"hello")

    findings, report = find()

    assert findings == [services.Finding(kind=FindingKind.UNKNOWN_OBJECT, key=key, size_bytes=5)]
    assert (report.rows, report.objects) == (1, 2)
    assert list_keys(bucket) == {attachment.key, key}


def test_another_name_under_a_known_id(user, attachment_of, bucket):
    attachment = attachment_of(user)
    keys = [
        f"attachments/{attachment.pk}/a.png",
        f"attachments/{attachment.pk}/z.png",
        f"attachments/{attachment.pk.hex}/file.png",
        f"attachments/{str(attachment.pk).upper()}/file.png",
        f"pending/{attachment.pk}/more",
        f"pending/{str(attachment.pk).upper()}",
        f"quarantine/{attachment.pk}",
        f"quarantine/{attachment.pk}/another-nonce",
        f"thumbnails/{attachment.pk}/another-nonce.webp",
        f"{attachment.key}/more",
    ]
    for key in keys:
        bucket.put_object(Key=key, Body=b"hello")

    assert {item.key for item in find()[0]} == set(keys)


def test_other_things_in_the_bucket_are_not_ours(bucket):
    bucket.put_object(Key="press/logo.png", Body=b"hello")

    assert find()[1] == services.ReconcileReport()


def test_a_young_object_is_not_called_unknown(bucket):
    bucket.put_object(Key=f"attachments/{UNKNOWN}/file.png", Body=b"hello")
    bucket.put_object(Key=f"pending/{UNKNOWN}", Body=b"hello")

    findings, report = find(grace=timedelta(minutes=1))
    assert (findings, report.young, report.is_clean) == ([], 2, True)
    # A form lives longer than this grace.
    assert [item.key for item in find(grace=-timedelta(minutes=1))[0]] == [
        f"attachments/{UNKNOWN}/file.png"
    ]


@pytest.mark.parametrize("status", ["pending", "verifying", "scanning", "rejected", "infected"])
def test_a_row_that_is_not_ready_may_have_an_object_or_none(user, attachment_of, bucket, status):
    attachments = [attachment_of(user) for _ in range(2)]
    now = timezone.now()
    Attachment.objects.update(status=status, lease_expires_at=now, waiting_since=now)
    bucket.Object(attachments[0].key).delete()
    bucket.put_object(Key=attachments[0].pending_key, Body=b"hello")

    assert find()[0] == []


def test_what_waits_to_be_deleted_is_not_unknown(user, attachment_of, bucket):
    attachment = attachment_of(user)
    attachment.refresh_from_db()
    Attachment.objects.all()._raw_delete("default")
    bucket.put_object(Key=f"pending/{UNKNOWN}", Body=b"hello")
    note_deletions([f"pending/{UNKNOWN}", f"pending/{UNKNOWN}"])

    findings, report = find(delete_unknown=True)

    assert (findings, report.waiting) == ([], 2)
    assert list_keys(bucket) == {attachment.key, f"pending/{UNKNOWN}"}


# Both sides change while they are compared


def test_a_row_that_is_confirmed_after_the_rows_were_read(user, upload, bucket, freeze_rows):
    ticket = upload(user)
    freeze_rows()
    attachment = services.confirm_upload(attachment_id=ticket.attachment_id, user=user)
    services.remove_now()

    findings, report = find(delete_unknown=True)

    assert (findings, report.rows, report.objects) == ([], 0, 1)
    assert list_keys(bucket) == {attachment.key}


def test_a_row_that_is_confirmed_after_the_objects_were_listed(user, upload, freeze_listing):
    ticket = upload(user)
    freeze_listing()
    attachment = services.confirm_upload(attachment_id=ticket.attachment_id, user=user)

    findings, report = find(mark_missing=True)

    assert (findings, report.rows) == ([], 1)
    attachment.refresh_from_db()
    assert attachment.is_ready


def test_a_row_that_is_deleted_after_it_was_read(user, attachment_of, freeze_rows):
    attachment = attachment_of(user)
    freeze_rows()
    attachment.delete()

    findings, report = find(mark_missing=True)

    assert (findings, report.rows, report.objects) == ([], 1, 0)


def test_a_row_that_is_rejected_after_it_was_read(user, attachment_of, bucket, freeze_rows):
    attachment = attachment_of(user)
    freeze_rows()
    bucket.Object(attachment.key).delete()
    Attachment.objects.update(status="rejected")  # by another run, for instance

    assert find(mark_missing=True)[0] == []


def test_an_object_that_is_deleted_after_it_was_listed(user, attachment_of, freeze_listing):
    attachment = attachment_of(user)
    freeze_listing()
    attachment.delete()

    findings, report = find()

    assert (findings, report.rows, report.objects, report.waiting) == ([], 0, 1, 0)


def test_an_attachment_that_is_deleted_after_both_were_read(
    user, checked_attachment_of, freeze_rows, freeze_listing
):
    attachment = checked_attachment_of(user)
    freeze_rows()
    freeze_listing()
    attachment.delete()

    findings, report = find(with_checksums=True)

    assert (findings, report.rows, report.objects) == ([], 1, 1)


def test_an_object_that_is_replaced_after_it_was_listed(
    user, checked_attachment_of, freeze_listing, bucket
):
    attachment = checked_attachment_of(user)
    freeze_listing()
    bucket.put_object(Key=attachment.key, Body=b"other")

    (finding,) = find(with_checksums=True)[0]

    assert (finding.kind, finding.found) == (FindingKind.SIZE_MISMATCH, 5)


# Acting


def test_delete_unknown(user, attachment_of, bucket):
    attachment = attachment_of(user)
    for key in (f"attachments/{UNKNOWN}/file.png", f"pending/{UNKNOWN}"):
        bucket.put_object(Key=key, Body=b"hello")

    findings, report = find(delete_unknown=True)

    assert (len(findings), report.deleted, report.is_clean) == (2, 2, True)
    assert list_keys(bucket) == {attachment.key}
    assert not ObjectDeletion.objects.exists()
    assert find()[1] == services.ReconcileReport(rows=1, objects=1)


@pytest.mark.parametrize(
    "key",
    [
        "attachments/" + "/".join(["x" * 100] * 6),  # too long for a note
        "attachments/\x01",  # XML cannot contain it
    ],
)
def test_a_key_that_cannot_be_noted_and_deleted_is_left(bucket, key):
    bucket.put_object(Key=key, Body=b"hello")

    findings, report = find(delete_unknown=True)

    assert ([item.key for item in findings], report.deleted, report.is_clean) == (
        [key],
        0,
        False,
    )
    assert not ObjectDeletion.objects.exists()  # no run could ever carry it out
    bucket.Object(key).delete()  # other tests delete by DeleteObjects, which cannot name it


def test_unknown_objects_wait_in_notes_while_the_store_is_down(bucket, monkeypatch):
    key = f"attachments/{UNKNOWN}/file.png"
    bucket.put_object(Key=key, Body=b"hello")

    def fail(keys):
        raise StorageUnavailable from ConnectionError("no route to the store")

    with monkeypatch.context() as patch:
        patch.setattr(storage, "delete_objects", fail)
        with pytest.raises(StorageUnavailable):
            find(delete_unknown=True)

    assert ObjectDeletion.objects.get().key == key
    assert find()[1].waiting == 1
    assert services.carry_out_deletions() == 1
    assert list_keys(bucket) == set()


def test_what_the_store_refuses_to_delete_stays_wrong(bucket, monkeypatch):
    keys = [f"attachments/{UNKNOWN}/{number}.png" for number in range(2)]
    for key in keys:
        bucket.put_object(Key=key, Body=b"hello")
    monkeypatch.setattr(storage, "delete_objects", lambda found: {keys[0]: "AccessDenied: locked"})

    _findings, report = find(delete_unknown=True)

    assert (report.finding_count, report.deleted, report.is_clean) == (2, 1, False)
    assert ObjectDeletion.objects.get().key == keys[0]


def test_mark_missing(user, attachment_of, api, bucket):
    lost, kept = attachment_of(user), attachment_of(user)
    bucket.Object(lost.key).delete()

    _findings, report = find(mark_missing=True)

    assert (report.marked, report.is_clean) == (1, True)
    lost.refresh_from_db()
    kept.refresh_from_db()
    assert (lost.status, lost.error) == ("rejected", {"code": "object_missing", "params": {}})
    assert (kept.status, kept.error) == ("ready", None)
    answer = api(user).get(f"/api/v1/attachments/{lost.pk}").json()
    assert answer["error"] == {
        "code": "object_missing",
        "detail": "The file is no longer in the storage.",
    }
    assert answer["download_url"] is None
    with pytest.raises(ObjectMissing):
        services.confirm_upload(attachment_id=lost.pk, user=user)
    assert find()[1] == services.ReconcileReport(rows=1, objects=1)


def test_a_row_that_is_marked_loses_its_thumbnail_and_no_other_row_does(
    user, attachment_of, bucket
):
    lost, kept = attachment_of(user), attachment_of(user)
    for row in (lost, kept):
        row.change(where={}, thumbnail_key=row.make_thumbnail_key())
        bucket.put_object(Key=row.thumbnail_key, Body=b"a picture")
    bucket.Object(lost.key).delete()

    find(mark_missing=True)

    assert ObjectDeletion.objects.get().key == lost.thumbnail_key
    assert Attachment.find(lost.pk).thumbnail_key == ""
    assert Attachment.find(kept.pk).thumbnail_key == kept.thumbnail_key


def test_a_thumbnail_that_was_made_again_meanwhile_is_kept(user, attachment_of):
    attachment = attachment_of(user)
    attachment.change(where={}, thumbnail_key=attachment.make_thumbnail_key())
    newer = attachment.make_thumbnail_key()

    def make_again(finding):
        Attachment.objects.update(thumbnail_key=newer)

    report = services.reconcile_storage(mark_missing=True, on_finding=make_again)

    assert (report.finding_count, report.marked) == (1, 0)
    row = Attachment.objects.get()
    assert (row.thumbnail_key, row.is_inspected) == (newer, True)


def test_only_missing_is_marked_and_only_unknown_is_deleted(user, attachment_of, bucket):
    attachment = attachment_of(user)
    bucket.put_object(Key=attachment.key, Body=b"short")

    _findings, report = find(delete_unknown=True, mark_missing=True)

    assert (report.deleted, report.marked, report.is_clean) == (0, 0, False)
    attachment.refresh_from_db()
    assert attachment.is_ready
    assert list_keys(bucket) == {attachment.key}


def test_the_store_is_down(ready_rows, settings):
    ready_rows(3)
    take_store_away(settings)

    with pytest.raises(StorageUnavailable):
        services.reconcile_storage(mark_missing=True)

    assert Attachment.objects.ready().count() == 3


# Size


def test_many_pages_of_both(ready_rows, bucket, monkeypatch, django_assert_num_queries):
    """Ids and keys have the same order, a page is in memory, and queries are made by the batch."""
    monkeypatch.setattr(reconcile, "BATCH_SIZE", 100)
    rows = ready_rows(1250)
    keys = [row.key for row in rows]
    assert keys == sorted(keys)
    stray = f"attachments/{UNKNOWN}/file.pdf"
    lost = {keys[0], keys[1049], keys[-1]}
    put_objects(bucket, [stray, *(key for key in keys if key not in lost)])
    steps = []

    # 14 read rows, and one those with thumbnails. Each of 3 batches with a missing object takes one more, the one with a stray two.
    with django_assert_num_queries(14 + 1 + 3 + 2):
        findings, report = find(on_progress=steps.append)

    assert [item.key for item in findings if item.kind == FindingKind.MISSING_OBJECT] == sorted(
        lost
    )
    assert [item.key for item in findings if item.kind == FindingKind.UNKNOWN_OBJECT] == [stray]
    assert (report.rows, report.objects, report.finding_count) == (1250, 1248, 4)
    assert sum(steps) == 1250


def test_agreement_costs_listing_and_no_other_call(ready_rows, bucket, store_calls):
    rows = ready_rows(3)
    rows[0].change(where={}, thumbnail_key=rows[0].make_thumbnail_key())
    put_objects(bucket, [rows[0].thumbnail_key, *(row.key for row in rows)])
    store_calls()

    find()

    assert store_calls() == ["ListObjectsV2"] * 4


def test_what_rows_and_notes_know_is_not_called_young(user, attachment_of, upload, bucket):
    attachment_of(user)
    upload(user)
    bucket.put_object(Key="attachments/noted", Body=b"hello")
    note_deletions(["attachments/noted"])

    findings, report = find(grace=DAY)

    assert (findings, report.young, report.waiting) == ([], 0, 1)


@pytest.mark.parametrize("status", ["pending", "rejected"])
def test_a_row_that_is_no_longer_ready_is_not_marked(user, attachment_of, bucket, status):
    attachment = attachment_of(user)
    bucket.Object(attachment.key).delete()

    def change(finding):
        Attachment.objects.update(status=status)

    report = services.reconcile_storage(mark_missing=True, on_finding=change)

    assert (report.finding_count, report.marked) == (1, 0)
    row = Attachment.objects.get()
    assert (row.status, row.error) == (status, None)


def test_deleting_unknown_objects_leaves_the_notes_of_others(bucket):
    bucket.put_object(Key=f"attachments/{UNKNOWN}/file.png", Body=b"hello")
    note_deletions(["attachments/other"])

    assert find(delete_unknown=True)[1].deleted == 1

    assert ObjectDeletion.objects.get().key == "attachments/other"
