"""What the host hears of attachments."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from django.db import connection, connections, transaction

from attachments import services, signals
from attachments.errors import ContentMismatch, NotFound
from attachments.models import Attachment
from attachments.services import reconcile_storage
from tests.clamd import EICAR, FOUND
from tests.databases import wait_until_blocked

pytestmark = pytest.mark.django_db(transaction=True)

NAMES = ("attachment_ready", "attachment_refused", "attachment_deleted")


@pytest.fixture
def heard():
    """A list of what the host heard, by name."""
    found, receivers = [], []
    for name in NAMES:

        def receive(sender, signal, name=name, **facts):
            assert not connection.in_atomic_block  # it comes after the commit
            found.append((name, facts))

        getattr(signals, name).connect(receive)
        receivers.append((name, receive))
    yield found
    for name, receive in receivers:
        getattr(signals, name).disconnect(receive)


def describe(attachment, **more):
    return {
        "attachment_id": attachment.pk,
        "user_id": attachment.user_id,
        "message_id": attachment.message_id,
        **more,
    }


def test_a_file_is_ready_once(user, attachment_of, message_of, heard):
    attachment = attachment_of(user, message_id=message_of(user).pk)
    services.confirm_upload(attachment_id=attachment.pk, user=user)

    assert heard == [("attachment_ready", describe(attachment))]


def test_a_file_is_rejected(user, upload, heard):
    ticket = upload(user, content=b"<html>")
    for _ in range(2):
        with pytest.raises(ContentMismatch):
            services.confirm_upload(attachment_id=ticket.attachment_id, user=user)

    refused = describe(Attachment.objects.get(), code="content_mismatch")
    assert heard == [("attachment_refused", refused)]


def test_a_scanned_file(user, upload, samples, real_clamd, heard):
    for more in (b"", EICAR):
        ticket = upload(user, content=samples["image/png"] + more)
        services.confirm_upload(attachment_id=ticket.attachment_id, user=user)
    assert heard == []

    services.process_waiting()
    services.process_waiting()

    good, bad = Attachment.objects.order_by("pk")
    assert heard == [
        ("attachment_ready", describe(good)),
        ("attachment_refused", describe(bad, code="infected")),
    ]
    assert bad.error["params"] == {"signature": FOUND}


def test_a_served_file_is_found_infected(
    user, attachment_of, samples, real_clamd, use_scanner, heard
):
    use_scanner("")
    attachment = attachment_of(user, content=samples["image/png"] + EICAR)
    heard.clear()
    use_scanner(real_clamd.url)

    services.scan_published(services.find_unscanned())

    assert heard == [("attachment_refused", describe(attachment, code="infected"))]


def test_a_file_that_is_lost(user, attachment_of, bucket, heard):
    attachment = attachment_of(user)
    heard.clear()
    bucket.Object(attachment.key).delete()

    reconcile_storage(mark_missing=True)

    assert heard == [("attachment_refused", describe(attachment, code="object_missing"))]


DELETE = {
    "the API": lambda row, user: services.delete_attachment(attachment_id=row.pk, user=user),
    "a cascade": lambda row, user: row.message.delete(),
    "a queryset": lambda row, user: Attachment.objects.all().delete(),
    "the admin": lambda row, user: services.delete_attachments(Attachment.objects.all()),
}


@pytest.mark.parametrize("how", DELETE)
def test_a_deletion(user, attachment_of, message_of, heard, how):
    attachment = attachment_of(user, message_id=message_of(user).pk)
    heard.clear()

    DELETE[how](attachment, user)

    assert heard == [("attachment_deleted", describe(attachment))]


def test_a_deletion_that_is_rolled_back(user, attachment_of, heard):
    attachment = attachment_of(user)
    heard.clear()

    with pytest.raises(ZeroDivisionError), transaction.atomic():
        attachment.delete()
        raise ZeroDivisionError

    assert heard == []


@pytest.mark.postgres
def test_two_deletions_of_many_at_once_tell_of_each_row_once(attachment_of, user, heard):
    attachment = attachment_of(user)
    deleted = describe(attachment)
    heard.clear()

    def delete_all():
        try:
            services.delete_attachments(Attachment.objects.all())
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as threads:
        with transaction.atomic():
            attachment.delete()
            other = threads.submit(delete_all)
            wait_until_blocked(1, unless=other.done)
        other.result()

    assert heard == [("attachment_deleted", deleted)]


def test_the_second_of_two_deletions(user, attachment_of, heard, monkeypatch):
    attachment = attachment_of(user)
    heard.clear()
    get_attachment = services.access.get_attachment

    def look(**kwargs):
        """Another request is faster."""
        found = get_attachment(**kwargs)
        monkeypatch.setattr(services.access, "get_attachment", get_attachment)
        services.delete_attachment(**kwargs)
        return found

    monkeypatch.setattr(services.access, "get_attachment", look)
    with pytest.raises(NotFound):
        services.delete_attachment(attachment_id=attachment.pk, user=user)

    assert heard == [("attachment_deleted", describe(attachment))]


@contextmanager
def listening(name, receiver):
    signal = getattr(signals, name)
    signal.connect(receiver)
    yield
    signal.disconnect(receiver)


def test_a_host_that_fails_stops_nothing(user, attachment_of, heard, caplog):
    def fail(**kwargs):
        raise ZeroDivisionError

    with listening("attachment_ready", fail):
        assert attachment_of(user).is_ready

    assert [name for name, _ in heard] == ["attachment_ready"]
    assert "ZeroDivisionError" in caplog.text
