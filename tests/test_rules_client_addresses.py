import pytest

from attachments.rules.client_addresses import name_client

PROXY = "10.0.0.1"


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "proxies", "name"),
    [
        # Nobody is trusted: the header is the client's own word.
        ("192.0.2.1", "", 0, "192.0.2.1"),
        ("192.0.2.1", "198.51.100.7", 0, "192.0.2.1"),
        # The proxy added the last address. What stands before it is made up.
        (PROXY, "198.51.100.7", 1, "198.51.100.7"),
        (PROXY, "203.0.113.9, 198.51.100.7", 1, "198.51.100.7"),
        (PROXY, "203.0.113.9, 198.51.100.7, 10.0.0.2", 2, "198.51.100.7"),
        # It did not come through all of them.
        (PROXY, "198.51.100.7", 2, PROXY),
        (PROXY, "", 1, PROXY),
        # Not an address.
        (PROXY, "unknown", 1, PROXY),
        (PROXY, "198.51.100.7, x", 1, PROXY),
        ("", "", 0, ""),
        ("", "198.51.100.7", 1, "198.51.100.7"),  # the proxy comes by a Unix socket
        # With a port.
        (PROXY, "198.51.100.7:5000", 1, "198.51.100.7"),
        (PROXY, "[2001:db8::1]:5000", 1, "2001:db8::/64"),
        # Of IPv6, whoever has one address has the whole network.
        ("2001:db8::1", "", 0, "2001:db8::/64"),
        ("2001:db8:0:0:ffff::2", "", 0, "2001:db8::/64"),
        ("2001:db8:0:1::1", "", 0, "2001:db8:0:1::/64"),
        ("::ffff:192.0.2.1", "", 0, "192.0.2.1"),
        ("fe80::1%eth0", "", 0, "fe80::/64"),
    ],
)
def test_who_a_request_comes_from(peer, forwarded_for, proxies, name):
    assert name_client(peer=peer, forwarded_for=forwarded_for, trusted_proxies=proxies) == name
