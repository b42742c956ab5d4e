"""The promise: what is served is what was verified, whatever clients and stores do meanwhile."""

import copy
import itertools
import os
import threading
from contextlib import contextmanager, nullcontext, suppress
from datetime import timedelta
from functools import partial

import pytest
import requests
from botocore.config import Config
from django.core.management import call_command
from django.utils import timezone

from attachments import services, storage
from attachments.errors import (
    ContentMismatch,
    NotUploaded,
    RejectedUpload,
    SizeMismatch,
    StorageUnavailable,
    UploadExpired,
)
from attachments.models import Attachment, ObjectDeletion
from attachments.services import attempts, verify
from attachments.services.attempts import Attempt
from attachments.storage import copies
from tests.effort import EFFORT
from tests.proxy import StoreProxy
from tests.stores import get_checksum

pytestmark = pytest.mark.django_db

TRIES = 100 * EFFORT
EXE = b"MZ\x90\x00\x03\x00\x00\x00" + b"\0" * 2**16


@pytest.fixture
def proxy(settings):
    """Django reaches the real store through it, and is impatient; clients reach the store itself."""
    with StoreProxy(os.environ["S3_ENDPOINT_URL"]) as proxy:
        storages = copy.deepcopy(settings.STORAGES)
        options = storages["attachments"]["OPTIONS"]
        options["endpoint_url"] = proxy.url
        options["client_config"] = options["client_config"].merge(Config(read_timeout=1))
        settings.STORAGES = storages
        settings.ATTACHMENTS = {
            **settings.ATTACHMENTS,
            "PUBLIC_ENDPOINT_URL": os.environ["S3_ENDPOINT_URL"],
        }
        storage.ensure_bucket()
        yield proxy


@pytest.fixture
def small_limits(monkeypatch):
    """Files of some megabytes are large: they are copied in parts of the least size."""
    monkeypatch.setattr(verify, "MAX_COPY_IN_REQUEST", 2**20)
    monkeypatch.setattr(copies, "PART_BYTES", 5 * 2**20)


def confirm(ticket, user):
    return services.confirm_upload(attachment_id=ticket.attachment_id, user=user)


def ignore_conditions(proxy):
    """A store that ignores conditions, and where all files have one ETag."""

    def drop_conditions(headers):
        for name in ("x-amz-copy-source-if-match", "if-match"):
            del headers[name]

    def give_one_etag(headers):
        if "ETag" in headers:
            headers["ETag"] = '"5eb63bbbe01eeed093cb22bb8f5acdc3"'

    for operation in ("CopyObject", "UploadPartCopy", "HeadObject", "GetObject"):
        proxy.rewrite(operation, request=drop_conditions, response=give_one_etag, times=None)


@contextmanager
def posting(post_file, ticket, contents):
    """Clients that post one file after the other, again and again, with the same form."""
    is_over = threading.Event()

    def post(content):
        while not is_over.is_set():
            post_file(ticket, content)

    threads = [threading.Thread(target=post, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    yield
    is_over.set()
    for thread in threads:
        thread.join()


def read_link(attachment):
    return requests.get(services.get_download_url(attachment), timeout=10)


def assert_serves_what_the_row_says(attachment):
    answer = read_link(attachment)
    assert answer.status_code == 200
    assert len(answer.content) == attachment.size_bytes
    services.process_attachment(attachment_id=attachment.pk)
    attachment.refresh_from_db()
    assert get_checksum(answer.content) == attachment.checksum_sha256
    return answer.content


@pytest.mark.parametrize("is_polite", [True, False])
def test_a_client_posts_other_files_all_through_the_confirm(
    user, upload, post_file, samples, proxy, is_polite
):
    if not is_polite:
        ignore_conditions(proxy)
    good = samples["image/png"] + b"\0" * 2**16
    # A busy store may fail to read what is being replaced: then it waits for the next confirm.
    outcomes = dict.fromkeys(("ready", "rejected", "pending"), 0)

    for _ in range(TRIES):
        ticket = upload(user, content=good)
        with posting(post_file, ticket, [EXE, good]):
            try:
                attachment = confirm(ticket, user)
            except (RejectedUpload, StorageUnavailable):
                attachment = Attachment.objects.get(pk=ticket.attachment_id)
        outcomes[attachment.status] += 1
        if attachment.is_ready:
            assert assert_serves_what_the_row_says(attachment) == good

    # Or else nothing was tried
    assert min(outcomes["ready"], outcomes["rejected"]) > outcomes["pending"], outcomes


@pytest.mark.parametrize("is_polite", [True, False])
def test_a_client_posts_other_files_all_through_a_copy_in_parts(
    user, upload, post_file, samples, proxy, small_limits, is_polite
):
    """A copy of parts of two files is judged as what it is."""
    if not is_polite:
        ignore_conditions(proxy)
    good = samples["image/png"] + b"\1" * (11 * 2**20)
    bad = b"MZ" + b"\2" * (len(good) - 2)

    for _ in range(3 * EFFORT):
        ticket = upload(user, content=good)
        assert confirm(ticket, user).in_background
        # A busy store may fail to read what is being replaced; the next attempt would go on.
        with posting(post_file, ticket, [bad, good]), suppress(StorageUnavailable):
            services.process_attachment(attachment_id=ticket.attachment_id)
        attachment = Attachment.objects.get(pk=ticket.attachment_id)
        if attachment.is_ready:
            assert assert_serves_what_the_row_says(attachment).startswith(b"\x89PNG")
        assert attachment.status in ("ready", "rejected", "verifying")


def test_a_copy_lands_after_another_file_was_confirmed(user, upload, post_file, samples, proxy):
    first, second = samples["image/png"], samples["image/png"] + b"second"
    ticket = upload(user, content=first)
    held = proxy.hold("CopyObject")
    with pytest.raises(StorageUnavailable):
        confirm(ticket, user)
    assert Attachment.objects.get().status == "pending"

    post_file(ticket, second)
    attachment = confirm(ticket, user)
    post_file(ticket, EXE)
    held.release()
    assert held.done.wait(10)

    assert assert_serves_what_the_row_says(attachment) == second


@pytest.mark.django_db(transaction=True)
def test_a_copy_lands_after_its_attachment_was_deleted(user, upload, bucket, proxy):
    ticket = upload(user)
    held = proxy.hold("CopyObject")
    with pytest.raises(StorageUnavailable):
        confirm(ticket, user)
    services.delete_attachment(attachment_id=ticket.attachment_id, user=user)
    services.purge_attachments()
    bucket.put_object(Key=f"pending/{ticket.attachment_id}", Body=EXE)  # a post that came late
    held.release()
    assert held.done.wait(10)
    (landed,) = bucket.objects.filter(Prefix=f"attachments/{ticket.attachment_id}/")

    assert ObjectDeletion.objects.filter(key=landed.key, repeats__gt=0).exists()
    ObjectDeletion.objects.update(due_at=timezone.now() - timedelta(seconds=1))
    services.purge_attachments()

    assert not list(bucket.objects.filter(Prefix=f"attachments/{ticket.attachment_id}/"))


@pytest.mark.django_db(transaction=True)
def test_a_copy_lands_after_its_row_was_deleted_under_it(user, upload, bucket, proxy):
    """The confirm still waits for the store when the row goes."""
    ticket = upload(user)
    held = proxy.hold("CopyObject")
    proxy.on("CopyObject", lambda exchange: None)

    def delete():
        held.reached.wait(10)
        Attachment.objects.all().delete()

    delete_row = threading.Timer(0, delete)
    delete_row.start()
    with pytest.raises((StorageUnavailable, NotUploaded)):
        confirm(ticket, user)
    delete_row.join()
    bucket.put_object(Key=f"pending/{ticket.attachment_id}", Body=EXE)
    held.release()
    assert held.done.wait(10)

    ObjectDeletion.objects.update(due_at=timezone.now() - timedelta(seconds=1))
    services.purge_attachments()
    assert not list(bucket.objects.filter(Prefix=f"attachments/{ticket.attachment_id}/"))


@pytest.mark.django_db(transaction=True)
def test_a_page_of_a_proxy_deletes_nothing(attachment_of, user, bucket, proxy):
    """It came with 200, and the object is still there: so is its note."""
    attachment = attachment_of(user)
    proxy.answer("DeleteObjects", 200, b"<html>Please log in</html>")

    services.delete_attachment(attachment_id=attachment.pk, user=user)

    assert ObjectDeletion.objects.filter(key=attachment.key).exists()
    services.carry_out_deletions()
    assert not list(bucket.objects.filter(Prefix=attachment.key))


def test_a_copy_is_sent_once(user, upload, proxy):
    """Sent again by the library, it could land twice, the second time with another file."""
    ticket = upload(user)
    proxy.drop_answer("CopyObject")

    with pytest.raises(StorageUnavailable):
        confirm(ticket, user)

    assert [call.operation for call in proxy.calls].count("CopyObject") == 1
    assert confirm(ticket, user).is_ready


# How often botocore sends each call of a confirm.
CALLS = {"CopyObject": 1, "GetObject": 2, "HeadObject": 2}
FAULTS = {
    "drop": StoreProxy.drop,
    "drop the answer": StoreProxy.drop_answer,
    "hold": StoreProxy.hold,
    "hold the answer": StoreProxy.hold_answer,
    "answer rubbish": partial(StoreProxy.answer, status=200, body=b"<html>"),
    "slow down": partial(StoreProxy.answer, status=503),
    "cannot be found": partial(StoreProxy.answer, status=404, body=b"<html>"),
}


@pytest.mark.parametrize(
    ("operation", "fault"),
    # Rubbish without the digest is what stores say that keep none. Waiting takes time: once is
    # enough for what is read.
    sorted(
        set(itertools.product(CALLS, FAULTS))
        - {
            ("HeadObject", "answer rubbish"),
            ("HeadObject", "hold"),
            ("HeadObject", "hold the answer"),
        }
        - {("GetObject", "hold the answer")}
    ),
)
def test_each_call_of_a_confirm_fails_in_each_way(
    user, upload, bucket, samples, proxy, operation, fault
):
    """The client hears 503, and the same confirm works later."""
    content = samples["image/png"] + b"\0" * 2**17
    ticket = upload(user, content=None, checksum_sha256=get_checksum(content))
    bucket.put_object(Key=f"pending/{ticket.attachment_id}", Body=content)  # without its digest
    FAULTS[fault](proxy, operation, times=CALLS[operation])

    with pytest.raises(StorageUnavailable):
        confirm(ticket, user)
    row = Attachment.objects.get()
    assert (row.status, row.key) == ("pending", row.pending_key)

    with suppress(StorageUnavailable):  # the fault may be there for a second call
        confirm(ticket, user)
    assert assert_serves_what_the_row_says(confirm(ticket, user)) == content


@pytest.mark.parametrize(
    "operation",
    ["HeadObject", "CreateMultipartUpload", "UploadPartCopy", "CompleteMultipartUpload"],
)
@pytest.mark.parametrize("fault", ["drop", "drop the answer", "slow down"])
def test_each_call_of_a_copy_in_parts_fails_in_each_way(
    user, upload, bucket, samples, proxy, small_limits, operation, fault
):
    content = samples["image/png"] + b"\0" * (6 * 2**20)
    ticket = upload(user, content=content)
    confirm(ticket, user)
    FAULTS[fault](proxy, operation, times=4)  # two parts, each sent twice

    with pytest.raises(StorageUnavailable):
        services.process_attachment(attachment_id=ticket.attachment_id)
    row = Attachment.objects.get()
    assert (row.status, row.in_background, row.key) == ("verifying", True, row.pending_key)

    for _ in range(4):  # until the faults are over
        Attachment.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
        with suppress(StorageUnavailable):
            services.process_attachment(attachment_id=ticket.attachment_id)
    attachment = Attachment.objects.get()
    assert assert_serves_what_the_row_says(attachment) == content
    services.remove_now()
    services.carry_out_deletions()
    assert [item.key for item in bucket.objects.filter(Prefix=f"attachments/{row.pk}/")] == [
        attachment.key
    ]


# Large files


@pytest.mark.django_db(transaction=True)
def test_a_large_file_is_verified_by_a_worker(user, upload, samples, small_limits, api, bucket):
    content = samples["image/png"] + b"\0" * (11 * 2**20)
    ticket, client = upload(user, content=content), api(user)
    body = {"attachment_id": str(ticket.attachment_id), "metadata": {"caption": "big"}}

    for _ in range(2):
        response = client.post("/api/v1/attachments/confirm", body, format="json")
        assert response.status_code == 202
        assert response.json()["status"] == "verifying"
        assert response.json()["download_url"] is None
    call_command("db_worker", batch=True, interval=0, verbosity=0)

    response = client.post("/api/v1/attachments/confirm", body, format="json")
    assert (response.status_code, response.json()["status"]) == (200, "ready")
    assert response.json()["metadata"] == {"caption": "big"}
    assert_serves_what_the_row_says(Attachment.objects.get())


@pytest.mark.parametrize("is_lost", [True, False])
def test_a_copy_in_parts_whose_upload_is_aborted(
    user, upload, samples, small_limits, bucket, monkeypatch, caplog, is_lost
):
    """By whoever took the row; or else by the store, and then a later run does it."""
    ticket = upload(user, content=samples["image/png"] + b"\0" * (6 * 2**20))
    confirm(ticket, user)
    copy_in_parts = storage.copy_in_parts

    def abort(*, target, upload_id, **kwargs):
        storage.abort_copy(target=target, upload_id=upload_id)
        if is_lost:
            Attachment.objects.update(lease_expires_at=timezone.now())
            Attempt.take(Attachment.find(ticket.attachment_id))
        copy_in_parts(target=target, upload_id=upload_id, **kwargs)

    monkeypatch.setattr(storage, "copy_in_parts", abort)

    with nullcontext() if is_lost else pytest.raises(StorageUnavailable):
        services.process_attachment(attachment_id=ticket.attachment_id)

    row = Attachment.objects.get()
    assert (row.status, row.is_leased) == ("verifying", True)
    assert "reported as made" not in caplog.text  # no part of it was
    assert not list(bucket.objects.filter(Prefix=f"attachments/{ticket.attachment_id}/"))


def test_a_large_file_that_is_not_there(user, upload, small_limits):
    ticket = upload(user, content=None)

    with pytest.raises(NotUploaded):
        confirm(ticket, user)


def test_a_large_file_that_is_not_what_was_declared(user, upload, bucket, small_limits):
    ticket = upload(user, content=EXE + b"\0" * (6 * 2**20))
    confirm(ticket, user)

    services.process_attachment(attachment_id=ticket.attachment_id)

    with pytest.raises(ContentMismatch):
        confirm(ticket, user)
    assert not list(bucket.objects.filter(Prefix=f"attachments/{ticket.attachment_id}"))


def test_a_large_file_of_another_size_is_not_copied(
    user, upload, bucket, samples, small_limits, store_calls
):
    ticket = upload(user, content=None, size_bytes=8 * 2**20)
    content = samples["image/png"] + b"\0" * (6 * 2**20)
    bucket.put_object(Key=f"pending/{ticket.attachment_id}", Body=content)
    confirm(ticket, user)
    store_calls()

    services.process_attachment(attachment_id=ticket.attachment_id)

    assert "UploadPartCopy" not in store_calls()
    with pytest.raises(SizeMismatch):
        confirm(ticket, user)


def test_a_large_file_that_is_replaced_under_its_copy_is_no_outage(
    user, upload, bucket, samples, small_limits, monkeypatch
):
    ticket = upload(user, content=samples["image/png"] + b"\0" * (6 * 2**20))
    confirm(ticket, user)
    copy_in_parts = storage.copy_in_parts

    def replace(*, source, **kwargs):
        bucket.put_object(Key=source, Body=EXE + b"\0" * (6 * 2**20))
        copy_in_parts(source=source, **kwargs)

    monkeypatch.setattr(storage, "copy_in_parts", replace)

    report = services.process_waiting()

    assert (report.outage, report.waiting) == (None, 1)
    assert Attachment.objects.get().status == "verifying"


@pytest.mark.parametrize("error", [NotUploaded, UploadExpired])
def test_a_large_file_that_went_before_the_worker_came(
    user, upload, bucket, samples, small_limits, error
):
    ticket = upload(user, content=samples["image/png"] + b"\0" * (6 * 2**20))
    confirm(ticket, user)
    bucket.Object(f"pending/{ticket.attachment_id}").delete()
    if error is UploadExpired:
        Attachment.objects.update(expires_at=timezone.now())

    services.process_attachment(attachment_id=ticket.attachment_id)

    assert Attachment.objects.get().status == "pending"
    with pytest.raises(error):
        confirm(ticket, user)


def test_a_long_checksum_is_compared_by_a_worker(user, upload, bucket, samples, monkeypatch):
    monkeypatch.setattr(verify, "MAX_READ_IN_REQUEST", 2**17)
    content = samples["image/png"] + b"\0" * 2**18
    tickets = [upload(user, content=None, checksum_sha256=get_checksum(x)) for x in (content, EXE)]
    for ticket in tickets:
        bucket.put_object(Key=f"pending/{ticket.attachment_id}", Body=content)
        assert confirm(ticket, user).in_background

    assert services.process_waiting().processed == 2

    good, bad = (Attachment.objects.get(pk=ticket.attachment_id) for ticket in tickets)
    assert (good.status, good.checksum_sha256) == ("ready", get_checksum(content))
    assert (bad.status, bad.error["code"]) == ("rejected", "checksum_mismatch")


def test_work_that_outlasts_a_lease_renews_it(user, upload, samples, small_limits, monkeypatch):
    """Each call of the store takes a whole lease here, and the next still finds it held."""
    content = samples["image/png"] + b"\0" * (6 * 2**20)
    ticket = upload(user, content=content, checksum_sha256=get_checksum(content))
    confirm(ticket, user)
    clock = itertools.count(attempts.monotonic(), attempts.LEASE.total_seconds())
    monkeypatch.setattr(attempts, "monotonic", lambda: next(clock))
    leases = {}

    def watch(name):
        call = getattr(storage, name)

        def run(*args, **kwargs):
            before = Attachment.objects.get().is_leased
            Attachment.objects.update(lease_expires_at=timezone.now())
            answer = call(*args, **kwargs)
            leases[name] = (before, Attachment.objects.get().is_leased)
            Attachment.objects.update(lease_expires_at=timezone.now())
            return answer

        monkeypatch.setattr(storage, name, run)

    for name in ("copy_in_parts", "inspect_object", "tell_checksum", "read_checksum"):
        watch(name)
    services.process_attachment(attachment_id=ticket.attachment_id)

    assert Attachment.objects.get().is_ready
    assert leases == {
        "copy_in_parts": (False, True),  # each part renews it; nothing does after the first look
        "inspect_object": (True, False),
        "tell_checksum": (True, False),
        "read_checksum": (False, True),  # each chunk renews it
    }


@pytest.mark.django_db(transaction=True)
def test_what_waits_for_a_worker_is_never_purged_as_stale(user, upload, samples, small_limits):
    ticket = upload(user, content=samples["image/png"] + b"\0" * (6 * 2**20))
    confirm(ticket, user)
    Attachment.objects.update(expires_at=timezone.now() - timedelta(days=9))

    services.purge_attachments()

    services.process_waiting()
    assert Attachment.objects.get().is_ready
