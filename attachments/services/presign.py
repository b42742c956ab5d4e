"""Presign: a row and a signed form, without a call to the store."""

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.utils import timezone

from attachments import storage
from attachments.conf import conf
from attachments.errors import (
    ContentTypeNotAllowed,
    FileTooLarge,
    IdempotencyKeyReused,
    InvalidIdempotencyKey,
    InvalidSize,
    NotFound,
)
from attachments.models import Attachment
from attachments.policy import User
from attachments.rules.checksums import clean_checksum
from attachments.rules.filenames import clean_filename
from attachments.rules.metadata import clean_metadata
from attachments.services.access import check_linkable

IDEMPOTENCY_KEY_LIFETIME = timedelta(hours=24)  # the contract
MAX_IDEMPOTENCY_KEY_LENGTH = 255


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


def presign_upload(
    *,
    user: User,
    filename: str,
    content_type: str,
    size_bytes: int | None = None,
    checksum_sha256: str | None = None,
    message_id: Any = None,
    metadata: dict[str, Any] | None = None,
    idempotency_key: str | None = None,
) -> Ticket:
    """Make a pending attachment and sign the form that takes exactly the declared file.

    Raises the ``InvalidInput`` errors, ``NotFound`` for the message, ``IdempotencyKeyReused``;
    ``StorageUnavailable`` only until this process has seen the bucket.
    """
    attachment = Attachment(
        user_id=user.pk,
        filename=clean_filename(filename),
        content_type=_clean_content_type(content_type),
        size_bytes=_clean_size(size_bytes),
        checksum_sha256=clean_checksum(checksum_sha256) if checksum_sha256 else "",
        message_id=message_id,
        metadata=clean_metadata({} if metadata is None else metadata),
        expires_at=timezone.now() + conf.upload_expires_in,
    )
    attachment.storage_key = attachment.pending_key
    if message_id is not None:
        check_linkable(message_id=message_id, user=user)
    storage.ensure_bucket()
    if idempotency_key is None:
        _save(attachment)
        return _sign_ticket(attachment, is_replayed=False)
    stored = _save_once(attachment, key=idempotency_key)
    return _sign_ticket(stored, is_replayed=stored is not attachment)


def _clean_content_type(content_type: str) -> str:
    if content_type not in conf.allowed_content_types:
        raise ContentTypeNotAllowed(
            attr="content_type",
            allowed=", ".join(conf.allowed_content_types),
        )
    return content_type


def _clean_size(size_bytes: int | None) -> int | None:
    if size_bytes is None:
        return None
    if size_bytes < 1:
        raise InvalidSize(attr="size_bytes")
    if size_bytes > conf.max_size_bytes:
        raise FileTooLarge(
            attr="size_bytes", size_bytes=size_bytes, max_size_bytes=conf.max_size_bytes
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


def _save(attachment: Attachment) -> None:
    try:
        attachment.save(force_insert=True)
    except IntegrityError as error:  # the message went since it was looked at
        raise NotFound(attr="message_id") from error


def _save_once(attachment: Attachment, *, key: str) -> Attachment:
    """Insert the row, or give the one that the same request made before.

    The unique index decides between two requests that arrive at the same moment.
    """
    if not 0 < len(key) <= MAX_IDEMPOTENCY_KEY_LENGTH:
        raise InvalidIdempotencyKey(attr="Idempotency-Key", max_length=MAX_IDEMPOTENCY_KEY_LENGTH)
    attachment.idempotency_key = key
    attachment.idempotency_fingerprint = _make_fingerprint(attachment)
    same_key = Attachment.objects.filter(user_id=attachment.user_id, idempotency_key=key)
    try:
        with transaction.atomic():
            attachment.save(force_insert=True)
    except IntegrityError as error:
        cutoff = timezone.now() - IDEMPOTENCY_KEY_LIFETIME
        if same_key.filter(created_at__lt=cutoff).update(idempotency_key=None):
            return _save_once(attachment, key=key)
        stored = same_key.first()
        if stored is None:  # not the key: the message went since it was looked at
            raise NotFound(attr="message_id") from error
    else:
        return attachment
    if stored.idempotency_fingerprint != attachment.idempotency_fingerprint:
        raise IdempotencyKeyReused from None
    # The fresh form outlives the first one, and so does the time to confirm.
    stored.expires_at = attachment.expires_at
    Attachment.objects.filter(pk=stored.pk).update(expires_at=stored.expires_at)
    return stored


def _make_fingerprint(attachment: Attachment) -> str:
    """A digest of what was asked for, the same however the JSON was spelled."""
    request = [
        attachment.filename,
        attachment.content_type,
        attachment.size_bytes,
        attachment.checksum_sha256,
        str(attachment.message_id),
        attachment.metadata,
    ]
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()
