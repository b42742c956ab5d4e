"""Keys in the store, as people may see them."""

import re

PROBE_MARK = "check-storage-"
"""In the place of an attachment's id: the object is a probe of the store, and nobody's file."""
QUARANTINE = "quarantine/"
"""Where copies wait for the scanner."""
THUMBNAILS = "thumbnails/"
_OF_A_COPY = re.compile(r"((?:attachments|quarantine|thumbnails)/[^/\s]+/)[^\s\"'?]+")
_OWN = re.compile(
    r"(?:pending|quarantine|thumbnails)/|attachments/[0-9a-f-]{36}/[0-9a-f]{32}/[^/]+$"
)
_SIGNATURE = re.compile(r"\?[^\s\"'?]*X-Amz-[^\s\"']+")


def hide_nonce(text: str) -> str:
    """Let keys and addresses in the text name their attachment, but open nothing.

    The key of a copy is a secret until the copy is ready; a signed address does what it says.
    """
    return _SIGNATURE.sub("?…", _OF_A_COPY.sub(r"\1…", text))


def is_own_key(key: str) -> bool:
    """Whether a key is spelled as this app spells its keys; those of others may lie beside them."""
    return bool(_OWN.match(key))
