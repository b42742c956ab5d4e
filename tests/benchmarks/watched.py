"""What it costs to watch: metrics, logs and request ids; and what is left while the store hangs.

Both are ratios of turns in one run. Two servers on the same database take turns, one of which
counts and logs nothing. Then a store that takes connections and never answers stands behind a
server; reads are measured with and without clients that confirm meanwhile.
"""

import http.client
import json
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, median
from threading import Event, Thread

from rich.console import Console
from rich.table import Table

from tests.benchmarks.client import API, Client
from tests.benchmarks.load import ask, make_request, open_load
from tests.benchmarks.options import make_parser
from tests.benchmarks.server import Server, count_threads, open_services, serve
from tests.benchmarks.upload_flow import CONNECTIONS, make_token
from tests.benchmarks.uploads import upload_small

MIN_PRESIGN, MIN_READS, MAX_HEALTH_SECONDS = 0.9, 0.8, 2.0
RETRY_SECONDS = 5  # as Retry-After has it


@dataclass(frozen=True, kw_only=True)
class Size:
    rounds: int
    requests: int
    calm_seconds: float
    """So long reads are measured before, and after ..."""
    hang_seconds: float
    """... they are measured while the store hangs."""


FULL = Size(rounds=24, requests=100, calm_seconds=15, hang_seconds=60)
SMOKE = Size(rounds=1, requests=16, calm_seconds=0, hang_seconds=0)


@dataclass(frozen=True, kw_only=True)
class Figure:
    name: str
    value: float
    wanted: float
    is_most: bool = False

    @property
    def is_met(self) -> bool:
        return self.value <= self.wanted if self.is_most else self.value >= self.wanted


def main() -> int:
    options = make_parser(__doc__).parse_args()
    size = SMOKE if options.smoke else FULL
    with open_services() as directory:
        client = Client(token=make_token())
        figures = [
            measure_watching(directory, client, size),
            *measure_hang(directory, client, size),
        ]
    if options.json:
        print(json.dumps([{**asdict(item), "is_met": item.is_met} for item in figures], indent=2))
    else:
        _print(figures)
    return 0 if options.smoke or all(item.is_met for item in figures) else 1


def measure_watching(directory: Path, client: Client, size: Size) -> Figure:
    """Presigns per second of a server that is watched, to those of one that is not."""
    with serve(directory) as watched, serve(directory, BENCHMARK_UNWATCHED="1") as unwatched:
        request = [client.presign()] * size.requests
        ratios = []
        for _ in range(1 + size.rounds):
            before, rate, after = (
                _measure(server, request) for server in (unwatched, watched, unwatched)
            )
            ratios.append(rate / mean([before, after]))
    return Figure(
        name="presign, watched to unwatched", value=median(ratios[1:]), wanted=MIN_PRESIGN
    )


def measure_hang(directory: Path, client: Client, size: Size) -> Iterator[Figure]:
    with serve(directory) as server:
        confirming_clients = 2 * count_threads()
        tickets = [ask(server.port, client.presign()) for _ in range(confirming_clients + 1)]
        ids = [upload_small(ticket) for ticket in tickets]
        ready = ask(server.port, client.confirm(ids.pop()))["id"]
    kinds = {
        "detail": client.detail(ready),
        "list": make_request("GET", API, token=client.token),
    }
    with (
        _open_silent_store() as url,
        serve(directory, S3_ENDPOINT_URL=url) as server,
    ):
        before = _measure_kinds(server, kinds, size, seconds=size.calm_seconds)
        with _confirming(server, client, ids), _asking_health(server) as healths:
            during = _measure_kinds(server, kinds, size, seconds=size.hang_seconds)
        after = _measure_kinds(server, kinds, size, seconds=size.calm_seconds)
    for name in kinds:
        ratio = during[name] / mean([before[name], after[name]])
        yield Figure(name=f"{name} while the store hangs", value=ratio, wanted=MIN_READS)
    yield Figure(
        name="/health while it hangs, seconds",
        value=max(healths),
        wanted=MAX_HEALTH_SECONDS,
        is_most=True,
    )


def _measure(server: Server, requests: list[bytes]) -> float:
    with open_load(server.port, connections=CONNECTIONS) as load:
        return load.run(requests).requests_per_second


def _measure_kinds(
    server: Server, kinds: dict[str, bytes], size: Size, *, seconds: float
) -> dict[str, float]:
    """Requests per second over all turns: one that stands still counts for as long as it does."""
    taken: dict[str, list[float]] = {name: [] for name in kinds}
    for request in kinds.values():  # warms up
        _measure(server, [request] * size.requests)
    deadline = time.monotonic() + seconds
    while not all(taken.values()) or time.monotonic() < deadline:
        for name, request in kinds.items():
            taken[name].append(1 / _measure(server, [request] * size.requests))
    return {name: 1 / mean(found) for name, found in taken.items()}


@contextmanager
def _open_silent_store() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0), backlog=1000) as store:
        yield f"http://127.0.0.1:{store.getsockname()[1]}"


@contextmanager
def _confirming(server: Server, client: Client, ids: list[str]) -> Iterator[None]:
    """Clients that confirm, and confirm again when they are told to."""
    is_over = Event()

    def run(attachment_id: str) -> None:
        while not is_over.is_set():
            _post_confirm(server, client, attachment_id)
            is_over.wait(RETRY_SECONDS)

    threads = [Thread(target=run, args=(item,), daemon=True) for item in ids]
    for thread in threads:
        thread.start()
    time.sleep(1)
    try:
        yield
    finally:
        is_over.set()
        for thread in threads:
            thread.join(60)


def _post_confirm(server: Server, client: Client, attachment_id: str) -> None:
    connection = http.client.HTTPConnection("localhost", server.port, timeout=60)
    headers = {
        "Authorization": f"Bearer {client.token}",
        "Content-Type": "application/json",
    }
    body = json.dumps({"attachment_id": attachment_id})
    connection.request("POST", f"{API}/confirm", body=body, headers=headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    assert answer.status in (409, 503), answer.status


@contextmanager
def _asking_health(server: Server) -> Iterator[list[float]]:
    """Once a second; give the seconds that each answer took."""
    is_over, found = Event(), [_time_health(server)]

    def run() -> None:
        while not is_over.wait(1):
            found.append(_time_health(server))

    thread = Thread(target=run, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        is_over.set()
        thread.join(60)


def _time_health(server: Server) -> float:
    started = time.perf_counter()
    connection = http.client.HTTPConnection("localhost", server.port, timeout=60)
    connection.request("GET", "/health")
    answer = connection.getresponse()
    answer.read()
    connection.close()
    assert answer.status == 503, answer.status
    return time.perf_counter() - started


def _print(figures: list[Figure]) -> None:
    table = Table(title="Watching, and a store that hangs", title_justify="left")
    for column in ("", "measured", "wanted", ""):
        table.add_column(column, justify="right" if column else "left")
    for item in figures:
        wanted = f"{'<=' if item.is_most else '>='} {item.wanted}"
        verdict = "[green]pass[/]" if item.is_met else "[bold red]fail[/]"
        table.add_row(item.name, f"{item.value:.2f}", wanted, verdict)
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())
