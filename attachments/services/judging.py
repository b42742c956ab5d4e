"""What an upload must be, whoever looks at it."""

from attachments import storage
from attachments.errors import ContentMismatch, SizeMismatch
from attachments.models import Attachment
from attachments.rules.content_types import matches_content_type


def judge_size(attachment: Attachment, found: int) -> None:
    """Raises ``SizeMismatch`` for a size in bytes that was not declared, or is over the limit."""
    smallest, largest = attachment.size_range
    if not smallest <= found <= largest:
        expected = str(smallest) if smallest == largest else f"{smallest}–{largest}"
        raise SizeMismatch(found=found, expected=expected)


def judge_type(attachment: Attachment, facts: storage.ObjectFacts, *, key: str) -> None:
    """Raises ``ContentMismatch`` if the object at ``key`` is not of the type that was declared."""

    def read_at(offset: int) -> bytes:
        return storage.read_range(key, start=offset)

    declared = attachment.content_type
    if not matches_content_type(facts.head, declared, read_at=read_at):
        raise ContentMismatch(declared=declared)
