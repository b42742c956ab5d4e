"""A real Redis for tests: Debian's own, on a Unix socket."""

import shutil
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import redis

START_SECONDS = 30


@dataclass(kw_only=True)
class RealRedis:
    """One that keeps nothing on the disk."""

    directory: Path

    @property
    def socket_path(self) -> Path:
        return self.directory / "redis.sock"

    @property
    def url(self) -> str:
        return f"unix://{self.socket_path}"

    def start(self) -> None:
        options = ["--port", "0", "--unixsocket", self.socket_path, "--save", "", "--dir", "."]
        log = self.directory / "redis.log"
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                ["redis-server", *options], cwd=self.directory, stdout=output, stderr=output
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            assert self._process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)

    @property
    def pid(self) -> int:
        return self._process.pid

    def stop(self) -> None:
        """Kill it, also while it hangs."""
        self._process.kill()
        self._process.wait()
        self.socket_path.unlink(missing_ok=True)

    def hang(self) -> None:
        """It takes connections from now on, and answers none."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def _answers(self) -> bool:
        with suppress(redis.ConnectionError), redis.from_url(self.url) as client:
            return bool(client.ping())
        return False


def is_redis_installed() -> bool:
    return shutil.which("redis-server") is not None
