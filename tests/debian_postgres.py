"""Debian's PostgreSQL: unlike the embedded one it ships contrib, and pg_trgm with it."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

START_SECONDS = 30


def find_programs() -> Path | None:
    """Where the newest one with pg_trgm is, if there is one."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    shipped = [
        program.parent
        for program in found
        if Path(f"/usr/share/postgresql/{program.parts[4]}/extension/pg_trgm.control").exists()
    ]
    return shipped[-1] if shipped else None


@contextmanager
def run_postgres(programs: Path, directory: Path) -> Iterator[str]:
    """Run one that keeps nothing, on a Unix socket; give its URL."""
    # It refuses to run as root; Debian makes this user for it.
    user = {"user": "postgres"} if os.getuid() == 0 else {}
    directory.chmod(0o777)
    data = directory / "data"
    subprocess.run(
        [programs / "initdb", "-D", data, "-A", "trust", "-U", "nodus", "-E", "UTF8", "-N"],
        check=True,
        capture_output=True,
        cwd="/",
        **user,
    )
    options = ["-D", data, "-k", directory, "-c", "listen_addresses=", "-F"]
    process = subprocess.Popen(
        [programs / "postgres", *options], cwd="/", stderr=subprocess.DEVNULL, **user
    )
    url = f"postgres://nodus@/postgres?host={directory}"
    try:
        _wait_for(url)
        yield url
    finally:
        process.send_signal(signal.SIGINT)  # without waiting for its clients
        process.wait()


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            psycopg.connect(url).close()
            return
        except psycopg.OperationalError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
