"""What is told of attachments, and that it is told with the facts that the event names."""

import itertools
from unittest.mock import ANY

import pytest

from attachments import events, services, storage
from attachments.errors import ContentMismatch, ContentTypeNotAllowed, NotUploaded
from attachments.event_log import log_event
from attachments.models import Attachment
from attachments.services import process, telling
from tests.stores import take_store_away

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_file_from_presign_to_deletion(user, upload, message_of, samples, told, monkeypatch):
    monkeypatch.setattr(telling, "monotonic", itertools.count(1000, 2.5).__next__)
    message = message_of(user)
    size = len(samples["image/png"])

    ticket = upload(user, size_bytes=size)
    services.confirm_upload(attachment_id=ticket.attachment_id, user=user)
    services.link_attachments(attachment_ids=[ticket.attachment_id], message=message, user=user)
    services.delete_attachment(attachment_id=ticket.attachment_id, user=user)

    who = {"attachment_id": ticket.attachment_id, "user_id": user.pk}
    what = {"content_type": "image/png", "size_bytes": size}
    assert told("presigned") == [{**who, **what, "filename": "file", "is_replayed": False}]
    assert told("published") == [{**who, **what, "message_id": None, "seconds": ANY}]
    assert told("confirmed") == [{**who, **what, "result": "ready", "seconds": 2.5}]
    assert told("linked") == [{"message_id": message.pk, "user_id": user.pk, "count": 1}]
    assert told("deleted") == [{"attachment_id": ticket.attachment_id, "count": 1}]
    assert told("objects_deleted")[-1] == {"count": 2, "refused_count": 0}


def test_originals_that_go_after_the_answers(user, upload, told, monkeypatch):
    tickets = [upload(user) for _ in range(3)]
    for ticket in tickets:
        services.confirm_upload(attachment_id=ticket.attachment_id, user=user)
    refused = {f"pending/{tickets[0].attachment_id}": "AccessDenied: locked"}
    monkeypatch.setattr(storage, "delete_objects", lambda keys: refused)

    services.remove_now()

    assert told("objects_deleted") == [{"count": 2, "refused_count": 1}]


def test_each_event_is_told_with_the_facts_that_it_names(user, upload, told):
    ticket = upload(user, content=b"no picture")
    with pytest.raises(ContentMismatch):
        services.confirm_upload(attachment_id=ticket.attachment_id, user=user)

    for name in ("presigned", "refused", "confirmed", "store_called", "objects_deleted"):
        for facts in told(name):
            assert facts.keys() <= set(events.EVENTS[name].facts)
    (refused,) = told("refused")
    assert refused["code"] == "content_mismatch"
    assert told("confirmed")[0]["result"] == "content_mismatch"


def test_a_batch_is_told_once(user, told):
    file = {"filename": "a.png", "content_type": "image/png"}
    key = {"idempotency_key": "the same"}

    first = services.presign_uploads(user=user, files=[file, file], **key)
    services.presign_uploads(user=user, files=[file, file], **key)

    ids = [str(ticket.attachment_id) for ticket in first]
    facts = {"attachment_ids": ids, "user_id": user.pk, "count": 2}
    assert told("batch_presigned") == [
        {**facts, "replayed_count": 0},
        {**facts, "replayed_count": 2},
    ]
    assert told("presigned") == []


def test_what_presign_refuses(user, told):
    with pytest.raises(ContentTypeNotAllowed):
        services.presign_upload(user=user, filename="a.exe", content_type="application/x-dos")

    assert told("presign_refused") == [{"user_id": user.pk, "code": "content_type_not_allowed"}]


def test_a_confirm_that_came_too_early(user, upload, told):
    ticket = upload(user, content=None)

    with pytest.raises(NotUploaded):
        services.confirm_upload(attachment_id=ticket.attachment_id, user=user)

    assert told("confirmed")[0]["result"] == "not_uploaded"
    assert [call["outcome"] for call in told("store_called")] == ["missing"]


def test_a_confirm_that_fails_otherwise(user, upload, told, monkeypatch):
    ticket = upload(user)
    monkeypatch.setattr(storage, "copy_object", lambda: "without the arguments")

    with pytest.raises(TypeError):
        services.confirm_upload(attachment_id=ticket.attachment_id, user=user)

    assert told("confirmed")[0]["result"] == "error"


@pytest.mark.parametrize("how", ["one by one", "at once"])
def test_many_deletions_are_one_event(user, attachment_of, told, how):
    for _ in range(3):
        attachment_of(user)

    if how == "at once":
        services.delete_attachments(Attachment.objects.all())
    else:
        Attachment.objects.all().delete()

    assert told("deleted") == [{"attachment_id": None, "count": 3}]


def test_an_outage_is_told_once(user, attachment_of, settings, told):
    attachment = attachment_of(user)
    take_store_away(settings)

    attachment.delete()

    (failed,) = told("store_failed")
    assert "The store does not answer" in failed["reason"]
    assert told("store_called")[-1]["outcome"] == "unreachable"


def test_an_attempt_that_is_taken_over(user, upload, told):
    ticket = upload(user)
    row = Attachment.objects.filter(pk=ticket.attachment_id)
    row.update(status="verifying", copy_key="attachments/dead", lease_expires_at="2020-01-01T00Z")

    services.confirm_upload(attachment_id=ticket.attachment_id, user=user)

    assert told("lease_taken_over") == [{"attachment_id": ticket.attachment_id}]


def test_a_purge(user, upload, told):
    upload(user)
    Attachment.objects.update(expires_at="2020-01-01T00Z")

    services.purge_attachments()

    (purged,) = told("purged")
    assert (purged["stale"], purged["expired"]) == (1, 0)


def test_a_scan(user, upload, real_clamd, samples, told, monkeypatch):
    monkeypatch.setattr(process, "monotonic", itertools.count(1000, 2.5).__next__)
    ticket = upload(user)
    services.confirm_upload(attachment_id=ticket.attachment_id, user=user)

    services.process_attachment(attachment_id=ticket.attachment_id)

    (scanned,) = told("scanned")
    assert scanned.pop("scanner").startswith("ClamAV ")
    assert 0 < scanned.pop("seconds") < 60
    assert scanned == {
        "attachment_id": ticket.attachment_id,
        "size_bytes": len(samples["image/png"]),
        "outcome": "clean",
        "reason": "",
    }
    assert told("processed") == [
        {"attachment_id": ticket.attachment_id, "step": step, "seconds": 2.5}
        for step in ("scan", "inspect")
    ]


def test_a_scanner_that_is_down(user, upload, use_scanner, told):
    use_scanner("unix:///nowhere/clamd.ctl")
    ticket = upload(user)
    services.confirm_upload(attachment_id=ticket.attachment_id, user=user)

    services.try_to_process(ticket.attachment_id)

    (scanned,) = told("scanned")
    assert (scanned["outcome"], "No such file" in scanned["reason"]) == ("unavailable", True)


def test_a_listener_that_fails_stops_nothing(user, told, caplog):
    def fail(**facts):
        raise ZeroDivisionError

    events.presigned.connect(fail)
    try:
        services.presign_upload(user=user, filename="a.png", content_type="image/png")
    finally:
        events.presigned.disconnect(fail)

    assert told("presigned")
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize(("asked", "shown"), [(False, False), (True, True)])
def test_names_of_files_are_in_the_log_if_asked_for(settings, caplog, asked, shown):
    settings.ATTACHMENTS = {**settings.ATTACHMENTS, "LOG_FILENAMES": asked}
    caplog.set_level("INFO")

    log_event(events.presigned, events.Event, filename="salary.pdf", size_bytes=None)

    (record,) = caplog.records
    assert ("salary.pdf" in record.getMessage()) is shown
    assert record.getMessage().startswith("presigned")


def test_a_request_over_a_rate(user, api, told, settings):
    settings.ATTACHMENTS = {**settings.ATTACHMENTS, "PRESIGN_RATE": "1/hour"}
    body = {"filename": "a.png", "content_type": "image/png"}

    answers = [
        api(user).post("/api/v1/attachments/presigned", body, format="json") for _ in range(2)
    ]

    assert [answer.status_code for answer in answers] == [201, 429]
    assert told("throttled") == [{"scope": "presign", "who": str(user.pk)}]
