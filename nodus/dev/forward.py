"""Pass connections of the local network on to a server of this machine, unchanged."""

import socket
from contextlib import suppress
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Thread

CHUNK_BYTES = 64 * 1024


class Forwarder(ThreadingTCPServer):
    """Listens on ``host`` at the port at which the server listens on 127.0.0.1."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, *, host: str, port: int) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), _Connection)
        Thread(target=self.serve_forever, name="forwarder", daemon=True).start()

    def stop(self) -> None:
        self.shutdown()
        self.server_close()


class _Connection(BaseRequestHandler):
    def handle(self) -> None:
        port = self.server.server_address[1]  # type: ignore[index]
        with suppress(OSError), socket.create_connection(("127.0.0.1", int(port))) as target:
            back = Thread(target=_copy, args=(target, self.request), daemon=True)
            back.start()
            _copy(self.request, target)
            back.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    """Until the source ends; then the target is told so."""
    with suppress(OSError):
        while chunk := source.recv(CHUNK_BYTES):
            target.sendall(chunk)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
