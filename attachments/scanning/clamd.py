"""ClamAV's daemon, clamd. docs/decisions/0019-scanning.md tells why its protocol is spoken here.

https://docs.clamav.net/manual/Usage/Scanning.html#clamd: a command is ``z``, its name and a NUL
byte. INSTREAM takes chunks, each after its length in four bytes, until one of no length.
"""

import re
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from time import monotonic
from urllib.parse import SplitResult, urlsplit

from attachments.conf import conf
from attachments.errors import ScannerUnavailable
from attachments.scanning.scanner import Outcome, Verdict

DEFAULT_PORT = 3310
CONNECT_SECONDS = 5
SEND_SECONDS = 30  # for one chunk
# clamd itself gives up a file after its MaxScanTime, by default two minutes.
ANSWER_SECONDS = 150
MAX_ANSWER_BYTES = 4096
MAX_CHUNK_BYTES = 2**18

# No more than the row can keep.
_VERSION = re.compile(r"(?P<scanner>ClamAV [ -.0-~]{1,90})(?:/(?P<signatures>[0-9]{1,18})/.*)?")
_FOUND = re.compile(r"stream: (?P<name>[!-~]+) FOUND")
_TOO_LARGE = "INSTREAM size limit exceeded. ERROR"
# What clamd reports as found where it could not look: by AlertExceedsMax, by AlertEncrypted.
_UNSCANNABLE = ("Heuristics.Limits.Exceeded", "Heuristics.Encrypted")


class ClamdScanner:
    """Streams a file to the clamd at ``ATTACHMENTS["CLAMAV_URL"]``, a chunk in memory at a time."""

    def scan(self, chunks: Iterable[bytes]) -> Verdict:
        """Judge a file of these bytes. Raises ``ScannerUnavailable``."""
        # Asked first: signatures that clamd loads meanwhile are newer than the row says, not older.
        version = _VERSION.fullmatch(_ask_version())
        if not version:
            raise ScannerUnavailable(reason="VERSION is not answered as clamd does")
        outcome, reason = _judge(_stream(chunks))
        signatures = version["signatures"]
        return Verdict(
            outcome=outcome,
            reason=reason,
            scanner=version["scanner"],
            signatures_version=int(signatures) if signatures else None,
        )

    def ping(self) -> None:
        """Raises ``ScannerUnavailable`` unless clamd answers."""
        with _connect() as connection:
            connection.send(b"zPING\0")
            if connection.read_answer(CONNECT_SECONDS) != "PONG":
                raise ScannerUnavailable(reason="PING is not answered as clamd does")


def _ask_version() -> str:
    with _connect() as connection:
        connection.send(b"zVERSION\0")
        return connection.read_answer(CONNECT_SECONDS)


def _stream(chunks: Iterable[bytes]) -> str:
    with _connect() as connection:
        connection.send(b"zINSTREAM\0")
        try:
            for chunk in _split(chunks):
                connection.send(len(chunk).to_bytes(4, "big") + chunk)
            connection.send(bytes(4))
        except _Refused:  # clamd answers before the end if it does not want the rest
            answer = connection.read_answer(SEND_SECONDS)
            if answer != _TOO_LARGE:
                raise ScannerUnavailable(reason=f"an answer before the end: {answer}") from None
            return answer
        return connection.read_answer(ANSWER_SECONDS)


def _split(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """As clamd takes them: not too long, and none empty, which would be the end."""
    for chunk in chunks:
        for start in range(0, len(chunk), MAX_CHUNK_BYTES):
            yield chunk[start : start + MAX_CHUNK_BYTES]


def _judge(answer: str) -> tuple[Outcome, str]:
    """What the answer says of the file. Only the one answer that says so is clean."""
    if answer == "stream: OK":
        return Outcome.CLEAN, ""
    if answer == _TOO_LARGE:
        return Outcome.UNSCANNABLE, "INSTREAM size limit exceeded"
    if found := _FOUND.fullmatch(answer):
        is_limit = found["name"].startswith(_UNSCANNABLE)
        return (Outcome.UNSCANNABLE if is_limit else Outcome.INFECTED), found["name"]
    raise ScannerUnavailable(reason=f"an unknown answer: {answer}")


class _Refused(Exception):
    """clamd takes no more bytes."""


@dataclass(frozen=True)
class _Connection:
    """Raises ``ScannerUnavailable`` for whatever goes wrong with the socket."""

    socket: socket.socket

    def send(self, content: bytes) -> None:
        """Raises ``_Refused`` if clamd has answered already, or takes no more."""
        with _translate_errors():
            self.socket.settimeout(0)
            with suppress(BlockingIOError):
                self.socket.recv(1, socket.MSG_PEEK)
                raise _Refused
            self.socket.settimeout(SEND_SECONDS)
            try:
                self.socket.sendall(content)
            except (BrokenPipeError, ConnectionResetError):
                raise _Refused from None

    def read_answer(self, seconds: float) -> str:
        """One line that ends in a NUL byte, and within so many seconds."""
        deadline = monotonic() + seconds
        answer = b""
        while not answer.endswith(b"\0"):
            with _translate_errors():
                self.socket.settimeout(max(deadline - monotonic(), 0.001))
                received = self.socket.recv(MAX_ANSWER_BYTES)
            answer += received
            if not received or len(answer) > MAX_ANSWER_BYTES:
                raise ScannerUnavailable(reason="the connection ended without an answer")
        return answer[:-1].decode(errors="replace").strip()


@contextmanager
def _connect() -> Iterator[_Connection]:
    with _translate_errors():
        opened = _open_socket(urlsplit(conf.clamav_url))
    with opened:
        yield _Connection(opened)


def _open_socket(url: SplitResult) -> socket.socket:
    if url.scheme != "unix":
        return socket.create_connection(
            (url.hostname or "", url.port or DEFAULT_PORT), CONNECT_SECONDS
        )
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        opened.settimeout(CONNECT_SECONDS)
        opened.connect(url.path)
    except OSError:
        opened.close()
        raise
    return opened


@contextmanager
def _translate_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ScannerUnavailable(reason=str(error) or type(error).__name__) from error
