"""Keys in the store, as people may see them."""

import re

_OF_A_COPY = re.compile(r"((?:attachments|quarantine|thumbnails)/[^/\s]+/)[^\s\"'?]+")


def hide_nonce(text: str) -> str:
    """Let keys in the text name their attachment, but open nothing.

    The key of a copy is a secret until the copy is ready.
    """
    return _OF_A_COPY.sub(r"\1…", text)
