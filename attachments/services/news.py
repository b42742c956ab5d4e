"""What the host hears of attachments: once for each change, after its commit."""

from collections.abc import Sequence
from typing import Any

from django.db import transaction
from django.dispatch import Signal

from attachments import events
from attachments.models import Attachment, AttachmentQuerySet


def tell_ready(attachment: Attachment) -> None:
    _tell(events.attachment_ready, [attachment])


def tell_refused(attachment: Attachment) -> None:
    """Of an attachment that has its error already."""
    code = attachment.error["code"] if attachment.error else ""
    _tell(events.attachment_refused, [attachment], code=code)


def tell_deleted(attachment: Attachment, *, using: str) -> None:
    _tell(events.attachment_deleted, [attachment], using=using)


def tell_all_deleted(doomed: AttachmentQuerySet) -> None:
    """In the transaction that deletes these rows next. They are read only if the host listens."""
    if events.attachment_deleted.receivers:
        # Locked, so that no other deletion tells of them too.
        rows = doomed.select_for_update().only("user_id", "message_id").order_by("pk")
        _tell(events.attachment_deleted, list(rows), using=doomed.db)


def _tell(
    signal: Signal, attachments: Sequence[Attachment], *, using: str | None = None, **more: Any
) -> None:
    facts = [
        {"attachment_id": row.pk, "user_id": row.user_id, "message_id": row.message_id}
        for row in attachments
    ]

    def send() -> None:
        for fact in facts:
            signal.send_robust(sender=Attachment, **fact, **more)

    if signal.receivers:
        transaction.on_commit(send, using=using)
