import base64
import hashlib
import json
import threading
import unicodedata
from datetime import timedelta

import pytest
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from attachments import services, storage
from attachments.errors import (
    ContentTypeNotAllowed,
    FileTooLarge,
    IdempotencyKeyReused,
    InvalidChecksum,
    InvalidFilename,
    InvalidIdempotencyKey,
    InvalidMetadata,
    InvalidSize,
    NotFound,
    TooManyAttachments,
)
from attachments.models import Attachment, IdempotencyKey

pytestmark = pytest.mark.django_db

PNG = {"filename": "a.png", "content_type": "image/png"}


def read_conditions(ticket):
    return json.loads(base64.b64decode(ticket.fields["policy"]))["conditions"]


def test_presign_makes_a_pending_row(user):
    ticket = services.presign_upload(user=user, **PNG, metadata={"caption": "Привет"})

    row = Attachment.objects.get()
    assert ticket.attachment_id == row.pk
    assert (row.status, row.user, row.filename) == ("pending", user, "a.png")
    assert (row.metadata, row.size_bytes, row.checksum_sha256) == ({"caption": "Привет"}, None, "")
    assert row.storage_key.name == f"pending/{row.pk}"
    assert ticket.expires_at == row.expires_at
    assert timedelta(seconds=590) < ticket.expires_at - timezone.now() <= timedelta(seconds=600)


def test_the_policy_is_exact(user):
    digest = base64.b64encode(hashlib.sha256(b"x").digest()).decode()

    ticket = services.presign_upload(user=user, **PNG, size_bytes=10, checksum_sha256=digest)

    conditions = read_conditions(ticket)
    for condition in (
        {"key": f"pending/{ticket.attachment_id}"},
        {"Content-Type": "image/png"},
        ["content-length-range", 10, 10],
        {"x-amz-checksum-sha256": digest},
    ):
        assert condition in conditions
    assert not [item for item in conditions if isinstance(item, list) and item[0] == "starts-with"]


def test_an_undeclared_size_is_bounded(user):
    ticket = services.presign_upload(user=user, **PNG)

    assert ["content-length-range", 1, 100 * 2**20] in read_conditions(ticket)
    assert ticket.max_size_bytes == 100 * 2**20


def test_limits_are_settings(user, settings):
    settings.ATTACHMENTS = {
        **settings.ATTACHMENTS,
        "MAX_SIZE_MB": 1,
        "UPLOAD_EXPIRES_SECONDS": 60,
        "ALLOWED_CONTENT_TYPES": ["text/plain", "text/csv"],
    }
    text = {"filename": "a", "content_type": "text/plain"}

    ticket = services.presign_upload(user=user, **text)

    assert (ticket.expires_in, ticket.max_size_bytes) == (60, 2**20)
    assert services.presign_upload(user=user, **text, size_bytes=2**20)
    with pytest.raises(FileTooLarge) as too_large:
        services.presign_upload(user=user, **text, size_bytes=2**20 + 1)
    assert too_large.value.params == {"size_bytes": 2**20 + 1, "max_size_bytes": 2**20}
    with pytest.raises(ContentTypeNotAllowed) as not_allowed:
        services.presign_upload(user=user, **PNG)
    assert not_allowed.value.params == {"allowed": "text/plain, text/csv"}


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        ("audio/ogg; codecs=opus", "audio/ogg"),
        ("IMAGE/JPG", "image/jpeg"),
        ("audio/mp3", "audio/mpeg"),
    ],
)
def test_a_type_as_clients_send_it(user, sent, meant):
    ticket = services.presign_upload(user=user, filename="a", content_type=sent)

    assert ticket.fields["Content-Type"] == meant
    assert Attachment.objects.get().content_type == meant


@pytest.mark.parametrize(
    ("request_", "error", "attr"),
    [
        ({"content_type": "text/html"}, ContentTypeNotAllowed, "content_type"),
        ({"content_type": "image/svg+xml"}, ContentTypeNotAllowed, "content_type"),
        ({"content_type": "png; charset=utf-8"}, ContentTypeNotAllowed, "content_type"),
        ({"size_bytes": 100 * 2**20 + 1}, FileTooLarge, "size_bytes"),
        ({"size_bytes": 10**30}, FileTooLarge, "size_bytes"),
        ({"size_bytes": 0}, InvalidSize, "size_bytes"),
        ({"size_bytes": -1}, InvalidSize, "size_bytes"),
        ({"filename": "../etc/passwd"}, InvalidFilename, "filename"),
        ({"checksum_sha256": "abc"}, InvalidChecksum, "checksum_sha256"),
        ({"checksum_sha256": "YWJj"}, InvalidChecksum, "checksum_sha256"),
        ({"checksum_sha256": "й" * 44}, InvalidChecksum, "checksum_sha256"),
        ({"checksum_sha256": "!" + "A" * 43 + "="}, InvalidChecksum, "checksum_sha256"),
        ({"metadata": []}, InvalidMetadata, "metadata"),
        ({"metadata": {"x": "y" * 8192}}, InvalidMetadata, "metadata"),
        ({"idempotency_key": ""}, InvalidIdempotencyKey, "Idempotency-Key"),
        ({"idempotency_key": "k" * 256}, InvalidIdempotencyKey, "Idempotency-Key"),
    ],
)
def test_bad_input_makes_no_row(user, request_, error, attr):
    with pytest.raises(error) as raised:
        services.presign_upload(user=user, **{**PNG, **request_})

    assert raised.value.attr == attr
    assert "?" not in raised.value.detail  # all that it says is known
    assert not Attachment.objects.exists()


def test_the_users_own_name_is_kept_in_nfc(user):
    decomposed = unicodedata.normalize("NFD", "Отчёт й.pdf")

    services.presign_upload(user=user, filename=decomposed, content_type="application/pdf")

    assert Attachment.objects.get().filename == "Отчёт й.pdf"


def test_presign_for_a_message_links_it(user, other_user, message_of):
    message = message_of(user, other_user)

    services.presign_upload(user=user, **PNG, message_id=message.pk)

    assert Attachment.objects.get().message == message


def test_presign_for_a_strangers_message_or_none_looks_the_same(user, other_user, message_of):
    theirs = message_of(other_user)

    for message_id in (theirs.pk, theirs.pk + 1, 2**80):
        with pytest.raises(NotFound) as raised:
            services.presign_upload(user=user, **PNG, message_id=message_id)
        assert raised.value.attr == "message_id"


@pytest.mark.django_db(transaction=True)
def test_a_user_who_goes_while_presign_runs_is_not_called_a_message(
    user, other_user, message_of, monkeypatch
):
    message = message_of(other_user, user)
    rows = type(user).objects.filter(pk=user.pk)
    monkeypatch.setattr(storage, "ensure_bucket", lambda has_files: rows.delete())

    with pytest.raises(NotFound) as caught:
        services.presign_upload(user=user, **PNG, message_id=message.pk)

    assert caught.value.attr is None
    assert not Attachment.objects.exists()


# Idempotency


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("idempotency_key", [None, "k"])
def test_the_message_goes_while_presign_runs(user, message_of, monkeypatch, idempotency_key):
    message, _other = message_of(user), message_of(user)
    monkeypatch.setattr(storage, "ensure_bucket", lambda has_files: message.delete())
    message_id = message.pk

    with pytest.raises(NotFound) as caught:
        services.presign_upload(
            user=user, **PNG, message_id=message_id, idempotency_key=idempotency_key
        )

    assert caught.value.attr == "message_id"
    assert not Attachment.objects.exists()


def test_the_same_key_gives_the_same_attachment_with_a_fresh_form(user):
    first = services.presign_upload(user=user, **PNG, idempotency_key="k")
    other = services.presign_upload(user=user, **PNG)
    Attachment.objects.update(expires_at=(expired_at := timezone.now()))

    second = services.presign_upload(user=user, **PNG, idempotency_key="k")

    assert (first.is_replayed, second.is_replayed) == (False, True)
    assert second.attachment_id == first.attachment_id
    assert second.expires_at > first.expires_at
    assert Attachment.find(first.attachment_id).expires_at == second.expires_at
    assert Attachment.find(other.attachment_id).expires_at == expired_at


def test_the_same_request_may_be_spelled_otherwise(user):
    first = services.presign_upload(
        user=user, **PNG, idempotency_key="k", metadata={"a": 1, "b": 2}
    )
    second = services.presign_upload(
        user=user, **PNG, idempotency_key="k", metadata={"b": 2, "a": 1}, size_bytes=None
    )

    assert second.attachment_id == first.attachment_id


@pytest.mark.parametrize(
    "change",
    [
        {"filename": "b.png"},
        {"content_type": "image/gif"},
        {"size_bytes": 5},
        {"metadata": {"a": 1}},
        {"checksum_sha256": "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ="},
    ],
)
def test_the_same_key_with_another_body_is_refused(user, change):
    services.presign_upload(user=user, **PNG, idempotency_key="k")

    with pytest.raises(IdempotencyKeyReused):
        services.presign_upload(user=user, **{**PNG, **change}, idempotency_key="k")

    assert Attachment.objects.count() == 1


def test_the_same_key_for_another_message_is_refused(user, message_of):
    first, second = message_of(user).pk, message_of(user).pk
    services.presign_upload(user=user, **PNG, message_id=first, idempotency_key="k")

    with pytest.raises(IdempotencyKeyReused):
        services.presign_upload(user=user, **PNG, message_id=second, idempotency_key="k")


def test_keys_are_each_users_own(user, other_user):
    key = "k" * 255  # the longest
    first = services.presign_upload(user=user, **PNG, idempotency_key=key)
    second = services.presign_upload(user=other_user, **PNG, idempotency_key=key)

    assert first.attachment_id != second.attachment_id


def test_a_key_is_free_after_24_hours(user):
    first = services.presign_upload(user=user, **PNG, idempotency_key="k")
    IdempotencyKey.objects.update(expires_at=F("expires_at") - timedelta(hours=24, seconds=1))

    another = {**PNG, "filename": "b.png"}
    second = services.presign_upload(user=user, **another, idempotency_key="k")
    third = services.presign_upload(user=user, **another, idempotency_key="k")

    assert second.attachment_id != first.attachment_id
    assert third.attachment_id == second.attachment_id  # it stands for this one, for 24 hours
    assert IdempotencyKey.objects.count() == 1


@pytest.mark.parametrize("end", ["rejected", "infected", "deleted"])
def test_a_key_is_free_when_what_it_stands_for_is_gone(user, end):
    first = services.presign_upload(user=user, **PNG, idempotency_key="k")
    rows = Attachment.objects.filter(pk=first.attachment_id)
    rows.delete() if end == "deleted" else rows.update(status=end)

    second = services.presign_upload(user=user, **PNG, idempotency_key="k")
    third = services.presign_upload(user=user, **PNG, idempotency_key="k")

    assert (second.is_replayed, third.is_replayed) == (False, True)
    assert first.attachment_id != second.attachment_id == third.attachment_id


# Several files


def test_a_batch(user, django_assert_num_queries):
    files = [{**PNG, "filename": f"{number}.png"} for number in range(20)]
    storage.ensure_bucket()

    with django_assert_num_queries(1):
        tickets = services.presign_uploads(user=user, files=files)

    rows = Attachment.objects.in_bulk()
    assert [rows[ticket.attachment_id].filename for ticket in tickets] == [
        file["filename"] for file in files
    ]
    for ticket in tickets:
        assert ticket.fields["key"] == f"pending/{ticket.attachment_id}"


@pytest.mark.parametrize(
    ("bad", "error", "attr"),
    [
        ({"filename": ""}, InvalidFilename, "files.1.filename"),
        ({"content_type": "text/x"}, ContentTypeNotAllowed, "files.1.content_type"),
        ({"message_id": 0}, NotFound, "files.1.message_id"),
    ],
)
def test_a_batch_is_made_whole_or_not_at_all(user, bad, error, attr):
    with pytest.raises(error) as raised:
        services.presign_uploads(user=user, files=[PNG, {**PNG, **bad}])

    assert raised.value.attr == attr
    assert not Attachment.objects.exists()


def test_a_batch_asks_once_whether_it_may_hang_on_its_message(user, message_of):
    file = {**PNG, "message_id": message_of(user).pk}
    storage.ensure_bucket()

    def count_queries(files):
        with CaptureQueriesContext(connection) as queries:
            services.presign_uploads(user=user, files=files)
        return len(queries)

    assert count_queries([file] * 3) == count_queries([file])


def test_a_batch_for_one_message_keeps_its_limit(user, message_of, settings):
    settings.ATTACHMENTS = {**settings.ATTACHMENTS, "MAX_ATTACHMENTS_PER_MESSAGE": 1}

    with pytest.raises(TooManyAttachments):
        services.presign_uploads(user=user, files=[{**PNG, "message_id": message_of(user).pk}] * 2)

    assert not Attachment.objects.exists()


def test_a_replayed_batch_gives_new_ones_in_the_place_of_those_that_are_gone(user):
    def presign():
        files = [{**PNG, "filename": f"{number}.png"} for number in range(3)]
        return services.presign_uploads(user=user, files=files, idempotency_key="k")

    first = [ticket.attachment_id for ticket in presign()]
    Attachment.objects.filter(pk=first[0]).delete()
    Attachment.objects.filter(pk=first[2]).update(status="rejected")

    second = presign()

    assert [ticket.is_replayed for ticket in second] == [False, True, False]
    assert second[1].attachment_id == first[1]
    assert [ticket.attachment_id for ticket in presign()] == [
        ticket.attachment_id for ticket in second
    ]
    with pytest.raises(IdempotencyKeyReused):
        services.presign_uploads(user=user, files=[PNG], idempotency_key="k")


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_two_requests_with_one_key_at_the_same_moment(user):
    """The row of one is not committed yet when the other inserts."""
    services.presign_upload(user=user, **PNG)  # the bucket is known
    barrier = threading.Barrier(8)
    tickets = []

    def presign():
        barrier.wait()
        tickets.append(services.presign_upload(user=user, **PNG, idempotency_key="k"))
        connection.close()

    threads = [threading.Thread(target=presign) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len({ticket.attachment_id for ticket in tickets}) == 1
    assert sorted(ticket.is_replayed for ticket in tickets) == [False] + [True] * 7
    assert Attachment.objects.count() == 2
