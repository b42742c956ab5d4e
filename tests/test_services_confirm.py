import re
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.utils import timezone

from attachments import events, services, storage
from attachments.errors import (
    AlreadyLinked,
    ChecksumMismatch,
    ContentMismatch,
    InvalidMetadata,
    NotFound,
    NotUploaded,
    SizeMismatch,
    StorageUnavailable,
    UploadExpired,
    UploadInProgress,
)
from attachments.models import Attachment, ObjectDeletion
from attachments.services import verify
from attachments.services.attempts import Attempt
from tests.real_files import make_id3_tag
from tests.stores import get_checksum

pytestmark = pytest.mark.django_db

HTML = b"<!doctype html><script>alert(1)</script>"


def confirm(ticket, user, **request):
    return services.confirm_upload(attachment_id=ticket.attachment_id, user=user, **request)


def list_keys(bucket, ticket):
    """What the store holds of this attachment, once what goes soon has gone."""
    services.remove_now()
    found = [item.key for item in bucket.objects.filter(Prefix=f"pending/{ticket.attachment_id}")]
    return found + [
        item.key for item in bucket.objects.filter(Prefix=f"attachments/{ticket.attachment_id}")
    ]


def read_served(bucket, attachment):
    return bucket.Object(attachment.storage_key.name).get()


def expire_lease():
    Attachment.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))


def delete_rows():
    """As another process does, unnoticed by this one."""
    Attachment.objects.all()._raw_delete(using="default")


def test_confirm_publishes_what_was_uploaded(user, upload, bucket, samples):
    ticket = upload(user, "application/pdf", filename="Отчёт за год.pdf")

    attachment = confirm(ticket, user)

    row = Attachment.objects.get()
    for seen in (attachment, row):
        assert seen.status == "ready"
        assert seen.size_bytes == len(samples["application/pdf"])
        assert seen.confirmed_at is not None
        assert seen.lease_expires_at is None
        assert re.fullmatch(rf"attachments/{row.pk}/[0-9a-f]{{32}}/file\.pdf", seen.key)
    served = read_served(bucket, row)
    assert served["Body"].read() == samples["application/pdf"]
    assert served["ContentType"] == "application/pdf"
    assert served["ContentDisposition"] == (
        "inline; filename*=utf-8''%D0%9E%D1%82%D1%87%D1%91%D1%82%20%D0%B7%D0%B0%20"
        "%D0%B3%D0%BE%D0%B4.pdf"
    )
    assert list_keys(bucket, ticket) == [row.storage_key.name]


@pytest.mark.parametrize(
    "content_type",
    [
        "image/jpeg",
        "image/png",
        "image/gif",
        "image/webp",
        "video/mp4",
        "video/webm",
        "audio/mpeg",
        "audio/ogg",
        "audio/opus",
        "application/pdf",
    ],
)
def test_every_allowed_type_is_confirmed(user, upload, content_type):
    ticket = upload(user, content_type)

    assert confirm(ticket, user).content_type == content_type


@pytest.fixture
def allow(settings):
    """Let hosts add these types."""

    def add(*content_types):
        settings.ATTACHMENTS = {**settings.ATTACHMENTS, "ALLOWED_CONTENT_TYPES": content_types}

    return add


@pytest.mark.parametrize(
    ("content_type", "content", "name"),
    [
        ("text/html", HTML, "a.html"),
        ("image/svg+xml", b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>', "a.svg"),
        ("application/xml", b'<?xml version="1.0"?><a/>', "a.xml"),
        ("text/javascript", b"alert(1)", "a.js"),
        ("application/json", b'{"a": "<script>"}', "a.json"),
        ("text/plain", "Привет <script>".encode("cp1251"), "a.txt"),
        ("text/csv", b"ID;BM\n", "a.csv"),
        ("application/octet-stream", HTML, "a.hta"),
    ],
)
def test_a_type_that_browsers_may_run_is_served_as_a_download(
    user, upload, bucket, allow, content_type, content, name
):
    allow(content_type)

    attachment = confirm(upload(user, content_type, content, filename="a.hta"), user)

    served = read_served(bucket, attachment)
    assert served["ContentType"] == content_type
    assert served["ContentDisposition"] == f'attachment; filename="{name}"'


@pytest.mark.parametrize(
    "content", [HTML, b"<svg onload='alert(1)'/>", b"<?php phpinfo();", b"MZ\0"]
)
@pytest.mark.parametrize("content_type", ["text/plain", "text/csv"])
def test_a_web_page_or_a_program_is_no_plain_text(user, upload, allow, content_type, content):
    allow(content_type)
    ticket = upload(user, content_type, content)

    with pytest.raises(ContentMismatch):
        confirm(ticket, user)


def test_a_file_is_served_with_an_extension_of_its_verified_type(user, upload, bucket, samples):
    content = b"\x1b%-12345X@PJL JOB\r\n" + samples["application/pdf"]

    attachment = confirm(upload(user, "application/pdf", content, filename='"a".hta'), user)

    assert attachment.filename == '"a".hta'
    assert attachment.key.endswith("/a.pdf")
    served = read_served(bucket, attachment)
    assert served["ContentDisposition"] == r'inline; filename="\"a\".pdf"'


def test_an_mp3_is_judged_by_what_follows_its_cover(user, upload, samples, store_calls):
    cover = make_id3_tag(200_000)
    song = upload(user, "audio/mpeg", cover + samples["audio/mpeg"])
    page = upload(user, "audio/mpeg", cover + HTML)
    endless = upload(user, "audio/mpeg", cover)
    store_calls()

    assert confirm(song, user).status == "ready"
    assert store_calls().count("GetObject") == 2
    for ticket in (page, endless):
        with pytest.raises(ContentMismatch):
            confirm(ticket, user)


def test_confirm_again_gives_the_same(user, upload):
    ticket = upload(user)
    first = confirm(ticket, user)

    second = confirm(ticket, user)

    assert (second.pk, second.confirmed_at) == (first.pk, first.confirmed_at)


def test_the_wrong_user_sees_nothing(user, other_user, staff_user, upload):
    ticket = upload(user)

    for stranger in (other_user, staff_user):
        with pytest.raises(NotFound):
            confirm(ticket, stranger)

    assert Attachment.objects.get().status == "pending"


def test_not_uploaded_yet(user, upload):
    ticket = upload(user, content=None)

    with pytest.raises(NotUploaded):
        confirm(ticket, user)

    assert Attachment.objects.get().status == "pending"
    assert not ObjectDeletion.objects.exists()  # there is no copy that could come late


def test_never_uploaded(user, upload):
    ticket = upload(user, content=None)
    Attachment.objects.update(expires_at=timezone.now())

    with pytest.raises(UploadExpired):
        confirm(ticket, user)


def test_a_file_that_came_late_is_still_confirmed(user, upload):
    """A slow upload may end after its form expired: the store took it, so do we."""
    ticket = upload(user)
    Attachment.objects.update(expires_at=timezone.now() - timedelta(hours=1))

    assert confirm(ticket, user).is_ready


# Judging


@pytest.mark.parametrize(
    ("error", "declared", "content"),
    [
        (ContentMismatch, {}, HTML),
        (ContentMismatch, {}, b"%PDF-1.7\n"),
        (SizeMismatch, {"size_bytes": 10}, b"too long for ten bytes"),
        (SizeMismatch, {"size_bytes": 10}, b"short"),
        (SizeMismatch, {}, b""),
    ],
)
def test_confirm_rejects_what_was_not_declared(user, upload, bucket, error, declared, content):
    ticket = upload(user, content=None, **declared)
    bucket.put_object(Key=f"pending/{ticket.attachment_id}", Body=content)

    for _ in range(2):  # a rejection is final, and the same each time
        with pytest.raises(error) as raised:
            confirm(ticket, user)
        assert raised.value.code == error.code
        assert "?" not in raised.value.detail  # all that it says is known

    row = Attachment.objects.get()
    assert row.status == "rejected"
    assert row.error_info == {"code": error.code, "detail": raised.value.detail}
    assert list_keys(bucket, ticket) == []


@pytest.mark.parametrize(
    ("declared", "expected"), [({"size_bytes": 10}, "10"), ({}, f"1–{100 * 2**20}")]
)
def test_a_wrong_size_is_told_with_the_right_ones(user, upload, bucket, declared, expected):
    ticket = upload(user, content=None, **declared)
    bucket.put_object(Key=f"pending/{ticket.attachment_id}", Body=b"")

    with pytest.raises(SizeMismatch) as raised:
        confirm(ticket, user)

    assert raised.value.params == {"found": 0, "expected": expected}


def test_confirm_rejects_another_checksum(user, upload, bucket, samples):
    """A store that does not enforce the form's digest."""
    ticket = upload(user, content=None, checksum_sha256=get_checksum(b"other"))
    bucket.put_object(Key=f"pending/{ticket.attachment_id}", Body=samples["image/png"])

    with pytest.raises(ChecksumMismatch):
        confirm(ticket, user)

    assert list_keys(bucket, ticket) == []


def test_confirm_keeps_a_declared_checksum(user, upload, samples):
    declared = get_checksum(samples["image/png"])
    ticket = upload(user, checksum_sha256=declared)

    assert confirm(ticket, user).checksum_sha256 == declared


def test_a_file_over_the_limit_is_rejected_although_the_store_took_it(
    user, upload, bucket, samples, settings
):
    """The limit is the one that the form was given, whatever it is now."""
    settings.ATTACHMENTS = {**settings.ATTACHMENTS, "MAX_SIZE_MB": 1}
    ticket = upload(user, content=None)
    bucket.put_object(
        Key=f"pending/{ticket.attachment_id}", Body=samples["image/png"] + b"\0" * 2**20
    )
    settings.ATTACHMENTS = {**settings.ATTACHMENTS, "MAX_SIZE_MB": 2}

    with pytest.raises(SizeMismatch):
        confirm(ticket, user)


def test_a_file_that_the_form_allowed_is_taken_whatever_the_limit_is_now(user, upload, settings):
    ticket = upload(user)
    settings.ATTACHMENTS = {**settings.ATTACHMENTS, "MAX_SIZE_MB": 0.00001}

    assert confirm(ticket, user).is_ready


def test_the_client_cannot_change_what_was_confirmed(user, upload, bucket, samples, post_file):
    """The form is good for ten minutes: what is served is the frozen copy."""
    ticket = upload(user)
    attachment = confirm(ticket, user)

    assert post_file(ticket, HTML).status_code == 204
    confirm(ticket, user)

    assert read_served(bucket, attachment)["Body"].read() == samples["image/png"]


def test_a_post_that_lands_after_a_rejection_changes_nothing(
    user, upload, bucket, samples, post_file
):
    ticket = upload(user, content=HTML)
    with pytest.raises(ContentMismatch):
        confirm(ticket, user)

    assert post_file(ticket, samples["image/png"]).status_code == 204
    with pytest.raises(ContentMismatch):
        confirm(ticket, user)

    assert Attachment.objects.get().status == "rejected"
    assert list_keys(bucket, ticket) == [f"pending/{ticket.attachment_id}"]


@pytest.mark.parametrize("step", ["copy_object", "inspect_object"])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_the_client_changes_the_file_while_it_is_verified(
    user, upload, bucket, samples, post_file, monkeypatch, step, moment
):
    """What is judged is what is served: the first file or the second, never one for the other."""
    ticket = upload(user)
    function = getattr(storage, step)

    def run(*args, **kwargs):
        monkeypatch.undo()
        if moment == "before":
            post_file(ticket, HTML)
            return function(*args, **kwargs)
        result = function(*args, **kwargs)
        post_file(ticket, HTML)
        return result

    monkeypatch.setattr(storage, step, run)

    if (step, moment) == ("copy_object", "before"):
        with pytest.raises(ContentMismatch):
            confirm(ticket, user)
        assert list_keys(bucket, ticket) == []
    else:
        attachment = confirm(ticket, user)
        assert read_served(bucket, attachment)["Body"].read() == samples["image/png"]


def test_every_attempt_has_a_key_of_its_own(user, upload, monkeypatch):
    ticket = upload(user)
    keys = []
    copy_object = storage.copy_object

    def fail(**kwargs):
        keys.append(kwargs["target"])
        raise StorageUnavailable

    monkeypatch.setattr(storage, "copy_object", fail)
    for _ in range(2):
        with pytest.raises(StorageUnavailable):
            confirm(ticket, user)
    monkeypatch.setattr(storage, "copy_object", copy_object)

    assert len({*keys, confirm(ticket, user).key}) == 3


# SHA-256


def test_every_ready_file_gets_its_checksum(user, upload, samples, bucket):
    """At once where the first bytes are all; else a worker reads what the store does not tell."""
    small = samples["image/png"]
    large = small + b"\0" * 2**18
    tickets = {content: upload(user, content=content) for content in (small, large)}

    for content, ticket in tickets.items():
        confirm(ticket, user)
        services.process_attachment(attachment_id=ticket.attachment_id)
        assert Attachment.objects.get(pk=ticket.attachment_id).checksum_sha256 == get_checksum(
            content
        )


def test_a_declared_checksum_of_a_larger_file_is_compared_at_once(
    user, upload, samples, bucket, monkeypatch
):
    content = samples["image/png"] + b"\0" * 2**18
    for limit in ("MAX_COPY_IN_REQUEST", "MAX_READ_IN_REQUEST"):
        monkeypatch.setattr(verify, limit, len(content))
    good = upload(user, content=content, checksum_sha256=get_checksum(content))
    bad = upload(user, content=None, checksum_sha256=get_checksum(b"other"))
    bucket.put_object(Key=f"pending/{bad.attachment_id}", Body=content)

    assert confirm(good, user).checksum_sha256 == get_checksum(content)
    with pytest.raises(ChecksumMismatch):
        confirm(bad, user)


# Message and metadata


def test_confirm_hangs_it_on_a_message(user, other_user, upload, message_of):
    message = message_of(user, other_user)

    confirmed = confirm(upload(user), user, message_id=message.pk, metadata={"caption": "a"})

    for seen in (confirmed, Attachment.objects.get()):
        assert (seen.message_id, seen.metadata) == (message.pk, {"caption": "a"})


def test_a_ready_attachment_may_be_hung_by_a_later_confirm(user, upload, message_of):
    ticket, message = upload(user), message_of(user)
    confirm(ticket, user)

    assert confirm(ticket, user, message_id=message.pk).message_id == message.pk
    assert confirm(ticket, user, message_id=message.pk).message_id == message.pk


def test_two_confirms_that_hang_it_on_one_message_at_the_same_moment(
    user, upload, message_of, monkeypatch
):
    ticket, message = upload(user), message_of(user)
    confirm(ticket, user)
    find = Attachment.find

    def find_before_the_other(attachment_id):
        found = find(attachment_id)
        Attachment.objects.update(message=message)
        return found

    monkeypatch.setattr(Attachment, "find", find_before_the_other)

    assert confirm(ticket, user, message_id=message.pk).message == message


@pytest.mark.django_db(transaction=True)
def test_a_confirm_that_is_rolled_back_can_be_repeated(user, upload):
    """By a host that confirms in a transaction of its own: the original is still needed."""
    ticket = upload(user)
    with pytest.raises(RuntimeError), transaction.atomic():
        services.confirm_upload(attachment_id=ticket.attachment_id, user=user)
        raise RuntimeError
    services.remove_now()

    assert services.confirm_upload(attachment_id=ticket.attachment_id, user=user).is_ready


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("step", ["check_linkable", "reserve_room"])
def test_the_message_goes_while_a_ready_attachment_is_hung(
    user, upload, message_of, monkeypatch, step
):
    ticket, message = upload(user), message_of(user)
    confirm(ticket, user)

    def lose_message(**kwargs):
        message._meta.model.objects.all().delete()

    monkeypatch.setattr(f"attachments.services.changes.{step}", lose_message)

    with pytest.raises(NotFound) as raised:
        confirm(ticket, user, message_id=message.pk)
    assert raised.value.attr == "message_id"
    assert Attachment.objects.get().message is None


def test_linked_once_it_stays(user, upload, message_of):
    first, second = message_of(user), message_of(user)
    ticket = upload(user)
    confirm(ticket, user, message_id=first.pk)

    with pytest.raises(AlreadyLinked):
        confirm(ticket, user, message_id=second.pk)

    assert Attachment.objects.get().message == first


def test_asked_for_one_message_it_is_not_hung_on_another(user, upload, message_of):
    first, second = message_of(user), message_of(user)
    ticket = upload(user, message_id=first.pk)

    with pytest.raises(AlreadyLinked) as raised:
        confirm(ticket, user, message_id=second.pk)

    assert raised.value.attr == "message_id"
    assert confirm(ticket, user).message_id == first.pk


def test_a_foreign_message_is_refused_before_anything_is_done(
    user, other_user, upload, message_of, bucket
):
    ticket, theirs = upload(user), message_of(other_user)

    with pytest.raises(NotFound):
        confirm(ticket, user, message_id=theirs.pk)

    assert Attachment.objects.get().status == "pending"
    assert list_keys(bucket, ticket) == [f"pending/{ticket.attachment_id}"]


def test_metadata_is_merged_over_presigns(user, upload):
    ticket = upload(user, metadata={"caption": "a", "width": 1})
    upload(user, metadata={"of": "another"})

    assert confirm(ticket, user, metadata={"width": 2}).metadata == {"caption": "a", "width": 2}
    assert Attachment.find(ticket.attachment_id).metadata == {"caption": "a", "width": 2}


def test_bad_metadata_loses_nothing(user, upload, store_calls):
    ticket = upload(user, metadata={"a": "x" * 5000})
    store_calls()

    with pytest.raises(InvalidMetadata):
        confirm(ticket, user, metadata={"b": "x" * 5000})

    assert store_calls() == []  # it was told before anything was done
    assert confirm(ticket, user).metadata == {"a": "x" * 5000}


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_confirms_with_metadata_at_once_lose_no_key(user, upload):
    ticket = upload(user)
    confirm(ticket, user)

    def add(number):
        confirm(ticket, user, metadata={f"key {number}": number})
        connection.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(40)))

    assert Attachment.objects.get().metadata == {f"key {number}": number for number in range(40)}


def test_metadata_given_meanwhile_is_kept(user, upload, monkeypatch):
    """The confirm read the row before another one handed it over with metadata of its own."""
    ticket = upload(user, metadata={"a": 1})
    copy_object = storage.copy_object

    def copy(**kwargs):
        Attachment.objects.update(metadata={"a": 1, "b": 2})
        return copy_object(**kwargs)

    monkeypatch.setattr(storage, "copy_object", copy)

    assert confirm(ticket, user, metadata={"c": 3}).metadata == {"a": 1, "b": 2, "c": 3}


def test_who_lost_the_right_to_the_message_publishes_without_it(
    user, other_user, upload, message_of
):
    message = message_of(user, other_user)
    ticket = upload(user, message_id=message.pk)
    message.conversation.participants.remove(user)

    attachment = confirm(ticket, user)

    assert (attachment.is_ready, attachment.message_id) == (True, None)
    assert Attachment.objects.get().message_id is None


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_the_message_goes_while_the_store_is_asked(user, upload, message_of, monkeypatch):
    ticket, message = upload(user), message_of(user)
    copy_object = storage.copy_object

    def copy_and_lose(**kwargs):
        message.delete()
        return copy_object(**kwargs)

    monkeypatch.setattr(storage, "copy_object", copy_and_lose)
    with pytest.raises(NotFound):
        confirm(ticket, user, message_id=message.pk)
    monkeypatch.undo()

    assert confirm(ticket, user).is_ready


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_two_confirms_for_two_messages_at_once(user, upload, message_of):
    """One message gets it, and keeps it."""
    ticket, messages = upload(user), [message_of(user) for _ in range(8)]
    confirm(ticket, user)

    def hang(message):
        try:
            return confirm(ticket, user, message_id=message.pk).message_id
        except AlreadyLinked as error:
            return error.attr
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        (winner,) = {*pool.map(hang, messages)} - {"message_id"}
    assert Attachment.objects.get().message_id == winner


@pytest.mark.parametrize("is_public", [True, False])
def test_caches_of_many_people_keep_public_files_alone(user, upload, bucket, settings, is_public):
    settings.ATTACHMENTS = {**settings.ATTACHMENTS, "PUBLIC_READ": is_public}

    served = read_served(bucket, confirm(upload(user), user))

    reach = "public" if is_public else "private"
    assert served["CacheControl"] == f"{reach}, max-age=31536000, immutable"


# The lease


def test_a_confirm_that_runs_keeps_others_out(user, upload):
    ticket = upload(user)
    Attachment.objects.update(
        status="verifying", lease_expires_at=timezone.now() + timedelta(seconds=30)
    )

    with pytest.raises(UploadInProgress):
        confirm(ticket, user)

    assert Attachment.objects.get().status == "verifying"


def test_a_confirm_that_died_is_taken_over(user, upload):
    ticket = upload(user)
    Attachment.objects.update(
        status="verifying", lease_expires_at=timezone.now() - timedelta(seconds=1)
    )

    assert confirm(ticket, user).is_ready


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_two_confirms_at_once(user, upload, monkeypatch):
    """One publishes; the other is told to wait, or finds it done."""
    ticket = upload(user)
    barrier = threading.Barrier(2)
    outcomes = []

    def run():
        barrier.wait()
        try:
            outcomes.append(confirm(ticket, user).status)
        except UploadInProgress as error:
            outcomes.append(error.code)
        connection.close()

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert "ready" in outcomes
    assert set(outcomes) <= {"ready", "upload_in_progress"}
    assert confirm(ticket, user).is_ready


def test_another_confirm_finishes_between_reading_and_leasing(user, upload, monkeypatch):
    ticket = upload(user)

    def lose(attachment):
        monkeypatch.undo()
        confirm(ticket, user)
        return Attempt.take(attachment)

    monkeypatch.setattr(Attempt, "take", lose)

    assert confirm(ticket, user).is_ready


def test_another_confirm_hands_over_between_reading_and_leasing(user, upload, monkeypatch):
    ticket = upload(user)

    def lose(attachment):
        monkeypatch.undo()
        Attempt.take(Attachment.find(ticket.attachment_id)).hand_over()
        return Attempt.take(attachment)

    monkeypatch.setattr(Attempt, "take", lose)

    assert confirm(ticket, user).in_background


def test_a_row_that_is_deleted_between_reading_and_leasing(user, upload, monkeypatch):
    ticket = upload(user)

    def lose(attachment):
        monkeypatch.undo()
        delete_rows()
        return Attempt.take(attachment)

    monkeypatch.setattr(Attempt, "take", lose)

    with pytest.raises(NotFound):
        confirm(ticket, user)


@pytest.fixture
def nudges():
    """What workers were told to do."""
    told = []

    def note(attachment_ids, **kwargs):
        told.extend(attachment_ids)

    events.work_left.connect(note)
    yield told
    events.work_left.disconnect(note)


def test_what_a_worker_has_to_do_is_left_to_it(user, upload, nudges):
    ticket = upload(user)
    row = Attachment.find(ticket.attachment_id)
    Attempt.take(row).hand_over()

    assert confirm(ticket, user).status == "verifying"
    assert nudges == [str(row.pk)]  # nobody does it yet

    attempt = Attempt.take(Attachment.find(row.pk))
    assert confirm(ticket, user).status == "verifying"
    assert nudges == [str(row.pk)]
    assert Attachment.objects.get().copy_key == attempt.key


def test_a_checksum_that_the_store_tells_is_kept(user, upload, samples, monkeypatch):
    told = get_checksum(samples["image/png"])
    monkeypatch.setattr(storage, "tell_checksum", lambda key: told)

    assert confirm(upload(user), user).checksum_sha256 == told


@pytest.fixture
def slow_copy(monkeypatch):
    """Let something happen between the copy and the publishing."""

    def after_copy(do):
        copy_object = storage.copy_object

        def copy(**kwargs):
            checksum = copy_object(**kwargs)
            monkeypatch.undo()
            do()
            return checksum

        monkeypatch.setattr(storage, "copy_object", copy)

    return after_copy


def test_a_slow_confirm_does_not_publish_over_a_faster_one(
    user, upload, post_file, samples, bucket, slow_copy
):
    """Its lease ran out, another took over: the row says what the other found."""
    ticket = upload(user)

    def overtake():
        expire_lease()
        confirm(ticket, user)

    slow_copy(overtake)
    with pytest.raises(UploadInProgress):
        confirm(ticket, user)

    row = confirm(ticket, user)
    assert row.is_ready
    assert read_served(bucket, row)["Body"].read() == samples["image/png"]


def test_a_slow_confirm_leaves_nothing_of_a_row_that_was_rejected(
    user, upload, post_file, bucket, slow_copy
):
    ticket = upload(user)

    def reject():
        expire_lease()
        post_file(ticket, HTML)
        with pytest.raises(ContentMismatch):
            confirm(ticket, user)

    slow_copy(reject)
    with pytest.raises(UploadInProgress):
        confirm(ticket, user)

    assert Attachment.objects.get().status == "rejected"
    assert list_keys(bucket, ticket) == []


def test_a_row_deleted_under_a_confirm_leaves_no_object(user, upload, bucket, slow_copy):
    ticket = upload(user)
    slow_copy(delete_rows)

    with pytest.raises(NotFound):
        confirm(ticket, user)

    assert list_keys(bucket, ticket) == []


def test_a_row_deleted_under_a_worker_leaves_no_object(user, upload, bucket, slow_copy):
    ticket = upload(user)
    Attempt.take(Attachment.find(ticket.attachment_id)).hand_over()
    slow_copy(delete_rows)

    services.process_attachment(attachment_id=ticket.attachment_id)

    assert list_keys(bucket, ticket) == []


def test_a_message_that_was_given_while_a_worker_verified_is_kept(
    user, upload, message_of, slow_copy
):
    ticket, message = upload(user), message_of(user)
    Attempt.take(Attachment.find(ticket.attachment_id)).hand_over()
    slow_copy(lambda: confirm(ticket, user, message_id=message.pk))

    services.process_attachment(attachment_id=ticket.attachment_id)

    row = Attachment.objects.get()
    assert (row.status, row.message) == ("ready", message)


@pytest.mark.parametrize("has_message", [False, True])
def test_a_row_that_is_deleted_while_a_later_confirm_changes_it(
    user, upload, message_of, monkeypatch, has_message
):
    ticket, message = upload(user), message_of(user)
    confirm(ticket, user)
    find = Attachment.find

    def find_and_lose(attachment_id):
        found = find(attachment_id)
        delete_rows()
        return found

    monkeypatch.setattr(Attachment, "find", find_and_lose)

    with pytest.raises(NotFound):
        confirm(ticket, user, metadata={"a": 1}, message_id=message.pk if has_message else None)


def test_a_bad_file_after_a_confirm_that_died_leaves_no_copy(
    user, upload, post_file, bucket, slow_copy
):
    """The good copy that the dead one made must not stay public."""
    ticket = upload(user)

    class Killed(BaseException):
        pass

    def die():
        Attachment.objects.update(status="verifying")
        raise Killed

    slow_copy(die)
    with pytest.raises(Killed):
        confirm(ticket, user)
    assert len(list_keys(bucket, ticket)) == 2
    expire_lease()
    post_file(ticket, HTML)

    with pytest.raises(ContentMismatch):
        confirm(ticket, user)

    assert list_keys(bucket, ticket) == []


# The store fails


@pytest.mark.parametrize(
    "step", ["copy_object", "inspect_object", "tell_checksum", "read_checksum"]
)
def test_nothing_is_lost_when_the_store_fails(user, upload, bucket, samples, step, monkeypatch):
    content = samples["image/png"] + b"\0" * 2**18
    ticket = upload(user, content=None, checksum_sha256=get_checksum(content))
    bucket.put_object(Key=f"pending/{ticket.attachment_id}", Body=content)  # without its digest

    def fail(*args, **kwargs):
        raise StorageUnavailable

    monkeypatch.setattr(storage, step, fail)
    with pytest.raises(StorageUnavailable):
        confirm(ticket, user)
    monkeypatch.undo()

    assert Attachment.objects.get().status == "pending"
    assert confirm(ticket, user).is_ready


def test_a_copy_that_is_not_there_is_an_outage_and_told(user, upload, monkeypatch, caplog):
    ticket = upload(user)
    monkeypatch.setattr(storage, "copy_object", lambda **kwargs: "")

    with pytest.raises(StorageUnavailable):
        confirm(ticket, user)

    assert "A copy that the store reported as made is not there." in caplog.text
    assert Attachment.objects.get().status == "pending"


def test_failing_to_remove_the_pending_object_is_no_error(user, upload, bucket, monkeypatch):
    ticket = upload(user)

    def fail(keys):
        raise StorageUnavailable

    monkeypatch.setattr(storage, "delete_objects", fail)

    assert confirm(ticket, user).is_ready
    assert f"pending/{ticket.attachment_id}" in list_keys(bucket, ticket)
