"""`make bench`: what the upload flow costs, compared with a view that does nothing (the floor).

Everything is measured in one run on the same server processes, in short turns. Each turn runs
between two turns of the floor, and is judged by the median of its ratios to those two. So other
work on the machine slows both sides of a ratio, and a single odd turn decides nothing.
"""

import json
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, median
from urllib.parse import urlsplit

import psutil
from django.conf import settings
from django.db import connection
from rich.console import Console
from rich.table import Table

from tests.benchmarks import peers
from tests.benchmarks.client import Client
from tests.benchmarks.load import Load, ask, open_load
from tests.benchmarks.options import make_parser
from tests.benchmarks.server import WORKERS, Server, count_threads, open_services, serve
from tests.benchmarks.uploads import Upload, upload_small
from tests.relay import connect_to_server, name_database, open_relay

CONNECTIONS = 16  # enough to keep each thread of the server busy
LARGE_FILE_BYTES = 100 * 2**20

MIN_RATIOS = {"presign": 0.55, "detail": 0.7}
MAX_RECEIVED_BYTES = 100_000
# It would be 0 if uploads held the threads. What is missing to 1 is the noise of the machine.
MIN_RATE_DURING_UPLOADS = 0.7


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much is measured."""

    rounds: int
    requests: int
    """In each turn."""
    large_file_bytes: int

    @property
    def confirms(self) -> int:
        """In each turn. Each confirm takes a file that was uploaded beforehand."""
        return self.requests // 5


FULL = Size(rounds=20, requests=100, large_file_bytes=LARGE_FILE_BYTES)
SMOKE = Size(rounds=1, requests=20, large_file_bytes=2 * 2**20)


@dataclass(frozen=True, kw_only=True)
class Rate:
    name: str
    requests_per_second: float
    ratio: float
    """To the floor around it."""
    min_ratio: float | None

    @property
    def is_met(self) -> bool:
        return self.min_ratio is None or self.ratio >= self.min_ratio


@dataclass(frozen=True, kw_only=True)
class LargeUpload:
    size_bytes: int
    received_bytes: dict[str, int]
    """By Django's processes, by who sent it."""
    uploads_under_way: int
    """At once, as many as the server has threads, while other requests were served ..."""
    rate_during_uploads: float
    """... at this share of their usual rate."""

    @property
    def is_small(self) -> bool:
        return sum(self.received_bytes.values()) < MAX_RECEIVED_BYTES

    @property
    def is_free(self) -> bool:
        return self.rate_during_uploads >= MIN_RATE_DURING_UPLOADS

    @property
    def is_met(self) -> bool:
        return self.is_small and self.is_free


def main() -> int:
    options = make_parser(__doc__).parse_args()
    size = SMOKE if options.smoke else FULL
    with open_services() as directory:
        client = Client(token=make_token())
        with serve(directory) as server:
            rates = measure_rates(server, client, size)
            rate_during_uploads = measure_rate_during_uploads(server, client, size)
            beside = peers.measure_peers(
                directory, server, client, rounds=size.rounds, requests=size.requests
            )
        large_upload = LargeUpload(
            size_bytes=size.large_file_bytes,
            received_bytes=count_received_bytes(directory, client, size),
            uploads_under_way=count_threads(),
            rate_during_uploads=rate_during_uploads,
        )
    is_met = all(item.is_met for item in [*rates, *(beside or []), large_upload])
    if options.json:
        figures = {
            "rates": [asdict(rate) for rate in rates],
            "peers": beside and [asdict(comparison) for comparison in beside],
            "large_upload": asdict(large_upload),
        }
        print(json.dumps({**figures, "is_met": is_met}, indent=2))
    else:
        print_tables(rates, large_upload, rounds=size.rounds)
        print_peers(beside, rounds=size.rounds)
    return 0 if is_met or options.smoke else 1


def make_token() -> str:
    from django.contrib.auth import get_user_model
    from rest_framework_simplejwt.tokens import AccessToken

    user, _ = get_user_model().objects.get_or_create(username="benchmark")
    return str(AccessToken.for_user(user))


def measure_rates(server: Server, client: Client, size: Size) -> list[Rate]:
    """Requests per second of each kind, and their ratios to the floor: medians over the rounds."""
    with open_load(server.port, connections=CONNECTIONS) as load:
        tickets = load.run([client.presign()] * (1 + (1 + size.rounds) * size.confirms)).bodies
    ids = iter([upload_small(json.loads(ticket)) for ticket in tickets])
    ready = ask(server.port, client.confirm(next(ids)))["id"]
    floor = [client.floor()] * size.requests
    kinds: dict[str, Callable[[], list[bytes]]] = {
        "floor": lambda: floor,
        "presign": lambda: [client.presign()] * size.requests,
        "detail": lambda: [client.detail(ready)] * size.requests,
        # Comes last, because the store goes on working after it.
        "confirm of 10 KB": lambda: [client.confirm(next(ids)) for _ in range(size.confirms)],
    }
    turns: dict[str, list[tuple[float, float]]] = {name: [] for name in kinds}
    for group in (["floor", "presign", "detail"], ["confirm of 10 KB"]):
        for _ in range(1 + size.rounds):
            # New connections in each round, because chance spreads them over the workers.
            with open_load(server.port, connections=CONNECTIONS) as load:
                for name in group:
                    before = load.run(floor).requests_per_second
                    rate = load.run(kinds[name]()).requests_per_second
                    after = load.run(floor).requests_per_second
                    turns[name].append((rate, rate / mean([before, after])))
    return [
        Rate(
            name=name,
            requests_per_second=median(rate for rate, _ in rounds[1:]),  # the first warms up
            ratio=median(ratio for _, ratio in rounds[1:]),
            min_ratio=MIN_RATIOS.get(name),
        )
        for name, rounds in turns.items()
    ]


def measure_rate_during_uploads(server: Server, client: Client, size: Size) -> float:
    """The ratio of the floor during uploads to the floor without them.

    There are as many uploads as the server has threads. They stop half-way and take no processor:
    all that they could hold is a thread.
    """

    def measure_floor(load: Load) -> float:
        return load.run([client.floor()] * size.requests).requests_per_second

    ratios = []
    for _ in range(size.rounds):
        tickets = [ask(server.port, client.presign()) for _ in range(count_threads())]
        with open_load(server.port, connections=CONNECTIONS) as load:
            before = measure_floor(load)
            uploads = [Upload(ticket, size_bytes=size.large_file_bytes) for ticket in tickets]
            for upload in uploads:
                upload.send_chunk()
            during = measure_floor(load)
            for upload in uploads:
                upload.abort()
            after = measure_floor(load)
        ratios.append(during / mean([before, after]))
    return median(ratios)


def count_received_bytes(directory: Path, client: Client, size: Size) -> dict[str, int]:
    """The bytes that Django's processes receive for one whole large upload, by their sender.

    There is a relay in front of gunicorn, one in front of the store and one in front of PostgreSQL;
    the client posts its file to the store itself. Opening the connections is counted too.
    """
    connection.ensure_connection()
    upstream = connection.connection.info  # of this process, however DATABASE_URL spells it
    with (
        open_relay(_connect_store) as store,
        open_relay(lambda: connect_to_server(upstream.host, upstream.port)) as database,
    ):
        environment = {
            "S3_ENDPOINT_URL": f"http://127.0.0.1:{store.port}",
            "S3_PUBLIC_ENDPOINT_URL": settings.S3_ENDPOINT_URL,
            "DATABASE_URL": name_database(upstream, port=database.port),
        }
        with (
            serve(directory, **environment) as server,
            open_relay(lambda: socket.create_connection(("127.0.0.1", server.port))) as front,
        ):
            ticket = ask(front.port, client.presign())
            Upload(ticket, size_bytes=size.large_file_bytes).finish()
            confirmed = ask(front.port, client.confirm(ticket["attachment_id"]))
            assert confirmed["size_bytes"] == size.large_file_bytes, confirmed
            strangers = set(_find_peer_ports(server)) - {store.port, database.port}
            assert not strangers, f"Django talks past the relays, to the ports {strangers}"
            return {
                "clients": front.sent_bytes,
                "the store": store.received_bytes,
                "PostgreSQL": database.received_bytes,
            }


def _connect_store() -> socket.socket:
    address = urlsplit(settings.S3_ENDPOINT_URL)
    return socket.create_connection((address.hostname, address.port or 80))


def _find_peer_ports(server: Server) -> Iterator[int]:
    """The ports that the workers have connected to."""
    for worker in psutil.Process(server.pid).children():
        for peer in worker.net_connections("inet"):
            if peer.raddr and peer.laddr.port != server.port:
                yield peer.raddr.port


def print_tables(rates: list[Rate], large_upload: LargeUpload, *, rounds: int) -> None:
    console = Console()
    table = Table(
        title=f"gunicorn, {WORKERS} workers, {CONNECTIONS} connections: medians of {rounds} rounds",
        title_justify="left",
    )
    table.add_column("")
    for column in ("requests/s", "to the floor", "at least", ""):
        table.add_column(column, justify="right")
    for rate in rates:
        least = "" if rate.min_ratio is None else f"{rate.min_ratio:.2f}"
        verdict = "" if rate.min_ratio is None else _spell(rate.is_met)
        table.add_row(
            rate.name, f"{rate.requests_per_second:.0f}", f"{rate.ratio:.2f}", least, verdict
        )
    console.print(table)

    size_mib = large_upload.size_bytes // 2**20
    table = Table(
        title=f"One upload of {size_mib} MiB, from presign to confirm", title_justify="left"
    )
    table.add_column("")
    for column in ("measured", "wanted", ""):
        table.add_column(column, justify="right")
    for sender, count in large_upload.received_bytes.items():
        table.add_row(f"bytes that Django received from {sender}", f"{count:,}")
    table.add_row(
        "bytes that Django received",
        f"{sum(large_upload.received_bytes.values()):,}",
        f"< {MAX_RECEIVED_BYTES:,}",
        _spell(large_upload.is_small),
    )
    table.add_row(
        f"rate of the floor while {large_upload.uploads_under_way} uploads are under way",
        f"{large_upload.rate_during_uploads:.2f}",
        f">= {MIN_RATE_DURING_UPLOADS:.2f}",
        _spell(large_upload.is_free),
    )
    console.print(table)


def print_peers(comparisons: list[peers.Comparison] | None, *, rounds: int) -> None:
    console = Console()
    if comparisons is None:
        console.print(peers.HOW_TO_COMPARE)
        return
    table = Table(
        title=f"Beside peers, in turns on the same servers: medians of {rounds} rounds",
        title_justify="left",
    )
    table.add_column("")
    for column in ("nodus per s", "peer per s", "ratio", "at least", ""):
        table.add_column(column, justify="right")
    for item in comparisons:
        least = "" if item.min_ratio is None else f"{item.min_ratio:.2f}"
        verdict = "" if item.min_ratio is None else _spell(item.is_met)
        figures = f"{item.ours:.0f}", f"{item.theirs:.0f}", f"{item.ratio:.2f}"
        table.add_row(item.name, *figures, least, verdict)
    console.print(table)


def _spell(is_met: bool) -> str:
    return "[green]pass[/]" if is_met else "[bold red]fail[/]"


if __name__ == "__main__":
    sys.exit(main())
