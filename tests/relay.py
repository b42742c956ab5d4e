"""A relay in front of a server: it counts what passes, and can be slow."""

import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import quote

import psycopg


class CountingRelay(socketserver.ThreadingTCPServer):
    """A port that passes everything on to another, both ways, and counts the bytes."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, connect: Callable[[], socket.socket]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.connect = connect
        self.delay_seconds = 0.0
        """For so long it keeps each piece, on either way."""
        self.sent_bytes = 0
        """By those who connect here."""
        self.received_bytes = 0
        """By those who connect here."""

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def handle_error(self, *_: Any) -> None:
        """The server behind it may be down: then the connection ends."""


class _Handler(socketserver.BaseRequestHandler):
    server: CountingRelay

    def handle(self) -> None:
        with self.server.connect() as upstream:
            back = threading.Thread(target=self._pass_back, args=(upstream,), daemon=True)
            back.start()
            with suppress(OSError):  # it was closed meanwhile
                for chunk in self._read(self.request):
                    self.server.sent_bytes += len(chunk)
                    upstream.sendall(chunk)
            _hang_up(upstream)
            back.join()

    def _pass_back(self, upstream: socket.socket) -> None:
        with suppress(OSError):
            for chunk in self._read(upstream):
                self.server.received_bytes += len(chunk)
                self.request.sendall(chunk)
        _hang_up(self.request)

    def _read(self, connection: socket.socket) -> Iterator[bytes]:
        while chunk := connection.recv(65536):
            time.sleep(self.server.delay_seconds)
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


def connect_to_server(host: str, port: int) -> socket.socket:
    """Connect to a PostgreSQL, whose host may be the directory of its socket."""
    if not host.startswith("/"):
        return socket.create_connection((host, port))
    return connect_to_path(f"{host}/.s.PGSQL.{port}")


def connect_to_path(path: str) -> socket.socket:
    """Connect to a Unix socket."""
    upstream = socket.socket(socket.AF_UNIX)
    try:
        upstream.connect(path)
    except OSError:
        upstream.close()
        raise
    return upstream


def name_database(database: psycopg.ConnectionInfo, *, port: int) -> str:
    """The address of this database behind a relay on ``port``."""
    login = f"{quote(database.user)}:{quote(database.password)}"
    return f"postgres://{login}@127.0.0.1:{port}/{database.dbname}"
