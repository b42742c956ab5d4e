"""Presign: rows and signed forms, without a call to the store."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import IntegrityError
from django.utils import timezone

from attachments import storage
from attachments.conf import conf
from attachments.errors import (
    AttachmentError,
    ContentTypeNotAllowed,
    FileTooLarge,
    InvalidSize,
    NotFound,
)
from attachments.models import Attachment
from attachments.policy import Limits, User, get_limits
from attachments.rules.checksums import clean_checksum
from attachments.rules.content_types import choose_content_type
from attachments.rules.filenames import clean_filename
from attachments.rules.metadata import clean_metadata
from attachments.services.inserting import insert, insert_once
from attachments.services.linking import check_linkable
from attachments.services.telling import tell_batch_presigned, tell_presigned, tell_refused


@dataclass(frozen=True, kw_only=True)
class Ticket:
    """What a client needs to put its file into the store."""

    attachment_id: UUID
    url: str
    fields: dict[str, str]
    """POST these first, then the file as the last field, ``file``."""
    expires_at: datetime
    expires_in: int
    """Seconds."""
    max_size_bytes: int
    is_replayed: bool
    """Whether an earlier request with the same Idempotency-Key made the attachment."""


def presign_upload(*, user: User, idempotency_key: str | None = None, **request: Any) -> Ticket:
    """Make a pending attachment and sign the form that takes exactly the declared file.

    ``request`` has ``filename`` and ``content_type``, and may have ``size_bytes``,
    ``checksum_sha256``, ``message_id`` and ``metadata``. Raises the ``InvalidInput`` errors,
    ``NotFound`` for the message, ``TooManyAttachments``, ``IdempotencyKeyReused``,
    ``QuotaExceeded``, ``TooManyUnconfirmed``; ``StorageUnavailable`` only until this process has
    seen the bucket.
    """
    (ticket,) = _presign({"": request}, user=user, idempotency_key=idempotency_key)
    tell_presigned(ticket, request, user=user)
    return ticket


def presign_uploads(
    *, user: User, files: Sequence[Mapping[str, Any]], idempotency_key: str | None = None
) -> list[Ticket]:
    """Presign several files, all or none; the tickets are in the order of the files.

    Raises as ``presign_upload``; ``attr`` then begins with the file, as ``files.3.filename``.
    """
    requests = {f"files.{number}.": request for number, request in enumerate(files)}
    tickets = _presign(requests, user=user, idempotency_key=idempotency_key)
    tell_batch_presigned(tickets, user=user)
    return tickets


@tell_refused
def _presign(
    requests: Mapping[str, Mapping[str, Any]], *, user: User, idempotency_key: str | None
) -> list[Ticket]:
    """``requests`` by what their fields begin with in errors."""
    limits = get_limits(user)
    attachments = []
    checked: set[Any] = {None}
    for prefix, request in requests.items():
        try:
            attachments.append(attachment := _make_attachment(user, limits, **request))
            if attachment.message_id not in checked:
                check_linkable(message_id=attachment.message_id, user=user)
                checked.add(attachment.message_id)
        except AttachmentError as error:
            error.attr = f"{prefix}{error.attr}"
            raise
    storage.ensure_bucket(has_files=_has_files)
    try:
        if idempotency_key is None:
            stored = insert(attachments, user=user, limits=limits)
        else:
            stored = insert_once(attachments, user=user, limits=limits, key=idempotency_key)
    except IntegrityError as error:  # the user was deleted meanwhile; a message cannot be
        raise NotFound from error
    return [
        _sign_ticket(attachment, is_replayed=attachment is not new)
        for attachment, new in zip(stored, attachments, strict=True)
    ]


def _has_files() -> bool:
    return Attachment.objects.ready().exists()


def _make_attachment(
    user: User,
    limits: Limits,
    *,
    filename: str,
    content_type: str,
    size_bytes: int | None = None,
    checksum_sha256: str | None = None,
    message_id: Any = None,
    metadata: dict[str, Any] | None = None,
) -> Attachment:
    attachment = Attachment(
        user_id=user.pk,
        filename=clean_filename(filename),
        content_type=_clean_content_type(content_type, limits),
        size_bytes=_clean_size(size_bytes, limits),
        max_size_bytes=limits.max_size_bytes if size_bytes is None else None,
        checksum_sha256="" if checksum_sha256 is None else clean_checksum(checksum_sha256),
        message_id=message_id,
        metadata=clean_metadata({} if metadata is None else metadata),
        expires_at=timezone.now() + conf.upload_expires_in,
    )
    attachment.storage_key = attachment.pending_key
    return attachment


def _clean_content_type(content_type: str, limits: Limits) -> str:
    chosen = choose_content_type(content_type, limits.content_types)
    if chosen is None:
        raise ContentTypeNotAllowed(attr="content_type", allowed=", ".join(limits.content_types))
    return chosen


def _clean_size(size_bytes: int | None, limits: Limits) -> int | None:
    least = 1 if size_bytes is None else size_bytes
    if least < 1:
        raise InvalidSize(attr="size_bytes")
    if least > limits.max_size_bytes:
        raise FileTooLarge(
            attr="size_bytes", size_bytes=least, max_size_bytes=limits.max_size_bytes
        )
    return size_bytes


def _sign_ticket(attachment: Attachment, *, is_replayed: bool) -> Ticket:
    form = storage.sign_upload(
        key=attachment.pending_key,
        content_type=attachment.content_type,
        size_range=attachment.size_range,
        checksum_sha256=attachment.checksum_sha256,
        expires_in=conf.upload_expires_in,
    )
    return Ticket(
        attachment_id=attachment.pk,
        url=form.url,
        fields=form.fields,
        expires_at=attachment.expires_at,
        expires_in=int(conf.upload_expires_in.total_seconds()),
        max_size_bytes=attachment.size_range[1],
        is_replayed=is_replayed,
    )
