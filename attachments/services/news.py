"""What the host hears of attachments: once for each change, after its commit."""

from functools import partial
from typing import Any

from django.db import transaction
from django.dispatch import Signal

from attachments import events
from attachments.models import Attachment


def tell_ready(attachment: Attachment) -> None:
    _tell(events.attachment_ready, attachment)


def tell_refused(attachment: Attachment) -> None:
    error = attachment.error or {}
    _tell(events.attachment_refused, attachment, code=error.get("code", ""))


def tell_deleted(attachment: Attachment, *, using: str | None = None) -> None:
    _tell(events.attachment_deleted, attachment, using=using)


def _tell(signal: Signal, attachment: Attachment, *, using: str | None = None, **more: Any) -> None:
    if not signal.receivers:
        return
    send = partial(
        signal.send_robust,
        sender=Attachment,
        attachment_id=attachment.pk,
        user_id=attachment.user_id,
        message_id=attachment.message_id,
        **more,
    )
    transaction.on_commit(send, using=using)
