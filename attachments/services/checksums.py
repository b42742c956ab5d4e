"""The SHA-256 of a ready file that the store did not tell: a worker reads its bytes."""

from attachments import storage
from attachments.models import Attachment
from attachments.services.leases import DONE


def add_checksum(attachment: Attachment) -> None:
    """Raises ``StorageUnavailable``; then a later call does it."""
    try:
        found = storage.find_checksum(key=attachment.key)
    except storage.ObjectNotFound:
        return  # deleted meanwhile; if not, reconcile_storage reports it
    Attachment.objects.without_checksum().filter(
        pk=attachment.pk, storage_key=attachment.key
    ).update(checksum_sha256=found, **DONE)
