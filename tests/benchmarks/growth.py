"""How long each call takes on tables of a thousand to a million rows, turn by turn.

Each table is in a schema of its own, with servers of its own. One client asks each in turn, so that
other work on the machine slows all of them.
"""

import os
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from tests.benchmarks.server import Server, serve
from tests.benchmarks.uploads import SMALL_FILE_BYTES

USERS = range(3, 10)
"""Of those that every table has, each with a hundred rows."""
PURGED = 100
"""Rows in a batch; the smallest table has room for a few such."""
PURGES = 3


@dataclass(frozen=True, kw_only=True)
class Growth:
    name: str
    rows: list[int]
    p50_ms: list[float]
    p95_ms: list[float]

    @property
    def ratio(self) -> float:
        """Of the largest table's p95 to that of the smallest."""
        return self.p95_ms[-1] / self.p95_ms[0]


def measure_growth(
    directory: Path, sizes: Sequence[int], *, turns: int
) -> tuple[list[Growth], float]:
    """The growth of each call, and the bytes that the largest table takes per row, indexes too."""
    sites = [Site(rows) for rows in sizes]
    with ExitStack() as stack:
        for site in sites:
            site.open(stack.enter_context(serve(directory, PGOPTIONS=site.options)))
        for turn in range(turns + 1):
            for site in sites:
                site.play()
            if turn == 0:  # it warms up
                for site in sites:
                    site.forget()
    for _ in range(PURGES):
        for site in sites:
            site.purge()
    found = [site.tally.steps for site in sites]
    growth = [
        Growth(
            name=name,
            rows=list(sizes),
            p50_ms=[steps[name].find_percentile_ms(50) for steps in found],
            p95_ms=[steps[name].find_percentile_ms(95) for steps in found],
        )
        for name in found[0]
        if name not in ("flow", "post", "fetch")  # they ask the store alone
    ]
    return growth, sites[-1].measure_row_bytes()


class Site:
    """One table, and all that is asked of it."""

    def __init__(self, rows: int) -> None:
        from tests.benchmarks.population import make_schema
        from tests.benchmarks.usage_at_scale import FILL

        self._schema = f"growth_{rows}"
        started = time.monotonic()
        make_schema(self._schema, FILL.format(rows=rows))
        self._execute("VACUUM ANALYZE attachments")
        print(
            f"{rows:,} rows made in {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True
        )
        self._random = Random(rows)

    @property
    def options(self) -> str:
        return f"-c search_path={self._schema}"

    def open(self, server: Server) -> None:
        from django.contrib.auth import get_user_model
        from django.test import Client

        self._enter()
        self._port = server.port
        self._tokens = [self._make_token(number) for number in USERS]
        admin = Client(SERVER_NAME="localhost")
        admin.force_login(get_user_model().objects.create_superuser("root", id=10_000_000))
        self._cookie = admin.cookies["sessionid"].value
        self._old = self._find_old()
        self.forget()

    def forget(self) -> None:
        """Begin to count anew."""
        from tests.load.caller import Caller
        from tests.load.flow import Flow
        from tests.load.tally import Tally
        from tests.load.uploads import Journal

        self.tally = Tally()
        self._callers = [
            Caller(port=self._port, token=token, tally=self.tally, random=self._random, loses=0)
            for token in self._tokens
        ]
        self._flows = [
            Flow(
                caller=caller,
                journal=Journal(),
                tally=self.tally,
                random=self._random,
                sizes=(SMALL_FILE_BYTES,),
                keeps=0,
            )
            for caller in self._callers
        ]

    def play(self) -> None:
        """A whole upload by somebody, and a look at what was there before."""
        from tests.load.caller import API

        number = self._random.randrange(len(self._callers))
        caller, old = self._callers[number], self._random.choice(self._old[number])
        self._flows[number].play()
        caller.call("detail of an old file", "GET", f"{API}/{old}")
        caller.call("usage", "GET", f"{API}/usage")
        headers = {"Cookie": f"sessionid={self._cookie}"}
        address = f"http://127.0.0.1:{self._port}/admin/attachments/attachment/"
        answer = caller.send("admin list", "GET", address, headers=headers)
        assert answer is not None, "the admin does not answer"
        assert answer.status_code == 200, answer.status_code
        assert not self.tally.problems, self.tally.problems

    def purge(self) -> None:
        from attachments import services

        self._enter()
        started = time.perf_counter()
        assert services.purge_attachments(limit=PURGED).row_count
        self.tally.note(f"purge of {PURGED}", time.perf_counter() - started)

    def measure_row_bytes(self) -> float:
        self._enter()
        ((size, count),) = self._execute(
            "SELECT pg_total_relation_size('attachments'), count(*) FROM attachments"
        )
        return float(size / count)

    def _make_token(self, number: int) -> str:
        from django.contrib.auth import get_user_model
        from rest_framework_simplejwt.tokens import AccessToken

        return str(AccessToken.for_user(get_user_model().objects.get(username=f"user-{number}")))

    def _find_old(self) -> list[list[str]]:
        """Ready files of each user, from anywhere in the table."""
        return [
            [
                str(pk)
                for (pk,) in self._execute(
                    "SELECT id FROM attachments WHERE user_id = %s AND status = 'ready' LIMIT 50",
                    number,
                )
            ]
            for number in USERS
        ]

    def _enter(self) -> None:
        """All connections of this process are new ones, to this schema."""
        from django.db import connection

        os.environ["PGOPTIONS"] = self.options
        connection.close()
        connection.close_pool()

    def _execute(self, statement: str, *values: Any) -> list[Any]:
        from django.db import connection

        with connection.cursor() as cursor:
            cursor.execute(statement, values)
            return cursor.fetchall() if cursor.description else []
