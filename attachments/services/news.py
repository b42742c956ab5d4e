"""What is told of attachments: once for each change, after its commit."""

from typing import Any

from django.db import transaction
from django.utils import timezone

from attachments import events
from attachments.models import Attachment, AttachmentQuerySet


def tell_ready(attachment: Attachment) -> None:
    age = timezone.now() - attachment.created_at
    _tell(events.published, attachment, seconds=round(age.total_seconds(), 3))


def tell_refused(attachment: Attachment) -> None:
    """Of an attachment that has its error already."""
    _tell(events.refused, attachment, code=attachment.error["code"] if attachment.error else "")


def tell_deleted(attachment: Attachment, *, using: str) -> None:
    """Tell the host of this row. Of how many went, ``OwnNotes`` tells."""
    if events.attachment_deleted.receivers:
        facts = _name(attachment)
        transaction.on_commit(lambda: _tell_host_deleted(facts), using=using)


def tell_all_deleted(doomed: AttachmentQuerySet) -> None:
    """In the transaction that deletes these rows next. They are read only if the host listens."""
    if events.attachment_deleted.receivers:
        # Locked, so that no other deletion tells of them too.
        rows = doomed.select_for_update().only("user_id", "message_id").order_by("pk")
        facts = [_name(row) for row in rows]
        transaction.on_commit(lambda: _tell_host_deleted(*facts), using=doomed.db)


def _tell_host_deleted(*facts: dict[str, Any]) -> None:
    for fact in facts:
        events.attachment_deleted.send_robust(sender=Attachment, **fact)


def _name(row: Attachment) -> dict[str, Any]:
    return {"attachment_id": row.pk, "user_id": row.user_id, "message_id": row.message_id}


def _tell(event: events.Event, attachment: Attachment, **more: Any) -> None:
    facts = _name(attachment) | more
    facts |= {"content_type": attachment.content_type, "size_bytes": attachment.size_bytes}
    transaction.on_commit(lambda: event.tell(**facts))
