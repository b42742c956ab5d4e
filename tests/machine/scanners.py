"""The scanner as it is at the moment: none, clamd itself, one that is down, dies or is slow."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from tests import clamd

FOUND = f"stream: {clamd.SIGNATURE} FOUND\0".encode()


class Scanners:
    """``mode`` is off, on, down, dies or slow. Without clamd installed, a fake is asked."""

    def __init__(
        self, *, settings: Any, url: str, let_others: Callable[[str], None], stack: ExitStack
    ) -> None:
        self._settings, self._let_others = settings, let_others
        self.mode, self._meanwhile = "off", ""
        plays = {"on": self._judge, "dies": self._die, "slow": self._be_slow}
        self._urls = {
            mode: stack.enter_context(clamd.play(part)).url for mode, part in plays.items()
        }
        self._urls |= {"off": "", "down": "unix:///nonexistent/clamd.sock"}
        if url:
            self._urls["on"] = url

    def use(self, mode: str, meanwhile: str = "") -> None:
        self.mode, self._meanwhile = mode, meanwhile
        self._settings.ATTACHMENTS = {**self._settings.ATTACHMENTS, "CLAMAV_URL": self._urls[mode]}

    def _judge(self, connection: Any) -> None:
        is_infected = clamd.EICAR in clamd.read_file(connection)
        connection.wfile.write(FOUND if is_infected else b"stream: OK\0")

    def _die(self, connection: Any) -> None:
        connection.rfile.read(int.from_bytes(connection.rfile.read(4), "big"))

    def _be_slow(self, connection: Any) -> None:
        """Others go on while it thinks; the first time only, so that it ends."""
        is_infected = clamd.EICAR in clamd.read_file(connection)
        meanwhile, self._meanwhile = self._meanwhile, ""
        if meanwhile:
            self._let_others(meanwhile)
        connection.wfile.write(FOUND if is_infected else b"stream: OK\0")
