"""Who may read the metrics: known addresses, or whoever has a token."""

from collections.abc import Iterable
from ipaddress import ip_address, ip_network
from secrets import compare_digest

MIN_TOKEN_LENGTH = 16


def is_network(text: str) -> bool:
    """Whether it is an address, or a network as ``10.0.0.0/8``; all else is a token."""
    try:
        ip_network(text)
    except ValueError:
        return False
    return True


def is_allowed_caller(allowed: Iterable[str], *, address: str, token: str) -> bool:
    """Whether one of these is the caller's network or token. Nobody has an empty token."""
    return any(
        _has_address(item, address) if is_network(item) else _is_same(item, token)
        for item in allowed
    )


def _has_address(network: str, address: str) -> bool:
    try:
        return ip_address(address) in ip_network(network)
    except ValueError:  # a socket of this machine has none
        return False


def _is_same(secret: str, token: str) -> bool:
    return bool(token) and compare_digest(secret.encode(), token.encode())
