"""Keys in the store, as people may see them."""

import re

PROBE_MARK = "check-storage-"
"""In the place of an attachment's id: the object is a probe of the store, and nobody's file."""
QUARANTINE = "quarantine/"
"""Where copies wait for the scanner."""
THUMBNAILS = "thumbnails/"
_OF_A_COPY = re.compile(r"((?:attachments|quarantine|thumbnails)/[^/\s]+/)[^\s\"'?]+")
_SIGNATURE = re.compile(r"\?[^\s\"'?]*X-Amz-[^\s\"']+")


def hide_nonce(text: str) -> str:
    """Let keys and addresses in the text name their attachment, but open nothing.

    The key of a copy is a secret until the copy is ready; a signed address does what it says.
    """
    return _SIGNATURE.sub("?…", _OF_A_COPY.sub(r"\1…", text))
