"""Two web servers, a worker, a schedule, and all that they need, each behind what can slow it."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import django
import requests
from django.core.management import call_command
from django.db import connection

from attachments.storage.policies import VARIABLES
from nodus.dev.embedded import (
    EmbeddedPostgres,
    EmbeddedS3,
    find_free_ports,
    make_up_key,
    name_keys,
)
from tests.benchmarks.server import Server, serve
from tests.chaos.parts import Part, Program, find_one_child, find_tree
from tests.chaos.slow_store import SlowStore
from tests.clamd import RealClamd
from tests.redis_server import RealRedis
from tests.relay import (
    CountingRelay,
    connect_to_path,
    connect_to_server,
    name_database,
    open_relay,
)
from tests.stores import name_root_key

BUCKET = "chaos"
READY_SECONDS = 60
# Forms run out during an outage, and rates are met.
SETTINGS = {"ATTACHMENTS_UPLOAD_EXPIRES_SECONDS": "60", "ATTACHMENTS_PRESIGN_RATE": "90/minute"}


@dataclass(kw_only=True)
class Deployment:
    parts: list[Part]
    programs: list[Program]
    servers: list[Server]
    slow_store: SlowStore

    def come_to_rest(self) -> list[str]:
        """Stop what works by itself; give what is not as it was before."""
        self.slow_store.land()
        problems = [f"{item.name} has ended" for item in self.programs if item.has_ended]
        deadline = time.monotonic() + READY_SECONDS
        while not all(_is_ready(server.port) for server in self.servers):
            if time.monotonic() > deadline:
                problems.append(f"not ready after {READY_SECONDS} s, and all is up")
                break
            time.sleep(0.5)
        for program in self.programs:
            program.stop()
        return problems


@contextmanager
def deploy(directory: Path, *, random: Random) -> Iterator[Deployment]:
    """Start all, and set Django up here, past what slows the others."""
    with ExitStack() as stack:
        database = EmbeddedPostgres(data_dir=directory / "postgres")
        url = database.start()
        stack.callback(database.stop)
        store = _make_store(directory)
        store.start()
        stack.callback(store.stop)
        redis, clamd = _start(RealRedis, directory, stack), _start(RealClamd, directory, stack)
        _set_up_django(url, store, clamd)
        slow_store = SlowStore(store.endpoint_url, random)
        stack.enter_context(slow_store.proxy)
        at = connection.connection.info
        relays = [
            stack.enter_context(open_relay(connect))
            for connect in (
                partial(connect_to_server, at.host, at.port),
                partial(connect_to_path, str(redis.socket_path)),
                clamd.connect,
            )
        ]
        environment = _name_servers(relays, slow_store.proxy.url)
        connection.close()  # it would not outlive what comes
        programs = [
            _run(directory, stack, environment, *words)
            for words in (["db_worker", "--skip-checks"], ["run_schedule", "--skip-checks"])
        ]
        # One publishes in the confirm, without a scan; the other leaves both to the worker.
        servers = [
            stack.enter_context(serve(directory, **environment | scanner))
            for scanner in ({"CLAMAV_URL": ""}, {})
        ]
        yield Deployment(
            parts=[
                _make_part("database", database, partial(setattr, relays[0], "delay_seconds")),
                _make_part("Redis", redis, partial(setattr, relays[1], "delay_seconds")),
                _make_part("clamd", clamd, partial(setattr, relays[2], "delay_seconds")),
                _make_part("store", store, slow_store.be_slow),
                *(_make_part(program.name, program) for program in programs),
                *(_make_web(server, random) for server in servers),
            ],
            programs=programs,
            servers=servers,
            slow_store=slow_store,
        )


def _make_store(directory: Path) -> EmbeddedS3:
    return EmbeddedS3(
        data_dir=directory / "s3",
        port=find_free_ports(1)[0],
        keys={role: make_up_key(role) for role in VARIABLES},
        buckets=[BUCKET],
        root=make_up_key("root"),
    )


def _start(kind: Any, directory: Path, stack: ExitStack) -> Any:
    place = directory / kind.__name__
    place.mkdir()
    server = kind(directory=place)
    server.start()
    stack.callback(server.stop)
    return server


def _set_up_django(url: str, store: EmbeddedS3, clamd: RealClamd) -> None:
    os.environ |= {
        "DATABASE_URL": url,
        "S3_ENDPOINT_URL": store.endpoint_url,
        "S3_BUCKET": BUCKET,
        "CLAMAV_URL": clamd.url,
        "DJANGO_SETTINGS_MODULE": "tests.benchmarks.settings",
        **name_keys(store.keys),
        **name_root_key(store.root),
        **SETTINGS,
    }
    django.setup()
    from attachments import storage

    call_command("migrate", verbosity=0)
    storage.setup_bucket()


def _name_servers(relays: list[CountingRelay], store_url: str) -> dict[str, str]:
    """For the processes of the deployment; clients reach the store itself."""
    database, redis, clamd = (relay.port for relay in relays)
    return {
        "DATABASE_URL": name_database(connection.connection.info, port=database),
        "S3_ENDPOINT_URL": store_url,
        "S3_PUBLIC_ENDPOINT_URL": os.environ["S3_ENDPOINT_URL"],
        "CACHE_URL": f"redis://127.0.0.1:{redis}",
        "CLAMAV_URL": f"tcp://127.0.0.1:{clamd}",
    }


def _run(directory: Path, stack: ExitStack, environment: dict[str, str], *words: str) -> Program:
    program = Program(
        name=words[0],
        command=[sys.executable, "manage.py", *words],
        environment={**os.environ, **environment},
        log=stack.enter_context((directory / f"{words[0]}.log").open("w")),
    )
    program.start()
    stack.callback(program.stop)
    return program


def _make_part(name: str, server: Any, slow: Any = None) -> Part:
    return Part(
        name=name,
        find=lambda: find_tree(server.pid),
        start=server.start,
        stop=server.stop,
        slow=slow,
    )


def _make_web(server: Server, random: Random) -> Part:
    """One of its processes; gunicorn starts another one by itself."""
    return Part(
        name=f"web on {server.port}",
        find=lambda: find_one_child(server.pid, random),
    )


def _is_ready(port: int) -> bool:
    try:
        answer = requests.get(f"http://127.0.0.1:{port}/health/ready", timeout=10).json()
    except (OSError, ValueError):
        return False
    scanner = answer.get("scanner", "connected")
    return bool((answer["status"], scanner) == ("ok", "connected"))
