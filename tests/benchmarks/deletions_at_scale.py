"""Deletions beside a backlog of others, and among notes that are not due; `make bench-large` runs it.

A request that deletes must take as long with ten thousand notes of others as without. Finding what
is due must read nothing else. Both sizes are measured in one run, in turns.
"""

import json
import sys
from dataclasses import asdict, dataclass
from statistics import median

from rich.console import Console
from rich.table import Table

from tests.benchmarks.options import make_parser
from tests.benchmarks.scale import take_time
from tests.benchmarks.server import open_services

DUE, NOT_DUE, ROUNDS = 10_000, 500_000, 15
MAX_RATIO = 2.0
MAX_FIND_MS = 20
ADD_NOTES = """
INSERT INTO attachments_deletions (key, due_at)
SELECT 'attachments/' || gen_random_uuid() || '/' || n, now() + %(delay)s::interval
FROM generate_series(1, %(count)s) AS n
"""


@dataclass(frozen=True, kw_only=True)
class Figures:
    delete_alone_ms: float
    delete_beside_due_ms: float
    """With ``DUE`` notes of others."""
    find_among_few_ms: float
    find_among_many_ms: float
    """In the database, with ``NOT_DUE`` notes that are not due."""

    @property
    def delete_ratio(self) -> float:
        return self.delete_beside_due_ms / self.delete_alone_ms

    @property
    def is_met(self) -> bool:
        return self.delete_ratio <= MAX_RATIO and self.find_among_many_ms <= MAX_FIND_MS


def main() -> int:
    options = make_parser(__doc__).parse_args()
    due, not_due, rounds = (50, 100, 2) if options.smoke else (DUE, NOT_DUE, ROUNDS)
    with open_services():
        alone, beside = measure_deleting(due, rounds)
        few, many = measure_finding(not_due, rounds)
    figures = Figures(
        delete_alone_ms=alone,
        delete_beside_due_ms=beside,
        find_among_few_ms=few,
        find_among_many_ms=many,
    )
    report(figures, as_json=options.json)
    return 0 if options.smoke or figures.is_met else 1


def measure_deleting(due: int, rounds: int) -> tuple[float, float]:
    """Milliseconds of one deletion by the API, without and with due notes of others."""
    from django.contrib.auth import get_user_model
    from rest_framework.test import APIClient

    user = get_user_model().objects.create_user("deleter")
    client = APIClient(SERVER_NAME="localhost")
    client.force_authenticate(user)
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds + 1):  # the first one warms up
        for count, found in zip((0, due), times, strict=True):
            set_notes(count, delay="-1 hour")
            found.append(delete_one(client, user))
            assert count_notes() == count, "the notes of others are left"
    return median(times[0][1:]) * 1000, median(times[1][1:]) * 1000


def delete_one(client, user) -> float:
    from django.utils import timezone

    from attachments.models import Attachment
    from attachments.storage.client import get_bucket, get_client

    row = Attachment(
        user=user,
        filename="file.pdf",
        content_type="application/pdf",
        size_bytes=9,
        status="ready",
        confirmed_at=timezone.now(),
        expires_at=timezone.now(),
    )
    row.storage_key = row.make_key()
    row.save()
    get_client().put_object(Bucket=get_bucket(), Key=row.key, Body=b"%PDF-1.7\n")

    def delete() -> None:
        answer = client.delete(f"/api/v1/attachments/{row.pk}")
        assert answer.status_code == 204, answer.content

    return take_time(delete)


def measure_finding(not_due: int, rounds: int) -> tuple[float, float]:
    """Milliseconds in the database of finding what is due: one note, among few and among many."""
    found = []
    for count in (100, not_due):
        set_notes(count, delay="1 day")
        found.append(median(find_due() for _ in range(rounds)))
    return found[0], found[1]


def find_due() -> float:
    """Run the statement that claims notes again, and let PostgreSQL say how long it took."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    from attachments import services
    from attachments.services.deletions import note_deletions

    note_deletions(["attachments/due"])
    with CaptureQueriesContext(connection) as queries:
        assert services.carry_out_deletions() == 1
    note_deletions(["attachments/due"])
    claim = next(item["sql"] for item in queries if "FOR UPDATE" in item["sql"])
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {claim}")
        plan = cursor.fetchone()[0][0]
    services.carry_out_deletions()
    return float(plan["Execution Time"])


def set_notes(count: int, *, delay: str) -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE attachments_deletions")
        cursor.execute(ADD_NOTES, {"count": count, "delay": delay})
        cursor.execute("ANALYZE attachments_deletions")
        cursor.execute("CHECKPOINT")  # or writing these notes would slow what is measured


def count_notes() -> int:
    from attachments.models import ObjectDeletion

    return ObjectDeletion.objects.count()


def report(figures: Figures, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({**asdict(figures), "delete_ratio": figures.delete_ratio}))
        return
    table = Table("What", "without ms", "with ms", "must be")
    table.add_row(
        f"one deletion, {DUE:,} due notes of others",
        f"{figures.delete_alone_ms:.1f}",
        f"{figures.delete_beside_due_ms:.1f}",
        f"{MAX_RATIO:g} times at most ({figures.delete_ratio:.2f})",
    )
    table.add_row(
        f"finding what is due, {NOT_DUE:,} notes that are not",
        f"{figures.find_among_few_ms:.2f}",
        f"{figures.find_among_many_ms:.2f}",
        f"{MAX_FIND_MS} ms at most",
    )
    Console(width=None if sys.stdout.isatty() else 120).print(table)


if __name__ == "__main__":
    sys.exit(main())
