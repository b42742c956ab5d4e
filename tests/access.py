"""Files of each status, for tests of who may see them: rows alone, because nobody opens them."""

import hashlib
from datetime import timedelta
from typing import Any

from django.utils import timezone

from attachments.models import Attachment

STATUSES = list(Attachment.Status.values)


def make_nonce(status: str) -> str:
    return hashlib.md5(status.encode()).hexdigest()


def make_file(status: str, **fields: Any) -> Attachment:
    """A row as the services leave it in this status."""
    file = Attachment(
        status=status, filename=f"{status}-secret.png", content_type="image/png", **fields
    )
    now = timezone.now()
    file.expires_at = now + timedelta(hours=1)
    file.storage_key = file.pending_key
    nonce = make_nonce(status)
    match status:
        case "verifying":
            file.lease_expires_at = file.expires_at
            file.copy_key = f"attachments/{file.pk}/{nonce}/secret.png"
        case "scanning":
            file.lease_expires_at, file.waiting_since = file.expires_at, now
            file.storage_key = f"quarantine/{file.pk}/{nonce}"
        case "ready":
            file.size_bytes, file.confirmed_at, file.is_inspected = 1, now, True
            file.checksum_sha256 = "A" * 43 + "="
            file.storage_key = f"attachments/{file.pk}/{nonce}/secret.png"
        case "rejected":
            file.error = {"code": "content_mismatch", "params": {"declared": "image/png"}}
        case "infected":
            file.error = {"code": "infected", "params": {"signature": "EICAR"}}
        case _:
            assert status == "pending", "Say what such a row is like, and fill its cells."
    file.save()
    return file
