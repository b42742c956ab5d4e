"""Addresses of servers, as settings have them."""

from urllib.parse import SplitResult, urlsplit


def is_address(text: str) -> bool:
    """Whether it is an absolute http(s) address, to which paths may be added."""
    url = _split(text)
    return url is not None and url.scheme in {"http", "https"} and bool(url.hostname)


def is_origin(text: str) -> bool:
    """Whether a browser may send it as ``Origin``, or it stands for several of them by a ``*``.

    Apps have schemes of their own, as ``capacitor://localhost``.
    """
    if text in {"*", "null"}:
        return True
    url = _split(text)
    return url is not None and bool(url.scheme and url.netloc) and not url.path and "@" not in text


def is_clamd_address(text: str) -> bool:
    """Whether it is ``tcp://host:port``, where the port may lack, or ``unix:///path``."""
    url = _split(text)
    if url is None:
        return False
    is_tcp = url.scheme == "tcp" and bool(url.hostname) and url.path in {"", "/"}
    return is_tcp or (url.scheme == "unix" and not url.netloc and len(url.path) > 1)


def _split(text: str) -> SplitResult | None:
    """None for what is no address, or has more than a path."""
    try:
        url = urlsplit(text)
        _ = url.port  # raises for one that is no number
    except ValueError:  # this, or half an IPv6 address
        return None
    is_more = "?" in text or "#" in text or any(map(str.isspace, text))
    return None if is_more else url
