"""Where `make run` listens, and what it is called there: HOST of BIND, PORT and S3_PORT."""

import os
import re
import socket
import sys
from dataclasses import dataclass
from itertools import chain

from nodus.dev.demo_users import DEFAULT_PORT
from nodus.dev.embedded import PortTaken, check_port

DEFAULT_S3_PORT = 9000
MAX_PORT = 65535
DEFAULT_HOST = "127.0.0.1"
_DEFAULTS = {"BIND": DEFAULT_HOST, "PORT": DEFAULT_PORT, "S3_PORT": DEFAULT_S3_PORT}
LOCAL_HOSTS = {"localhost", "127.0.0.1", "[::1]"}
ANY_HOSTS = {"0.0.0.0", "[::]"}  # noqa: S104 (named, not bound)
_BIND = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[^:/\[\]]*)(?::(?P<port>\d*))?")


@dataclass(frozen=True, kw_only=True)
class Addresses:
    """Where the site and the store are to be found."""

    bind_host: str
    port: int
    s3_port: int

    @property
    def host(self) -> str:
        """The name by which clients reach this machine: its address in the network, if bound."""
        if self.bind_host in LOCAL_HOSTS:
            return "localhost"
        return _find_own_address() if self.bind_host in ANY_HOSTS else self.bind_host

    @property
    def is_local(self) -> bool:
        """Whether this machine alone reaches them."""
        return self.bind_host in LOCAL_HOSTS

    @property
    def base_url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def s3_url(self) -> str:
        return f"http://{self.host}:{self.s3_port}"

    def check_host(self) -> None:
        """End the program if BIND names no address of this machine."""
        host = self.bind_host.strip("[]")
        try:
            family = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0][0]
            with socket.socket(family) as probe:
                probe.bind((host, 0))
        except OSError:
            sys.exit(f"BIND names no address of this machine: {self.bind_host}")

    def describe_taken(self, name: str) -> str:
        """Say that the port ``name`` is taken, with a command that keeps what was asked for."""
        ports = {"PORT": self.port, "S3_PORT": self.s3_port}
        taken, others = ports[name], set(ports.values())
        values = {"BIND": self.bind_host, **ports, name: _find_free_port(taken, others)}
        hint = " ".join(f"{key}={values[key]}" for key in values if values[key] != _DEFAULTS[key])
        return f"Port {taken} is taken. Choose another: make run {hint}"


def read_addresses() -> Addresses:
    """Read them from the environment; end the program if they are none."""
    match = _BIND.fullmatch(os.environ.get("BIND", ""))
    if not match:
        sys.exit(f"BIND is a host, or host:port, not {os.environ['BIND']!r}.")
    addresses = Addresses(
        bind_host=match["host"] or DEFAULT_HOST,
        port=_read_port("PORT", match["port"] or str(DEFAULT_PORT)),
        s3_port=_read_port("S3_PORT", str(DEFAULT_S3_PORT)),
    )
    if addresses.port == addresses.s3_port and "S3_ENDPOINT_URL" not in os.environ:
        sys.exit(f"PORT and S3_PORT are both {addresses.port}: choose two.")
    return addresses


def _read_port(name: str, default: str) -> int:
    value = os.environ.get(name) or default
    if not value.isdecimal() or not 0 < int(value) <= MAX_PORT:
        sys.exit(f"{name} is a number from 1 to {MAX_PORT}, not {value!r}.")
    return int(value)


def _find_free_port(taken: int, others: set[int]) -> int:
    """The next one that nothing listens on and that was not chosen for something else."""
    for port in chain(range(taken + 1, MAX_PORT + 1), range(1024, taken)):
        try:
            check_port(port)
        except PortTaken:
            continue
        if port not in others:
            return port
    return taken


def _find_own_address() -> str:
    """The address by which this machine goes out; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # reserved for documentation: RFC 5737
        except OSError:
            return socket.gethostname()
        return str(probe.getsockname()[0])
