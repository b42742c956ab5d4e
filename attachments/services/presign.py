"""Presign: rows and signed forms, without a call to the store."""

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.utils import timezone

from attachments import storage
from attachments.conf import conf
from attachments.errors import (
    AttachmentError,
    ContentTypeNotAllowed,
    FileTooLarge,
    IdempotencyKeyReused,
    InvalidIdempotencyKey,
    InvalidSize,
    NotFound,
)
from attachments.models import Attachment, IdempotencyKey
from attachments.policy import Limits, User, get_limits
from attachments.rules.checksums import clean_checksum
from attachments.rules.content_types import choose_content_type
from attachments.rules.filenames import clean_filename
from attachments.rules.metadata import clean_metadata
from attachments.services.linking import check_linkable, reserve_room
from attachments.services.quotas import insert_what_fits
from attachments.services.telling import tell_presigned

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


def presign_upload(*, user: User, idempotency_key: str | None = None, **request: Any) -> Ticket:
    """Make a pending attachment and sign the form that takes exactly the declared file.

    ``request`` has ``filename`` and ``content_type``, and may have ``size_bytes``,
    ``checksum_sha256``, ``message_id`` and ``metadata``. Raises the ``InvalidInput`` errors,
    ``NotFound`` for the message, ``TooManyAttachments``, ``IdempotencyKeyReused``,
    ``QuotaExceeded``, ``TooManyUnconfirmed``; ``StorageUnavailable`` only until this process has
    seen the bucket.
    """
    (ticket,) = _presign({"": request}, user=user, idempotency_key=idempotency_key)
    return ticket


def presign_uploads(
    *, user: User, files: Sequence[Mapping[str, Any]], idempotency_key: str | None = None
) -> list[Ticket]:
    """Presign several files, all or none; the tickets are in the order of the files.

    Raises as ``presign_upload``; ``attr`` then begins with the file, as ``files.3.filename``.
    """
    requests = {f"files.{number}.": request for number, request in enumerate(files)}
    return _presign(requests, user=user, idempotency_key=idempotency_key)


@tell_presigned
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
            stored = _insert(attachments, user=user, limits=limits)
        else:
            stored = _insert_once(attachments, user=user, limits=limits, key=idempotency_key)
    except IntegrityError as error:  # the message went since it was looked at
        raise NotFound(attr="message_id") from error
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
    if size_bytes is None:
        return None
    if size_bytes < 1:
        raise InvalidSize(attr="size_bytes")
    if size_bytes > limits.max_size_bytes:
        raise FileTooLarge(
            attr="size_bytes", size_bytes=size_bytes, max_size_bytes=limits.max_size_bytes
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


def _insert(
    attachments: list[Attachment],
    *,
    user: User,
    limits: Limits,
    renewed: Sequence[Attachment] = (),
) -> list[Attachment]:
    """All the rows in one statement; ``renewed`` are there, and are to count again.

    Raises ``NotFound``, ``TooManyAttachments``, ``QuotaExceeded``, ``TooManyUnconfirmed``.
    """
    messages = Counter(item.message_id for item in attachments if item.message_id is not None)
    with transaction.atomic() if messages else nullcontext():
        for message_id, count in sorted(messages.items()):
            reserve_room(message_id=message_id, count=count)
        insert_what_fits(user=user, limits=limits, attachments=attachments, renewed=renewed)
    return attachments


def _insert_once(
    attachments: list[Attachment], *, user: User, limits: Limits, key: str
) -> list[Attachment]:
    """Insert the rows, or give those that the same request made before.

    The unique constraint decides between two requests that arrive at the same moment. A row that
    was refused or deleted since has a new one in its place; if all were, the key is free.
    """
    if not 0 < len(key) <= MAX_IDEMPOTENCY_KEY_LENGTH:
        raise InvalidIdempotencyKey(attr="Idempotency-Key", max_length=MAX_IDEMPOTENCY_KEY_LENGTH)
    fingerprint = _make_fingerprint(attachments)
    expires_at = timezone.now() + IDEMPOTENCY_KEY_LIFETIME
    with transaction.atomic():
        record, _ = IdempotencyKey.objects.select_for_update().get_or_create(
            user_id=user.pk,
            key=key,
            defaults={"fingerprint": fingerprint, "expires_at": expires_at},
        )
        is_over = record.expires_at <= timezone.now()
        living = {} if is_over else _find_living(record.attachment_ids)
        if not living:  # it is new, or free again
            record.fingerprint, record.expires_at = fingerprint, expires_at
            record.attachment_ids = [str(attachment.pk) for attachment in attachments]
        elif record.fingerprint != fingerprint:
            raise IdempotencyKeyReused
        ids = record.attachment_ids
        stored = [living.get(pk, new) for pk, new in zip(ids, attachments, strict=True)]
        missing = [item for item in stored if str(item.pk) not in living]
        lapsed = [row for row in living.values() if row.has_lapsed]
        if missing or lapsed:
            _insert(missing, user=user, limits=limits, renewed=lapsed)
        if missing:
            record.attachment_ids = [str(item.pk) for item in stored]
            record.save()
        _prolong(living.values(), expires_at=attachments[0].expires_at)
    return stored


def _prolong(attachments: Collection[Attachment], *, expires_at: datetime) -> None:
    """The fresh form outlives the first one, and so does the time to confirm."""
    for attachment in attachments:
        attachment.expires_at = expires_at
    if attachments:
        Attachment.objects.filter(pk__in=[item.pk for item in attachments]).update(
            expires_at=expires_at
        )


def _find_living(ids: list[str]) -> dict[str, Attachment]:
    """Those that were neither deleted nor refused, by id."""
    refused = [Attachment.Status.REJECTED, Attachment.Status.INFECTED]
    rows = Attachment.objects.filter(pk__in=ids).exclude(status__in=refused)
    return {str(row.pk): row for row in rows}


def _make_fingerprint(attachments: list[Attachment]) -> str:
    """A digest of what was asked for, the same however the JSON was spelled."""
    request = [
        [
            attachment.filename,
            attachment.content_type,
            attachment.size_bytes,
            attachment.checksum_sha256,
            str(attachment.message_id),
            attachment.metadata,
        ]
        for attachment in attachments
    ]
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()
