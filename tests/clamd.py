"""ClamAV's daemon for tests: Debian's own, with one signature; and one that plays a part."""

import io
import shutil
import socket
import socketserver
import subprocess
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.relay import connect_to_path

EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
SIGNATURE = "Eicar-Test-Signature"
FOUND = f"{SIGNATURE}.UNOFFICIAL"
STREAM_MAX_BYTES = 4 * 2**20
START_SECONDS = 30


@dataclass(kw_only=True)
class RealClamd:
    """One that knows EICAR and nothing else, on a Unix socket."""

    directory: Path
    config: str = ""
    """More lines of clamd.conf."""

    @property
    def socket_path(self) -> Path:
        return self.directory / "clamd.sock"

    @property
    def url(self) -> str:
        return f"unix://{self.socket_path}"

    def start(self) -> None:
        database = self.directory / "database"
        database.mkdir(exist_ok=True)
        (database / "test.ndb").write_text(f"{SIGNATURE}:0:*:{EICAR.hex()}\n")
        config = self.directory / "clamd.conf"
        config.write_text(
            f"Foreground yes\nDatabaseDirectory {database}\nLocalSocket {self.socket_path}\n"
            f"TemporaryDirectory {self.directory}\nMaxThreads 4\n{self.config}\n"
        )
        log = self.directory / "clamd.log"
        with log.open("wb") as output:
            self._process = subprocess.Popen(["clamd", "-c", config], stdout=output, stderr=output)
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            assert self._process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)

    @property
    def pid(self) -> int:
        return self._process.pid

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()

    def connect(self) -> socket.socket:
        return connect_to_path(str(self.socket_path))

    def _answers(self) -> bool:
        with suppress(OSError), self.connect() as opened:
            opened.sendall(b"zPING\0")
            return opened.recv(16) == b"PONG\0"
        return False


def is_clamd_installed() -> bool:
    return shutil.which("clamd") is not None


def nest(content: bytes, *, depth: int) -> bytes:
    """An archive in an archive, so many times."""
    for _ in range(depth):
        outer = io.BytesIO()
        with zipfile.ZipFile(outer, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("inner", content)
        content = outer.getvalue()
    return content


Part = Callable[[Any], None]
"""What a fake does with the connection that a scan came on."""


class FakeClamd(socketserver.ThreadingTCPServer):
    """Answers VERSION well, or as it is told, and plays its part when it is to scan."""

    daemon_threads = True
    block_on_close = False

    def __init__(
        self, part: Part, version: bytes = b"ClamAV 1.4.3/27500/Mon Jan  6 2025\0"
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.part, self.version = part, version
        self.scans = 0
        self.is_over = threading.Event()
        """For parts that wait until the test is over."""

    @property
    def url(self) -> str:
        return f"tcp://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, *args: Any) -> None:
        """A client that hangs up is no news."""


class _Handler(socketserver.StreamRequestHandler):
    server: FakeClamd

    def handle(self) -> None:
        command = b""
        while not command.endswith(b"\0"):
            byte = self.rfile.read(1)
            if not byte:
                return
            command += byte
        if command == b"zVERSION\0":
            self.wfile.write(self.server.version)
        else:
            self.server.scans += 1
            self.server.part(self)


@contextmanager
def play(part: Part, **options: Any) -> Iterator[FakeClamd]:
    with FakeClamd(part, **options) as fake:
        threading.Thread(target=fake.serve_forever, args=(0.02,), daemon=True).start()
        yield fake
        fake.shutdown()


def read_file(connection: Any) -> bytes:
    """All chunks up to the empty one. Raises ``EOFError`` if the client hangs up before."""
    content = b""
    while size := connection.rfile.read(4):
        if not any(size):
            return content
        content += connection.rfile.read(int.from_bytes(size, "big"))
    raise EOFError


def answer(text: bytes) -> Part:
    """Read the file, then answer so."""

    def give(connection: Any) -> None:
        read_file(connection)
        connection.wfile.write(text)

    return give


def answer_early(text: bytes) -> Part:
    """Answer after the first chunk, and hang up."""

    def give(connection: Any) -> None:
        connection.rfile.read(int.from_bytes(connection.rfile.read(4), "big"))
        connection.wfile.write(text)

    return give
