"""Who a request comes from, as far as its address tells."""

import re
from ipaddress import IPv6Address, ip_address, ip_network

# As some proxies write it: 192.0.2.1:5000, [2001:db8::1]:5000
_WITH_PORT = re.compile(r"\[(?P<v6>[^\]]*)\](?::\d+)?|(?P<v4>[\d.]+):\d+")
_NETWORK_BITS = 64
"""Whoever has one address of IPv6 has all that begin with these bits."""


def name_client(*, peer: str, forwarded_for: str, trusted_proxies: int) -> str:
    """The client's address, of IPv6 its network; empty if nothing tells it.

    ``peer`` is who opened the connection. Each trusted proxy has added its own peer to the end of
    ``forwarded_for``; what stands before that is the client's own word.
    """
    hops = [peer, *reversed(forwarded_for.split(","))] if trusted_proxies else [peer]
    named = hops[trusted_proxies] if trusted_proxies < len(hops) else peer
    return _read(named) or _read(peer)


def _read(text: str) -> str:
    text = text.strip()
    if match := _WITH_PORT.fullmatch(text):
        text = match["v6"] or match["v4"] or ""
    try:
        address = ip_address(text)
    except ValueError:
        return ""
    if not isinstance(address, IPv6Address):
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ip_network((int(address), _NETWORK_BITS), strict=False))
