"""Images that are published without their metadata."""

import base64
import errno
import hashlib
import io
from functools import partial

import pytest
import requests
from django.utils import timezone
from PIL import Image
from PIL.ExifTags import GPS, IFD, Base

from attachments import services, storage
from attachments.errors import DecodingUnavailable, NotUploaded, StorageUnavailable
from attachments.media import sandbox
from attachments.models import Attachment
from attachments.services import fetching, strip
from attachments.services.attempts import Attempt
from attachments.storage import objects
from tests.stores import list_keys

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("empty_bucket"),
]


@pytest.fixture(autouse=True)
def _strips(settings):
    settings.ATTACHMENTS = {**settings.ATTACHMENTS, "STRIP_METADATA": True}


@pytest.fixture
def photo():
    exif = Image.Exif()
    exif[Base.Orientation] = 6
    exif[Base.Make] = "A camera"
    exif.get_ifd(IFD.GPSInfo)[GPS.GPSLatitude] = (55.0, 45.0, 21.0)
    file = io.BytesIO()
    Image.effect_noise((64, 48), 90).convert("RGB").save(file, "JPEG", exif=exif)
    return file.getvalue()


def digest(content):
    return base64.b64encode(hashlib.sha256(content).digest()).decode()


@pytest.fixture
def handed_over(user, upload, photo):
    def make(content=photo, **request):
        ticket = upload(user, content_type="image/jpeg", content=content, **request)
        attachment = services.confirm_upload(attachment_id=ticket.attachment_id, user=user)
        assert (attachment.status, attachment.in_background) == ("verifying", True)
        return attachment

    return make


def process(attachment):
    services.process_attachment(attachment_id=attachment.pk)
    services.remove_now()
    attachment.refresh_from_db()
    return attachment


def test_a_photo_is_published_without_its_place(user, api, handed_over, photo, bucket):
    attachment = process(
        handed_over(size_bytes=len(photo), checksum_sha256=digest(photo), filename="дом.jpg")
    )

    assert (attachment.status, attachment.is_stripped) == ("ready", True)
    shown = api(user).get(f"/api/v1/attachments/{attachment.pk}").json()
    served = requests.get(shown["download_url"], timeout=10)
    assert b"A camera" not in served.content
    assert shown["size_bytes"] == len(served.content) < len(photo)
    assert shown["checksum_sha256"] == digest(served.content)
    assert served.headers["Content-Type"] == "image/jpeg"
    assert "inline" in served.headers["Content-Disposition"]
    assert dict(Image.open(io.BytesIO(served.content)).getexif()) == {Base.Orientation: 6}
    assert shown["media"] == {"width": 48, "height": 64}
    assert list_keys(bucket) == {attachment.key, attachment.thumbnail_key}
    assert services.reconcile_storage(with_checksums=True).is_clean


def test_other_files_are_published_as_they_are(user, upload):
    ticket = upload(user, content_type="audio/mpeg")

    attachment = services.confirm_upload(attachment_id=ticket.attachment_id, user=user)

    assert (attachment.status, attachment.is_stripped) == ("ready", False)


def test_a_confirm_before_the_upload_is_told_so(user, upload):
    ticket = upload(user, content_type="image/jpeg", content=None)

    with pytest.raises(NotUploaded):
        services.confirm_upload(attachment_id=ticket.attachment_id, user=user)


@pytest.mark.parametrize(
    ("request_fields", "content", "code"),
    [
        ({}, lambda photo: photo[:200], "metadata_not_removable"),
        ({}, lambda photo: b"%PDF-1.7 no photo", "content_mismatch"),
        ({}, lambda photo: photo[:-400], "metadata_not_removable"),
    ],
)
def test_what_cannot_be_stripped_is_not_published(
    handed_over, photo, bucket, request_fields, content, code
):
    attachment = process(handed_over(content(photo), **request_fields))

    params = {"declared": "image/jpeg"} if code == "content_mismatch" else {}
    assert (attachment.status, attachment.error) == ("rejected", {"code": code, "params": params})
    services.carry_out_deletions()
    assert list_keys(bucket) == set()


@pytest.mark.parametrize(
    ("declared", "code"),
    [
        ({"size_bytes": 10_000}, "size_mismatch"),
        ({"checksum_sha256": digest(b"another")}, "checksum_mismatch"),
    ],
)
def test_what_is_not_as_declared_is_not_published(user, upload, photo, bucket, declared, code):
    """By whatever way it came there: the store takes no such thing by the form."""
    ticket = upload(user, content_type="image/jpeg", content=None, **declared)
    bucket.put_object(Key=f"pending/{ticket.attachment_id}", Body=photo)
    attachment = services.confirm_upload(attachment_id=ticket.attachment_id, user=user)

    assert process(attachment).error["code"] == code
    services.carry_out_deletions()
    assert list_keys(bucket) == set()


def test_what_the_store_did_not_keep_is_not_published(handed_over, monkeypatch):
    attachment = handed_over()
    monkeypatch.setattr(storage, "put_object", lambda **kwargs: None)

    with pytest.raises(StorageUnavailable):
        process(attachment)

    attachment.refresh_from_db()
    assert (attachment.status, attachment.in_background) == ("verifying", True)


@pytest.mark.parametrize("is_declared", [True, False])
def test_an_image_that_is_too_large_to_be_fetched_is_not_called_another(
    handed_over, photo, monkeypatch, is_declared
):
    monkeypatch.setattr(strip, "MAX_FILE_BYTES", 1000)
    attachment = handed_over(size_bytes=len(photo) if is_declared else None)

    assert process(attachment).error["code"] == "metadata_not_removable"


def test_a_file_is_fetched_no_further_than_allowed(bucket, monkeypatch):
    monkeypatch.setattr(objects, "CHUNK_BYTES", 2)
    bucket.put_object(Key="pending/x", Body=b"abcdef")
    chunks = []

    def fetch(max_bytes):
        chunks.clear()
        going_on = partial(chunks.append, 1)
        with fetching.fetch_object("pending/x", max_bytes=max_bytes, on_chunk=going_on) as fetched:
            return fetched.size_bytes, fetched.file.read(), len(chunks)

    assert fetch(6) == (6, b"abcdef", 3)
    assert fetch(4) == (6, b"abcdef", 3)  # more than allowed, so that it is known
    assert fetch(3) == (4, b"abcd", 2)


def test_an_image_that_arrived_cut_is_not_published(handed_over, monkeypatch):
    attachment, put = handed_over(), storage.put_object

    def put_half(*, content, checksum_sha256, **options):
        half = content.read()[:-100]
        put(content=io.BytesIO(half), checksum_sha256=digest(half), **options)

    monkeypatch.setattr(storage, "put_object", put_half)

    with pytest.raises(StorageUnavailable):
        process(attachment)

    assert Attachment.objects.get().status == "verifying"


def test_an_image_whose_row_another_worker_took_meanwhile_is_left_to_it(handed_over, monkeypatch):
    attachment = handed_over()

    def be_overtaken(**options):
        Attachment.objects.update(lease_expires_at=timezone.now())
        Attempt.take(Attachment.find(attachment.pk))

    monkeypatch.setattr(storage, "put_object", be_overtaken)

    assert process(attachment).status == "verifying"
    assert attachment.is_leased


def test_an_image_of_a_type_without_a_way_is_not_published(user, upload, settings, real_files):
    settings.ATTACHMENTS = {**settings.ATTACHMENTS, "ALLOWED_CONTENT_TYPES": ["image/bmp"]}
    ticket = upload(user, content_type="image/bmp", content=real_files["pillow.bmp"])
    attachment = services.confirm_upload(attachment_id=ticket.attachment_id, user=user)

    assert process(attachment).error["code"] == "metadata_not_removable"


def test_what_the_client_writes_later_is_not_published(
    handed_over, photo, post_file, user, upload, monkeypatch
):
    """The form works until it ends: the original changes while it is being stripped."""
    strip_file = strip.strip_file
    ticket = upload(user, content_type="image/jpeg", content=photo)
    attachment = services.confirm_upload(attachment_id=ticket.attachment_id, user=user)

    def strip_late(*args, **kwargs):
        assert post_file(ticket, b"<script>").status_code == 204
        return strip_file(*args, **kwargs)

    monkeypatch.setattr(strip, "strip_file", strip_late)

    attachment = process(attachment)

    content = b"".join(storage.read_object(attachment.key))
    assert digest(content) == attachment.checksum_sha256
    assert content.startswith(b"\xff\xd8")


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_worker_that_dies(handed_over, bucket, monkeypatch, moment):
    attachment = handed_over()
    put = strip.storage.put_object

    def die(**kwargs):
        monkeypatch.setattr(strip.storage, "put_object", put)
        if moment == "after":
            put(**kwargs)
        raise SystemExit

    monkeypatch.setattr(strip.storage, "put_object", die)
    with pytest.raises(SystemExit):
        services.process_attachment(attachment_id=attachment.pk)
    Attachment.objects.update(lease_expires_at=attachment.created_at)  # its time is over

    attachment.refresh_from_db()
    attachment = process(attachment)

    services.carry_out_deletions()
    assert attachment.is_stripped
    assert list_keys(bucket) == {attachment.key, attachment.thumbnail_key}


KILLED = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"


def refuse(*args, **kwargs):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    "break_host",
    [
        lambda patch: patch.setattr(fetching.tempfile, "TemporaryFile", refuse),
        lambda patch: patch.setattr(sandbox.subprocess, "Popen", refuse),
        lambda patch: patch.setattr(sandbox, "_START", KILLED),
    ],
)
def test_an_image_waits_for_a_machine_that_cannot_decode(
    handed_over, bucket, monkeypatch, break_host
):
    """Or else its original would be deleted for what is no fault of it."""
    attachment = handed_over()
    with monkeypatch.context() as patch:
        break_host(patch)
        with pytest.raises(DecodingUnavailable):
            process(attachment)

    attachment.refresh_from_db()
    assert (attachment.status, attachment.tries, attachment.error) == ("verifying", 1, None)
    assert attachment.pending_key in list_keys(bucket)
    services.process_waiting(with_put_off=True)
    attachment.refresh_from_db()
    assert attachment.is_stripped
