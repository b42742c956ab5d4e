"""`make chaos`: many clients use everything, while all that nodus stands on fails at random.

Store, database, Redis, clamd, the workers and processes of the web servers hang (SIGSTOP), are
killed, stop, are slow, and come back. The seed, which is printed, tells what happens when. At the
end all is up again, and a full read, `reconcile_storage` and a purge prove that nothing that was
confirmed is lost and that nothing leaked.
"""

import argparse
import json
import logging
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random, randrange
from threading import Event, Thread

from tests.chaos.deployment import Deployment, deploy
from tests.chaos.faults import Weather

SIZES = (10_000, 10_000, 40_000, 300_000)
KEEPS, LOSES, RESTS = 0.7, 0.02, 1.0
PROGRESS_SECONDS = 30
ALL_PARTS_SECONDS = 100
"""A shorter run has its faults closer together, so that each part has some."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--clients", type=int, default=6)
    parser.add_argument("--seed", type=int, default=randrange(10**6))
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="nodus-chaos-"))
    directory.chmod(0o755)  # PostgreSQL runs as another user if this runs as root
    print(f"SEED={options.seed}", file=sys.stderr, flush=True)
    with deploy(directory, random=Random(options.seed)) as deployment:
        is_met = run(deployment, options)
    if is_met:
        shutil.rmtree(directory)
    else:
        print(f"The logs of the servers are in {directory}", file=sys.stderr)
    return 0 if is_met else 1


def run(deployment: Deployment, options: argparse.Namespace) -> bool:
    """Give the verdict, and print what it rests on."""
    from tests.chaos.proof import prove
    from tests.chaos.verdict import Verdict
    from tests.load.crowd import Crowd

    logging.disable(logging.WARNING)  # what is said by this process, which only looks
    started, seconds = time.monotonic(), options.minutes * 60

    def tell(what: str) -> None:
        print(f"{time.monotonic() - started:5.0f} s  {what}", file=sys.stderr, flush=True)

    crowd = Crowd(
        ports=[server.port for server in deployment.servers],
        clients=options.clients,
        sizes=SIZES,
        keeps=KEEPS,
        loses=LOSES,
        rests=RESTS,
        seed=options.seed,
    )
    weather = Weather(seed=options.seed, tell=tell, pace=max(1, ALL_PARTS_SECONDS / seconds))
    with _now_and_then(lambda: tell(crowd.tally.describe_progress())), crowd.at_work():
        weather.rage(deployment.parts, seconds=seconds)
    problems = deployment.come_to_rest()
    tell("All is up again, and is looked at.")
    verdict = Verdict(
        seed=options.seed,
        seconds=seconds,
        crowd=crowd,
        faults=weather.happened + deployment.slow_store.happened,
        proof=prove(uploads=crowd.journal.uploads, port=crowd.ports[0]),
        problems=[*weather.problems, *problems],
    )
    print(json.dumps(verdict.figures, indent=2) if options.json else verdict.text)
    return verdict.is_met


@contextmanager
def _now_and_then(tell: Callable[[], None]) -> Iterator[None]:
    is_over = Event()

    def run() -> None:
        while not is_over.wait(PROGRESS_SECONDS):
            tell()

    thread = Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


if __name__ == "__main__":
    sys.exit(main())
