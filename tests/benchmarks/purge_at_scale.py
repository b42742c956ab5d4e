"""Purge against a bare DeleteObjects loop, and its memory; `make bench-large` runs it.

Both delete equally many objects.
"""

import sys

from tests.benchmarks.scale import Benchmark, Speed, run_at_scale, take_time

ROUNDS = 10


def prepare(count: int) -> None:
    """Make ``count`` orphans, and as many objects more that no row names."""
    from tests.benchmarks.population import make_objects, make_rows

    make_rows(count)
    make_objects(2 * count)


def measure(count: int) -> Speed:
    """Purge ``count`` rows, and delete as many objects that no row names, in turns."""
    from attachments import services, storage
    from attachments.storage.client import get_bucket, get_client
    from tests.benchmarks.population import make_key

    numbers = iter(range(count, 2 * count))
    share = count // ROUNDS

    def delete_bare() -> None:
        for _ in range(0, share, storage.MAX_DELETE):
            batch = [{"Key": make_key(next(numbers))} for _ in range(storage.MAX_DELETE)]
            get_client().delete_objects(
                Bucket=get_bucket(), Delete={"Objects": batch, "Quiet": True}
            )

    def purge() -> None:
        assert services.purge_attachments(limit=share).orphans == share

    bare = service = 0.0
    for _ in range(ROUNDS):
        bare += take_time(delete_bare)
        service += take_time(purge)
    # Listing the bucket would be slow: the store walks folders that it has not removed yet.
    for number in range(0, 2 * count, count // 50):
        try:
            storage.inspect_object(make_key(number))
        except storage.ObjectNotFound:
            continue
        raise AssertionError(f"{make_key(number)} is left")
    return Speed(bare=count / bare, service=count / service, ratio=bare / service)


BENCHMARK = Benchmark(
    module="tests.benchmarks.purge_at_scale",
    description=__doc__,
    bare_name="DeleteObjects",
    service_name="purge",
    prepare=prepare,
    measure=measure,
)

if __name__ == "__main__":
    sys.exit(run_at_scale(BENCHMARK))
