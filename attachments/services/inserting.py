"""New rows: all or none, as far as messages and quotas have room; once for an Idempotency-Key."""

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import nullcontext
from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from attachments.errors import IdempotencyKeyReused, InvalidIdempotencyKey
from attachments.models import Attachment, IdempotencyKey
from attachments.policy import Limits, User
from attachments.services.linking import reserve_room
from attachments.services.quotas import insert_what_fits

IDEMPOTENCY_KEY_LIFETIME = timedelta(hours=24)  # the contract
MAX_IDEMPOTENCY_KEY_LENGTH = 255


def insert(
    attachments: list[Attachment],
    *,
    user: User,
    limits: Limits,
    renewed: Sequence[Attachment] = (),
) -> list[Attachment]:
    """All the rows in one statement; ``renewed`` are there, and count from now on.

    Raises ``NotFound``, ``TooManyAttachments``, ``QuotaExceeded``, ``TooManyUnconfirmed``.
    """
    messages = Counter(item.message_id for item in attachments if item.message_id is not None)
    with transaction.atomic() if messages else nullcontext():
        for message_id, count in sorted(messages.items()):
            reserve_room(message_id=message_id, count=count)
        insert_what_fits(user=user, limits=limits, attachments=attachments, renewed=renewed)
    return attachments


def insert_once(
    attachments: list[Attachment], *, user: User, limits: Limits, key: str
) -> list[Attachment]:
    """Insert the rows, or give those that the same request made before.

    A row that was refused or deleted since has a new one in its place; if all were, the key is
    free. Raises as ``insert``, and ``InvalidIdempotencyKey``, ``IdempotencyKeyReused``.
    """
    if not 0 < len(key) <= MAX_IDEMPOTENCY_KEY_LENGTH:
        raise InvalidIdempotencyKey(attr="Idempotency-Key", max_length=MAX_IDEMPOTENCY_KEY_LENGTH)
    with transaction.atomic():
        record, living = _take_key(key, attachments, user=user)
        ids = record.attachment_ids
        stored = [living.get(pk, new) for pk, new in zip(ids, attachments, strict=True)]
        missing = [item for item in stored if str(item.pk) not in living]
        insert(missing, user=user, limits=limits, renewed=[*living.values()])
        if missing:
            record.attachment_ids = [str(item.pk) for item in stored]
            record.save()
        _prolong(living.values(), expires_at=attachments[0].expires_at)
    return stored


def _take_key(
    key: str, attachments: list[Attachment], *, user: User
) -> tuple[IdempotencyKey, dict[str, Attachment]]:
    """The record of the key, locked, and the rows that it still stands for, by id.

    The unique constraint decides between two requests that arrive at the same moment.
    """
    fingerprint = _make_fingerprint(attachments)
    expires_at = timezone.now() + IDEMPOTENCY_KEY_LIFETIME
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
    return record, living


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
