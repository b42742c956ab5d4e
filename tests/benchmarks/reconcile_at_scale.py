"""Reconcile against a bare listing of the bucket, and its memory; `make bench-large` runs it.

Both read the same objects.
"""

import sys
from statistics import median

from tests.benchmarks.scale import Benchmark, Speed, run_at_scale, take_time

ROUNDS = 3


def prepare(count: int) -> None:
    """Make ``count`` ready rows in the place of those before, and their objects."""
    from django.db import connection

    from tests.benchmarks.population import make_objects, make_rows

    connection.cursor().execute("TRUNCATE attachments")
    make_rows(count)
    make_objects(count)


def measure(count: int) -> Speed:
    """List ``count`` objects, and reconcile them with as many rows, in turns."""
    from attachments import services
    from attachments.storage.client import get_bucket, get_client

    def list_bare() -> None:
        pages = get_client().get_paginator("list_objects_v2").paginate(Bucket=get_bucket())
        assert sum(page["KeyCount"] for page in pages) == count

    def reconcile() -> None:
        report = services.reconcile_storage()
        assert report == services.ReconcileReport(rows=count, objects=count)

    rounds = [(take_time(list_bare), take_time(reconcile)) for _ in range(ROUNDS)]
    return Speed(
        bare=count / median(bare for bare, _service in rounds),
        service=count / median(service for _bare, service in rounds),
        ratio=median(bare / service for bare, service in rounds),
    )


BENCHMARK = Benchmark(
    module="tests.benchmarks.reconcile_at_scale",
    description=__doc__,
    bare_name="listing",
    service_name="reconcile",
    prepare=prepare,
    measure=measure,
)

if __name__ == "__main__":
    sys.exit(run_at_scale(BENCHMARK))
