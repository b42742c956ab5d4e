"""What rates and quotas cost a presign: with them beside without them, in one run.

Each kind has a server of its own. Its turns run between two turns of the server without limits, and
are judged by the median of their ratios to those two. The requests are those of many users, as
rates and quotas keep those of one user from being many.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import mean, median

from rich.console import Console
from rich.table import Table

from tests.benchmarks.client import Client
from tests.benchmarks.load import open_load
from tests.benchmarks.server import open_services, serve
from tests.redis_server import RealRedis, is_redis_installed

MIN_RATIO = 0.9
CONNECTIONS = 16
USERS = 100

_NO_RATES = {"ATTACHMENTS_PRESIGN_RATE": "", "ATTACHMENTS_CONFIRM_RATE": ""}
_QUOTAS = {
    "ATTACHMENTS_QUOTA_MB_PER_USER": "1000000000",
    "ATTACHMENTS_MAX_UNCONFIRMED_PER_USER": "1000000",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--smoke", action="store_true", help="a few requests, and no judgement")
    options = parser.parse_args()
    rounds, requests = (1, 20) if options.smoke else (20, 200)
    with open_services() as directory, open_redis() as redis_url:
        ratios = measure(directory, list_kinds(redis_url), rounds=rounds, requests=requests)
    is_met = all(ratio >= MIN_RATIO for _, ratio in ratios.values())
    if options.json:
        figures = {name: {"requests_per_second": r, "ratio": q} for name, (r, q) in ratios.items()}
        print(json.dumps(figures, indent=2))
    else:
        print_table(ratios, rounds=rounds)
    return 0 if is_met or options.smoke else 1


@contextmanager
def open_redis() -> Iterator[str | None]:
    """The address of one for this run; None if there is none here."""
    if not is_redis_installed():
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="nodus-bench-") as name:
        server = RealRedis(directory=Path(name))
        server.start()
        try:
            yield server.url
        finally:
            server.stop()


def list_kinds(redis_url: str | None) -> dict[str, dict[str, str]]:
    """What is on, with the variables that turn it on."""
    kinds = {"a rate, in the process": {}, "quotas": _NO_RATES | _QUOTAS}
    if redis_url:
        in_redis = {"CACHE_URL": redis_url.replace("unix://", "redis://")}
        kinds["a rate, in Redis"] = in_redis
        kinds["both, in Redis"] = in_redis | _QUOTAS
    return kinds


def measure(
    directory: Path, kinds: dict[str, dict[str, str]], *, rounds: int, requests: int
) -> dict[str, tuple[float, float]]:
    """Requests per second of each kind, and the ratio to those without limits."""
    turn = [client.presign() for client in make_clients()] * (requests // USERS + 1)
    turn = turn[:requests]
    turns: dict[str, list[tuple[float, float]]] = {name: [] for name in kinds}
    with ExitStack() as servers:
        plain = servers.enter_context(serve(directory, **_NO_RATES))
        ports = {
            name: servers.enter_context(serve(directory, **variables)).port
            for name, variables in kinds.items()
        }
        for _ in range(1 + rounds):
            for name, port in ports.items():
                with (
                    open_load(plain.port, connections=CONNECTIONS) as without,
                    open_load(port, connections=CONNECTIONS) as limited,
                ):
                    before = without.run(turn).requests_per_second
                    rate = limited.run(turn).requests_per_second
                    after = without.run(turn).requests_per_second
                turns[name].append((rate, rate / mean([before, after])))
    return {
        name: (median(rate for rate, _ in found[1:]), median(ratio for _, ratio in found[1:]))
        for name, found in turns.items()  # the first warms up
    }


def make_clients() -> list[Client]:
    from django.contrib.auth import get_user_model
    from rest_framework_simplejwt.tokens import AccessToken

    model = get_user_model()
    users = [model.objects.get_or_create(username=f"limits {n}")[0] for n in range(USERS)]
    return [Client(token=str(AccessToken.for_user(user))) for user in users]


def print_table(ratios: dict[str, tuple[float, float]], *, rounds: int) -> None:
    table = Table(
        title=f"Presign with limits, to presign without: medians of {rounds} rounds",
        title_justify="left",
    )
    table.add_column("")
    for column in ("requests/s", "ratio", "at least"):
        table.add_column(column, justify="right")
    for name, (rate, ratio) in ratios.items():
        table.add_row(name, f"{rate:.0f}", f"{ratio:.2f}", f"{MIN_RATIO:.2f}")
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())
