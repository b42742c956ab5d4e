"""`make load`: the whole flow by many clients at once, each as quick as the server lets it.

A client asks for a form, posts a file to the store, confirms it, looks at it, lists, downloads and
deletes, as docs/clients.md says, retries included. Each is a user of its own. They run on the same
machine as the servers, and no worker runs: files are ready in their confirm.
"""

import argparse
import json
import sys
import time
from pathlib import Path

from rich.console import Console

from tests.benchmarks.server import WORKERS, open_services, serve

SIZE_BYTES = 10_000
PROGRESS_SECONDS = 5


def main() -> int:
    parser = argparse.ArgumentParser(prog="make load", description=__doc__)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--minutes", dest="seconds", type=lambda text: 60 * float(text))
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args()
    with open_services() as directory:
        return run(directory, options)


def run(directory: Path, options: argparse.Namespace) -> int:
    from tests.load.crowd import Crowd
    from tests.load.report import make_table

    with serve(directory) as server:
        crowd = Crowd(ports=[server.port], clients=options.clients, sizes=(SIZE_BYTES,))
        started = time.monotonic()
        with crowd.at_work():
            while (elapsed := time.monotonic() - started) < options.seconds:
                print(f"{elapsed:4.0f} s  {crowd.tally.describe_progress()}", file=sys.stderr)
                time.sleep(min(PROGRESS_SECONDS, options.seconds - elapsed))
        seconds = time.monotonic() - started
    tally = crowd.tally
    is_met = not tally.problems and not tally.steps["flow"].errors
    if options.json:
        figures = {"clients": options.clients, "seconds": seconds, "is_met": is_met}
        figures |= {"steps": tally.describe(seconds), "problems": tally.problems}
        print(json.dumps(figures, indent=2))
    else:
        title = f"{options.clients} clients, {WORKERS} processes, {seconds:.0f} s"
        Console(width=None if sys.stdout.isatty() else 120).print(
            make_table(tally, seconds=seconds, title=title)
        )
        print("\n".join(tally.problems))
        print("All flows were done." if is_met else "Some flows failed.")
    return 0 if is_met else 1


if __name__ == "__main__":
    sys.exit(main())
