"""A load generator that leaves the processors to the server: one thread, raw sockets."""

import json
import selectors
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

TIMEOUT_SECONDS = 30


class WrongAnswer(Exception):
    """An answer was not 2xx: a benchmark of refusals would measure nothing."""


@dataclass(frozen=True, kw_only=True)
class Turn:
    """What one run of one kind of request gave."""

    requests_per_second: float
    bodies: list[bytes]


@dataclass(eq=False)
class _Connection:
    socket: socket.socket
    received: bytearray = field(default_factory=bytearray)


class Load:
    """Keep-alive connections. Each sends its next request as soon as it has an answer."""

    def __init__(self, connections: list[socket.socket]) -> None:
        self._selector = selectors.DefaultSelector()
        self._connections = [_Connection(connection) for connection in connections]
        for connection in self._connections:
            self._selector.register(connection.socket, selectors.EVENT_READ, connection)

    def run(self, requests: Sequence[bytes]) -> Turn:
        """Send all requests; raise ``WrongAnswer`` at the first answer that is not 2xx."""
        bodies: list[bytes] = []
        waiting = iter(requests)
        started = time.perf_counter()
        for connection, request in zip(self._connections, waiting, strict=False):
            connection.socket.sendall(request)
        while len(bodies) < len(requests):
            events = self._selector.select(TIMEOUT_SECONDS)
            if not events:
                raise WrongAnswer(f"none within {TIMEOUT_SECONDS} s")
            for key, _ in events:
                body = _receive(key.data)
                if body is None:
                    continue
                bodies.append(body)
                if request := next(waiting, None):
                    key.data.socket.sendall(request)
        seconds = time.perf_counter() - started
        return Turn(requests_per_second=len(bodies) / seconds, bodies=bodies)


@contextmanager
def open_load(port: int, *, connections: int) -> Iterator[Load]:
    """Connect to a server on this machine. All turns inside share the connections."""
    sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(connections)]
    try:
        yield Load(sockets)
    finally:
        for connection in sockets:
            connection.close()


def ask(port: int, request: bytes) -> Any:
    """Send one request, and give what its JSON body says."""
    with open_load(port, connections=1) as load:
        return json.loads(load.run([request]).bodies[0])


def make_request(method: str, path: str, *, token: str, body: Any = None) -> bytes:
    """The bytes of a request as a REST client sends it."""
    content = b"" if body is None else json.dumps(body).encode()
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: localhost",
        f"Authorization: Bearer {token}",
        "Accept: application/json",
    ]
    if content:
        lines += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
    return "\r\n".join([*lines, "", ""]).encode() + content


def _receive(connection: _Connection) -> bytes | None:
    """Read what has arrived; give the body once the answer is whole."""
    received = connection.received
    chunk = connection.socket.recv(65536)
    received += chunk
    head, end, body = received.partition(b"\r\n\r\n")
    if not chunk or (end and not head.startswith(b"HTTP/1.1 2")):
        raise WrongAnswer(received.decode(errors="replace")[:1000] or "the connection was closed")
    if not end:
        return None
    _, has_length, rest = head.lower().partition(b"content-length:")
    if has_length:
        is_whole = len(body) >= int(rest.split(b"\r\n", 1)[0])
    else:  # it comes in chunks; nobody reads what these bodies say
        is_whole = body.endswith(b"\r\n0\r\n\r\n")
    if not is_whole:
        return None
    received.clear()
    return bytes(body)
