"""nodus beside other stacks, on the same PostgreSQL, store and processors, in turns.

The peers are no part of this project. ``PEERS_DIR`` names the folder of their modules:
``fastapi_seed`` (FastAPI, SQLAlchemy, boto3: presign writes no row, confirm only asks HEAD) and
``django_peers`` (a REST framework view without middleware that answers a constant).
``PEERS_PYTHON`` names a Python that has what they need.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from urllib.parse import quote

from django.conf import settings
from django.db import connection

from nodus.dev.embedded import find_free_ports
from tests.benchmarks.client import FILE, FILES_PER_BATCH, Client
from tests.benchmarks.load import make_request, open_load
from tests.benchmarks.server import WORKERS, Server, count_threads, run_server
from tests.benchmarks.uploads import upload_small

CONNECTIONS = 16
CONFIRMING_CLIENTS = 4
DATABASE = "peers"
FASTAPI, DJANGO = "fastapi_seed", "django_peers"
HOW_TO_COMPARE = "No peers beside it: PEERS_PYTHON and PEERS_DIR name none."


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One kind of request, here and there."""

    name: str
    ours: float
    """Per second."""
    theirs: float
    ratio: float
    """The median of the rounds' ratios."""
    min_ratio: float | None

    @property
    def is_met(self) -> bool:
        return self.min_ratio is None or self.ratio >= self.min_ratio


@dataclass(frozen=True, kw_only=True)
class Peer:
    port: int
    token: str

    @property
    def client(self) -> Client:
        return Client(token=self.token)


@dataclass(frozen=True, kw_only=True)
class Side:
    """What one server is sent in each turn."""

    port: int
    make_requests: Callable[[], list[bytes]]
    connections: int = CONNECTIONS
    results_per_request: int = 1

    def run(self) -> float:
        """The results per second of one turn."""
        # New connections in each turn, because chance spreads them over the workers.
        with open_load(self.port, connections=self.connections) as load:
            turn = load.run(self.make_requests())
        return turn.requests_per_second * self.results_per_request


def measure_peers(
    directory: Path, server: Server, client: Client, *, rounds: int, requests: int
) -> list[Comparison] | None:
    """Ours beside theirs, by kind of request; None where no peers are named."""
    python, modules = os.environ.get("PEERS_PYTHON"), os.environ.get("PEERS_DIR")
    if not (python and modules):
        return None
    environment = _make_environment()
    with (
        _serve_fastapi(directory, python, modules, environment) as fastapi,
        _serve_django(directory, python, modules, environment) as django,
        _serve_bare_confirm(directory) as bare,
    ):
        ours = Peer(port=server.port, token=client.token)
        comparisons = _compare_reads(ours, fastapi, django, rounds=rounds, requests=requests)
        # Comes last, because the store goes on working after it.
        confirms = _compare_confirms(ours, fastapi, bare, rounds=rounds, requests=requests // 5)
        return [*comparisons, *confirms]


def _compare_reads(
    ours: Peer, fastapi: Peer, django: Peer, *, rounds: int, requests: int
) -> list[Comparison]:
    """What may be asked any number of times."""
    our_ready, their_ready = (_publish(peer) for peer in (ours, fastapi))
    presign = Side(port=ours.port, make_requests=lambda: [ours.client.presign()] * requests)
    batch = Side(
        port=ours.port,
        make_requests=lambda: [ours.client.presign_batch()] * (requests // 5),
        results_per_request=FILES_PER_BATCH,
    )
    detail = Side(port=ours.port, make_requests=lambda: [ours.client.detail(our_ready)] * requests)
    their_presign = Side(
        port=fastapi.port, make_requests=lambda: [fastapi.client.presign()] * requests
    )
    their_detail = Side(
        port=fastapi.port, make_requests=lambda: [fastapi.client.detail(their_ready)] * requests
    )
    floor = make_request("GET", "/floor", token=django.token)
    their_floor = Side(port=django.port, make_requests=lambda: [floor] * requests)
    return [
        _compare("presign", presign, their_presign, rounds=rounds, min_ratio=0.65),
        _compare("tickets by batches of 20", batch, their_presign, rounds=rounds, min_ratio=4.0),
        _compare("detail", detail, their_detail, rounds=rounds, min_ratio=1.4),
        _compare("presign to a bare view", presign, their_floor, rounds=rounds),
    ]


def _compare_confirms(
    ours: Peer, fastapi: Peer, bare_port: int, *, rounds: int, requests: int
) -> list[Comparison]:
    """FastAPI's only asks HEAD. What remains is a bare copy, read and two UPDATEs: the bound."""

    def confirm_ours(port: int) -> Side:
        ids = iter(_upload(ours, count=(1 + rounds) * requests))
        return _make_side(port, lambda: ours.client.confirm(next(ids)), requests)

    def confirm_theirs() -> Side:
        ids = iter(_upload(fastapi, count=(1 + rounds) * requests))
        return _make_side(fastapi.port, lambda: fastapi.client.confirm(next(ids), **FILE), requests)

    name = f"confirm of 10 KB, {CONFIRMING_CLIENTS} clients"
    return [
        _compare(name, confirm_ours(ours.port), confirm_theirs(), rounds=rounds),
        _compare(
            f"{name}, to a bare one",
            confirm_ours(ours.port),
            confirm_ours(bare_port),
            rounds=rounds,
            min_ratio=0.65,
        ),
        _compare(
            "a bare confirm to FastAPI's", confirm_ours(bare_port), confirm_theirs(), rounds=rounds
        ),
    ]


def _make_side(port: int, make_request: Callable[[], bytes], requests: int) -> Side:
    return Side(
        port=port,
        make_requests=lambda: [make_request() for _ in range(requests)],
        connections=CONFIRMING_CLIENTS,
    )


def _compare(
    name: str, ours: Side, theirs: Side, *, rounds: int, min_ratio: float | None = None
) -> Comparison:
    turns = []
    for number in range(1 + rounds):
        # Each goes first in every other round: what one leaves to do slows the other.
        if number % 2:
            our_rate, their_rate = ours.run(), theirs.run()
        else:
            their_rate, our_rate = theirs.run(), ours.run()
        turns.append((our_rate, their_rate))
    measured = turns[1:]  # the first warms up
    return Comparison(
        name=name,
        ours=median(our_rate for our_rate, _ in measured),
        theirs=median(their_rate for _, their_rate in measured),
        ratio=median(our_rate / their_rate for our_rate, their_rate in measured),
        min_ratio=min_ratio,
    )


def _publish(peer: Peer) -> str:
    """Upload and confirm a file; give its id."""
    (attachment_id,) = _upload(peer, count=1)
    with open_load(peer.port, connections=1) as load:
        load.run([peer.client.confirm(attachment_id, **FILE)])  # nodus passes over what it knows
    return attachment_id


def _upload(peer: Peer, *, count: int) -> list[str]:
    """Upload files of 10 KB; give their ids."""
    with open_load(peer.port, connections=CONNECTIONS) as load:
        tickets = load.run([peer.client.presign()] * count).bodies
    return [upload_small(json.loads(ticket)) for ticket in tickets]


def _make_environment() -> dict[str, str]:
    """The same servers as ours, with a database of their own."""
    connection.ensure_connection()
    upstream = connection.connection.info  # of this process, however DATABASE_URL spells it
    with connection.cursor() as cursor:
        cursor.execute(f"DROP DATABASE IF EXISTS {DATABASE}")
        cursor.execute(f"CREATE DATABASE {DATABASE}")
    login = f"{quote(upstream.user)}:{quote(upstream.password)}"
    if upstream.host.startswith("/"):
        database_url = f"postgresql://{login}@/{DATABASE}?host={upstream.host}"
    else:
        database_url = f"postgresql://{login}@{upstream.host}:{upstream.port}/{DATABASE}"
    return {
        "DATABASE_URL": database_url,
        "DJANGO_SETTINGS_MODULE": "",
        "S3_ACCESS_KEY": settings.S3_ACCESS_KEY,
        "S3_BUCKET": settings.STORAGES["attachments"]["OPTIONS"]["bucket_name"],
        "S3_ENDPOINT_URL": settings.S3_ENDPOINT_URL,
        "S3_SECRET_KEY": settings.S3_SECRET_KEY,
    }


@contextmanager
def _serve_fastapi(
    directory: Path, python: str, modules: str, environment: dict[str, str]
) -> Iterator[Peer]:
    (port,) = find_free_ports(1)
    command = ["uvicorn", f"{FASTAPI}:app", "--no-access-log"]
    options = ["--host", "127.0.0.1", "--port", str(port), "--workers", str(WORKERS)]
    token = _prepare(FASTAPI, python, modules, environment)
    with run_server(
        [python, "-m", *command, *options],
        ready="Application startup complete",
        log_path=directory / f"{FASTAPI}.log",
        environment=environment,
        cwd=modules,
    ):
        yield Peer(port=port, token=token)


@contextmanager
def _serve_django(
    directory: Path, python: str, modules: str, environment: dict[str, str]
) -> Iterator[Peer]:
    (port,) = find_free_ports(1)
    command = ["gunicorn", f"{DJANGO}:application", "--bind", f"127.0.0.1:{port}"]
    options = ["--workers", str(WORKERS), "--threads", str(count_threads() // WORKERS)]
    token = _prepare(DJANGO, python, modules, environment)
    with run_server(
        [python, "-m", *command, *options],
        ready="Booting worker",
        log_path=directory / f"{DJANGO}.log",
        environment=environment,
        cwd=modules,
    ):
        yield Peer(port=port, token=token)


@contextmanager
def _serve_bare_confirm(directory: Path) -> Iterator[int]:
    (port,) = find_free_ports(1)
    command = [sys.executable, "-m", "gunicorn", "tests.benchmarks.bare_confirm"]
    options = ["--bind", f"127.0.0.1:{port}", "--workers", str(WORKERS)]
    with run_server(
        [*command, *options, "--threads", str(count_threads() // WORKERS)],
        ready="Booting worker",
        log_path=directory / "bare_confirm.log",
        environment={},
    ):
        yield port


def _prepare(module: str, python: str, modules: str, environment: dict[str, str]) -> str:
    """Make the tables of a peer; give a token for it."""
    run = subprocess.run(
        [python, "-c", f"import {module}; print({module}.prepare())"],
        env={**os.environ, **environment},
        cwd=modules,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return run.stdout.split()[-1]
