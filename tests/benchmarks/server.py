"""What every benchmark needs: real servers, a migrated database, nodus behind gunicorn."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import django
from django.core.management import call_command

from nodus.dev.embedded import StartFailed, find_free_ports, start_missing_services

START_TIMEOUT_SECONDS = 30
WORKERS = 2
END_SECONDS = 35  # a little more than gunicorn gives requests to end


@dataclass(frozen=True, kw_only=True)
class Server:
    port: int
    pid: int
    """Of gunicorn's arbiter; the workers are its children."""


def count_threads() -> int:
    """Of a server that ``serve`` starts. Its configuration reads the settings, thus the environment."""
    from nodus import gunicorn_conf

    return WORKERS * gunicorn_conf.threads


@contextmanager
def open_services(**environment: str) -> Iterator[Path]:
    """Start what the environment does not name, and set Django up on it; give a directory for logs.

    PostgreSQL is durable here, as in production: a commit waits for the disk.
    """
    with tempfile.TemporaryDirectory(prefix="nodus-bench-") as name:
        directory = Path(name)
        directory.chmod(0o755)  # PostgreSQL runs as another user if this runs as root
        os.environ.setdefault("S3_BUCKET", "benchmarks")
        variables, services = start_missing_services(data_dir=directory)
        with services:
            os.environ.update(variables | environment)
            os.environ["ATTACHMENTS_PRESIGN_RATE"] = "1000000/minute"  # counted, never refused
            os.environ["DJANGO_SETTINGS_MODULE"] = "tests.benchmarks.settings"
            django.setup()
            from attachments import storage

            call_command("migrate", verbosity=0)
            storage.setup_bucket()
            yield directory


@contextmanager
def serve(directory: Path, **environment: str) -> Iterator[Server]:
    """Serve nodus by gunicorn with its usual configuration, and with these variables.

    Idle connections stay open longer: on a busy machine a turn takes more than their usual time.
    """
    (port,) = find_free_ports(1)
    bind = {"BIND": f"127.0.0.1:{port}", "WEB_CONCURRENCY": str(WORKERS)}
    command = [sys.executable, "-m", "gunicorn", "-c", "python:nodus.gunicorn_conf"]
    command += ["--keep-alive", str(START_TIMEOUT_SECONDS)]
    with run_server(
        command,
        ready="Booting worker",
        log_path=directory / f"gunicorn-{port}.log",
        environment=bind | environment,
    ) as pid:
        yield Server(port=port, pid=pid)


@contextmanager
def run_server(
    command: list[str],
    *,
    ready: str,
    log_path: Path,
    environment: dict[str, str],
    cwd: str | None = None,
) -> Iterator[int]:
    """Run a server beside this process, and give its id once each worker has logged ``ready``."""
    with log_path.open("w") as log:
        process = subprocess.Popen(
            command, env={**os.environ, **environment}, cwd=cwd, stdout=log, stderr=log
        )
    try:
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while log_path.read_text().count(ready) < WORKERS:
            if time.monotonic() > deadline or process.poll() is not None:
                log_text = log_path.read_text()[-2000:]
                raise StartFailed(f"{' '.join(command)} did not start:\n{log_text}")
            time.sleep(0.1)
        yield process.pid
    finally:
        process.terminate()
        process.wait(END_SECONDS)
