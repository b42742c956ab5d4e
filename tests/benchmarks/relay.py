"""Count what a process receives, by a relay in front of each server that it talks to."""

import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress


class CountingRelay(socketserver.ThreadingTCPServer):
    """A port that passes everything on to another, both ways, and counts the bytes."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, connect: Callable[[], socket.socket]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.connect = connect
        self.sent_bytes = 0
        """By those who connect here."""
        self.received_bytes = 0
        """By those who connect here."""

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class _Handler(socketserver.BaseRequestHandler):
    server: CountingRelay

    def handle(self) -> None:
        with self.server.connect() as upstream:
            back = threading.Thread(target=self._pass_back, args=(upstream,), daemon=True)
            back.start()
            for chunk in _read(self.request):
                self.server.sent_bytes += len(chunk)
                upstream.sendall(chunk)
            _hang_up(upstream)
            back.join()

    def _pass_back(self, upstream: socket.socket) -> None:
        for chunk in _read(upstream):
            self.server.received_bytes += len(chunk)
            self.request.sendall(chunk)
        _hang_up(self.request)


def _read(connection: socket.socket) -> Iterator[bytes]:
    with suppress(ConnectionError):
        while chunk := connection.recv(65536):
            yield chunk


def _hang_up(connection: socket.socket) -> None:
    with suppress(OSError):  # the other side may have been faster
        connection.shutdown(socket.SHUT_WR)


@contextmanager
def open_relay(connect: Callable[[], socket.socket]) -> Iterator[CountingRelay]:
    """Relay each connection to a new one, which ``connect`` gives."""
    with CountingRelay(connect) as relay:
        threading.Thread(target=relay.serve_forever, args=(0.05,), daemon=True).start()
        yield relay
        relay.shutdown()
