"""What a confirm changes beside the state: the message, and metadata."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import IntegrityError, transaction

from attachments.errors import AlreadyLinked, NotFound
from attachments.models import Attachment
from attachments.policy import User
from attachments.rules.metadata import clean_metadata
from attachments.services.linking import check_linkable, is_linkable, reserve_room


@dataclass(frozen=True, kw_only=True)
class Changes:
    """Checked; still to be made."""

    message_id: Any = None
    metadata: dict[str, Any] | None = None
    """Merged over what the row has."""

    @contextmanager
    def apply_to(self, attachment: Attachment) -> Iterator[dict[str, Any]]:
        """Give the fields to set; in a transaction, if others could change them meanwhile.

        Raises ``InvalidMetadata``, ``TooManyAttachments``, ``NotFound`` if the message is gone.
        """
        if self.message_id is None and self.metadata is None:
            yield {}
            return
        try:
            with transaction.atomic():
                yield self._make_fields(attachment)
        except IntegrityError as error:  # the message went since it was looked at
            raise NotFound(attr="message_id") from error

    def _make_fields(self, attachment: Attachment) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        if self.message_id is not None:
            reserve_room(message_id=self.message_id, count=1)
            fields["message_id"] = self.message_id
        if self.metadata is not None:
            rows = Attachment.objects.select_for_update().filter(pk=attachment.pk)
            metadata = rows.values_list("metadata", flat=True).first() or {}
            fields["metadata"] = clean_metadata({**metadata, **self.metadata})
        return fields


def plan_changes(
    attachment: Attachment, *, user: User, message_id: Any, metadata: dict[str, Any] | None
) -> Changes:
    """Check the input of a confirm before anything is done.

    Raises ``InvalidMetadata``, ``NotFound``, ``AlreadyLinked``.
    """
    if metadata is not None:
        clean_metadata({**attachment.metadata, **clean_metadata(metadata)})
    if message_id is None or message_id == attachment.message_id:
        return Changes(metadata=metadata)
    check_linkable(message_id=message_id, user=user)
    if attachment.message_id is not None:
        raise AlreadyLinked(attr="message_id")
    return Changes(message_id=message_id, metadata=metadata)


def keep_linkable_message(attachment: Attachment, *, user: User) -> dict[str, Any]:
    """Whoever presigned for a message may have lost the right since: then it hangs on none."""
    message_id = attachment.message_id
    if message_id is None or is_linkable(message_id=message_id, user=user):
        return {}
    return {"message_id": None}
