"""What an upload must be, whoever looks at it."""

from attachments.errors import SizeMismatch
from attachments.models import Attachment


def judge_size(attachment: Attachment, found: int) -> None:
    """Raises ``SizeMismatch`` for a size in bytes that was not declared, or is over the limit."""
    smallest, largest = attachment.size_range
    if not smallest <= found <= largest:
        expected = str(smallest) if smallest == largest else f"{smallest}–{largest}"
        raise SizeMismatch(found=found, expected=expected)
