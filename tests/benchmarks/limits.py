"""What rates and quotas cost a presign: with them beside without them, in one run.

All requests go to the same server processes; the policy tells by the user which limits hold. Each
turn runs between two turns of users without limits, and is judged by the median of its ratios to
those two. There are many users, because limits keep the requests of one from being many.
"""

import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import mean, median

from rich.console import Console
from rich.table import Table

from attachments.policy import Limits, OwnerOnlyPolicy, User
from tests.benchmarks.client import Client
from tests.benchmarks.load import open_load
from tests.benchmarks.options import make_parser
from tests.benchmarks.server import open_services, serve
from tests.redis_server import RealRedis, is_redis_installed

MIN_RATIO = 0.9
CONNECTIONS = 16
USERS = 1000

_LIMITS = {
    "no limits": {"presign_rate": None},
    "no limits, once more": {"presign_rate": None},
    "a rate": {},
    "quotas": {"presign_rate": None, "quota_bytes": 2**50, "max_unconfirmed": 10**6},
    "a rate and quotas": {"quota_bytes": 2**50, "max_unconfirmed": 10**6},
}


class LimitsByUser(OwnerOnlyPolicy):
    """Users take turns in what limits them."""

    def get_limits(self, user: User) -> Limits:
        values = list(_LIMITS.values())[user.pk % len(_LIMITS)]
        return replace(super().get_limits(user), **values)


def main() -> int:
    options = make_parser(__doc__).parse_args()
    rounds, requests = (1, 20) if options.smoke else (10, 200)
    ratios = {}
    with open_services() as directory:
        turns = make_turns(requests)
        for place, variables in open_places():
            found = measure(directory, turns, rounds=rounds, **variables)
            ratios |= {f"{name}, counted in {place}": ratio for name, ratio in found.items()}
    if options.json:
        print(json.dumps(ratios, indent=2))
    else:
        print_table(ratios, rounds=rounds)
    return 0 if options.smoke or min(ratios.values()) >= MIN_RATIO else 1


def open_places() -> Iterator[tuple[str, dict[str, str]]]:
    """Where rates are counted, with the variables that say so: Redis too, if there is one here."""
    yield "the process", {}
    if is_redis_installed():
        with open_redis() as server:
            yield "Redis", {"CACHE_URL": f"redis://{server.socket_path}"}


@contextmanager
def open_redis() -> Iterator[RealRedis]:
    with tempfile.TemporaryDirectory(prefix="nodus-bench-") as name:
        server = RealRedis(directory=Path(name))
        server.start()
        try:
            yield server
        finally:
            server.stop()


def make_turns(requests: int) -> dict[str, list[bytes]]:
    """The requests of one turn, by what limits their users."""
    from django.contrib.auth import get_user_model
    from rest_framework_simplejwt.tokens import AccessToken

    model = get_user_model()
    users = model.objects.bulk_create(model(username=f"limits {n}") for n in range(USERS))
    turns: dict[str, list[bytes]] = {name: [] for name in _LIMITS}
    for user in users:
        name = list(_LIMITS)[user.pk % len(_LIMITS)]
        turns[name].append(Client(token=str(AccessToken.for_user(user))).presign())
    return {name: (turn * requests)[:requests] for name, turn in turns.items()}


def measure(
    directory: Path, turns: dict[str, list[bytes]], *, rounds: int, **variables: str
) -> dict[str, float]:
    """The ratio of requests per second with each kind of limits to those without."""
    plain, *kinds = turns
    policy = {"ATTACHMENTS_ACCESS_POLICY": "tests.benchmarks.limits.LimitsByUser"}
    ratios: dict[str, list[float]] = {name: [] for name in kinds}
    with serve(directory, **policy, **variables) as server:
        for _ in range(1 + rounds):
            with open_load(server.port, connections=CONNECTIONS) as load:
                for name in kinds:
                    before = load.run(turns[plain]).requests_per_second
                    rate = load.run(turns[name]).requests_per_second
                    after = load.run(turns[plain]).requests_per_second
                    ratios[name].append(rate / mean([before, after]))
    return {name: median(found[1:]) for name, found in ratios.items()}  # the first warms up


def print_table(ratios: dict[str, float], *, rounds: int) -> None:
    table = Table(title=f"Presign with limits, to presign without: medians of {rounds} rounds")
    table.add_column("")
    for column in ("ratio", "at least"):
        table.add_column(column, justify="right")
    for name, ratio in ratios.items():
        table.add_row(name, f"{ratio:.2f}", f"{MIN_RATIO:.2f}")
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())
