"""Keys in the store, as people may see them."""

import re

_OF_A_COPY = re.compile(r"((?:attachments|quarantine)/[^/]+/).+", re.DOTALL)


def hide_nonce(key: str) -> str:
    """Name the attachment, but open nothing: the key of a copy is a secret until it is ready."""
    match = _OF_A_COPY.fullmatch(key)
    return f"{match[1]}…" if match else key
