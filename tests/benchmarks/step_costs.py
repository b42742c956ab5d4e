"""What one request of each step costs: processor time by who spends it, statements, calls, bytes."""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Any
from urllib.parse import urlsplit

import psutil
from django.conf import settings
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from tests.benchmarks.client import API, FILE, FILES_PER_BATCH
from tests.benchmarks.server import Server
from tests.benchmarks.uploads import upload_small
from tests.chaos.parts import find_tree


@dataclass(frozen=True, kw_only=True)
class StepCost:
    """Of one request."""

    name: str
    cpu_ms: dict[str, float]
    """Of processors, by Python, PostgreSQL and the store."""
    queries: int
    store_calls: list[str]
    sent_bytes: int
    """By the client, in its body."""
    received_bytes: int
    """By the client, in the body of the answer."""


class Steps:
    """The requests of one user; each step is asked as often as it is to be measured."""

    def __init__(self, ask: Callable[..., Any], count: int) -> None:
        self._ask, self._count = ask, count

    def __iter__(self) -> Iterator[tuple[str, Callable[[], Any]]]:
        tickets = [self._presign() for _ in range(self._count)]
        ids = [upload_small(ticket) for ticket in tickets]
        unconfirmed, made = iter(ids), iter(ids)
        yield "presign", self._presign
        batch = {"files": [FILE] * FILES_PER_BATCH}
        yield f"presign, batch of {FILES_PER_BATCH}", lambda: self._post("/presigned/batch", batch)
        yield "confirm", lambda: self._post("/confirm", {"attachment_id": next(unconfirmed)})
        yield "detail", lambda: self._ask("GET", f"{API}/{ids[0]}")
        yield "list", lambda: self._ask("GET", API)
        yield "download", lambda: self._ask("GET", f"{API}/{ids[0]}/download")
        yield "usage", lambda: self._ask("GET", f"{API}/usage")
        yield "delete", lambda: self._ask("DELETE", f"{API}/{next(made)}")

    def _presign(self) -> Any:
        return self._post("/presigned", FILE)

    def _post(self, path: str, body: Any) -> Any:
        return self._ask("POST", f"{API}{path}", body)


def measure_costs(server: Server, *, token: str, count: int) -> list[StepCost]:
    """Processor time of ``count`` requests to the server; the rest of one in this process."""
    counted = dict(_count_calls(token))
    return [
        StepCost(name=name, cpu_ms=cpu_ms, **counted[name])
        for name, cpu_ms in _measure_cpu(server, token, count)
    ]


def _measure_cpu(server: Server, token: str, count: int) -> Iterator[tuple[str, dict[str, float]]]:
    from tests.load.caller import Caller
    from tests.load.tally import Tally

    caller = Caller(port=server.port, token=token, tally=Tally(), random=Random(), loses=0)

    def ask(method: str, path: str, body: Any = None) -> Any:
        answer = caller.call("step", method, path, body)
        assert not answer.code, answer.content
        return answer.json() if answer.content else None

    trees = {"Python": server.pid, "PostgreSQL": _find_postmaster(), "store": _find_store()}
    for name, do in Steps(ask, count):
        before = {part: _sum_cpu_ms(pid) for part, pid in trees.items()}
        for _ in range(count):
            do()
        yield name, {part: (_sum_cpu_ms(pid) - before[part]) / count for part, pid in trees.items()}


def _count_calls(token: str) -> Iterator[tuple[str, dict[str, Any]]]:
    from attachments.services import pending
    from attachments.storage.client import get_client, get_copier

    client = APIClient(SERVER_NAME="localhost")
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    sizes, calls = [0, 0], list[str]()

    def ask(method: str, path: str, body: Any = None) -> Any:
        content = b"" if body is None else json.dumps(body).encode()
        answer = client.generic(method, path, content, content_type="application/json")
        assert answer.status_code < 400, answer.content
        sizes[:] = len(content), len(answer.content)
        return json.loads(answer.content) if answer.content else None

    for store in {get_client(), get_copier()}:
        store.meta.events.register("before-call.s3", lambda model, **_: calls.append(model.name))
    for name, do in Steps(ask, 1):
        pending.remove_now()  # what may follow the answers, and many share, is not counted
        calls.clear()
        with CaptureQueriesContext(connection) as queries:
            do()
        yield (
            name,
            {
                "queries": len(queries),
                "store_calls": list(calls),
                "sent_bytes": sizes[0],
                "received_bytes": sizes[1],
            },
        )


def _find_postmaster() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()
    return int(psutil.Process(pid).ppid())


def _find_store() -> int:
    """Whoever listens on the port of its endpoint."""
    port = urlsplit(settings.S3_ENDPOINT_URL).port
    return next(
        item.pid
        for item in psutil.net_connections("tcp")
        if item.status == psutil.CONN_LISTEN and item.laddr.port == port and item.pid
    )


def _sum_cpu_ms(pid: int) -> float:
    """Of the process and those that it started, since they began."""
    total = 0.0
    for process in find_tree(pid):
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system
    return 1000 * total
