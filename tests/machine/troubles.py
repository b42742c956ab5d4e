"""What goes wrong in the middle of an action: at the store, in the database, or with the process."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
import pytest
from botocore.client import BaseClient
from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from tests.databases import get_database_url
from tests.machine.kinds import DATABASE, DYING, PROCESS, SLOW_STORE, STORE, Trouble
from tests.machine.store_faults import OPERATIONS, STORE_FAULTS, drop_answer
from tests.proxy import Answer, Call, Exchange, Forward, StoreProxy


class Killed(BaseException):
    """The process is dead: it asks neither store nor database any more."""


class Troubles:
    """Lets the actions of the process under test meet what is asked for; ``happened`` counts it."""

    def __init__(self, proxy: StoreProxy, patch: pytest.MonkeyPatch) -> None:
        self.happened: Counter[str] = Counter()
        self.do_meanwhile: Callable[[str], object] = lambda what: None
        self.late: list[tuple[Call, Forward]] = []
        """Calls that were sent, and did not arrive yet."""
        self._errors: list[BaseException] = []
        self._others_done = threading.Condition()
        self._others_busy = 0
        self.forget()
        for operation in OPERATIONS:
            proxy.add(operation, self._pass_call, times=None)
        for where, name, is_store in (
            (BaseClient, "_make_api_call", True),
            (CursorWrapper, "execute", False),
            (CursorWrapper, "executemany", False),
            (BaseDatabaseWrapper, "_commit", False),
        ):
            patch.setattr(where, name, self._watch(getattr(where, name), is_store=is_store))

    def forget(self) -> None:
        self.is_store_down = False
        self.late.clear()
        self._rest()

    @contextmanager
    def meet(self, trouble: Trouble | None) -> Iterator[None]:
        """Let the actions inside meet it. Raises ``Killed``, and what others met meanwhile."""
        self._trouble, self._is_watching = trouble, True
        is_dead = False
        try:
            yield
        except BaseException:
            is_dead = self._is_dead
            if not is_dead:
                raise
        finally:
            is_dead |= self._is_dead
            with self._others_done:  # who go on when nobody waits for them any more
                self._others_done.wait_for(lambda: not self._others_busy, timeout=60)
            self._rest()
        if is_dead:
            raise Killed
        if self._errors:
            raise self._errors.pop()

    def let_others(self, do: str) -> None:
        """Others do this: it meets nothing, and does not count."""
        was_watching, self._is_watching = self._is_watching, False
        with self._others_done:
            self._others_busy += 1
        try:
            self.do_meanwhile(do)
        except BaseException as error:  # noqa: BLE001 - for whoever waits for them
            self._errors.append(error)
        finally:
            self._is_watching = was_watching
            with self._others_done:
                self._others_busy -= 1
                self._others_done.notify_all()

    def land(self) -> None:
        """Let all that is late arrive."""
        while self.late:
            call, forward = self.late.pop(0)
            self.happened[f"{call.operation} arrives late"] += 1
            forward().discard()

    def _rest(self) -> None:
        self._trouble: Trouble | None = None
        self._is_watching = self._is_dead = False
        self._passed: Counter[str] = Counter()

    def _takes(self, counted: str, kinds: tuple[str, ...]) -> Trouble | None:
        """The trouble, if it is of these kinds and the turn of this call."""
        if not self._is_watching:
            return None
        number, self._passed[counted] = self._passed[counted], self._passed[counted] + 1
        trouble = self._trouble
        if trouble is None or trouble.kind not in kinds or trouble.at != number:
            return None
        self._trouble = None
        return trouble

    def _watch(self, function: Any, *, is_store: bool) -> Any:
        """Count the calls of what a process does to others, and let it die before or after."""

        def run(target: Any, *args: Any, **kwargs: Any) -> Any:
            self._live_on(target)
            meet = None if is_store else self._takes("database", DATABASE)
            try:
                if meet is None:
                    return function(target, *args, **kwargs)
                return self._fail(meet.kind, target, lambda: function(target, *args, **kwargs))
            finally:
                self._live_on(target)

        return run

    def _live_on(self, target: Any) -> None:
        """Or die: then the database undoes what was not committed."""
        if self._takes("process", PROCESS):
            self.happened["process: kill"] += 1
            self._is_dead = True
        if self._is_dead and self._is_watching:
            database = getattr(target, "db", connection)
            if database.connection is not None:
                database.connection.close()
            raise Killed

    def _fail(self, kind: str, target: Any, run: Callable[[], Any]) -> Any:
        """A statement or a commit; what PostgreSQL says of it is raised."""
        self.happened[f"database: {kind}"] += 1
        database = getattr(target, "db", target)
        if kind == "lose_answer":
            run()
        if kind == "cancel":
            ask_in_vain(database, "SELECT pg_cancel_backend(pg_backend_pid()), pg_sleep(5)")
        pid = database.connection.info.backend_pid
        with psycopg.connect(get_database_url(), autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
        return run() if kind == "end_connection" else ask_in_vain(database, "SELECT 1")

    def _pass_call(self, exchange: Exchange, forward: Forward) -> Answer:
        if self.is_store_down:
            exchange.drain()
            raise ConnectionAbortedError
        trouble = self._takes("store", STORE + DYING + SLOW_STORE)
        if trouble is None:
            return forward()
        name = trouble.meanwhile and f", {trouble.meanwhile}"
        self.happened[f"{exchange.call.operation}: {trouble.kind}{name}"] += 1
        exchange.record()
        if trouble.kind in SLOW_STORE:
            return self._be_slow(forward, trouble)
        if trouble.kind == "come_late":
            return self._come_late(exchange, forward)
        if trouble.kind in DYING:
            return self._die(exchange, forward, kind=trouble.kind)
        return STORE_FAULTS[trouble.kind](exchange, forward)

    def _be_slow(self, forward: Forward, trouble: Trouble) -> Answer:
        answer = forward() if trouble.kind == "after" else None
        self.let_others(trouble.meanwhile)
        return answer or forward()

    def _come_late(self, exchange: Exchange, forward: Forward) -> Answer:
        self.late.append((exchange.call, forward))
        raise ConnectionAbortedError

    def _die(self, exchange: Exchange, forward: Forward, *, kind: str) -> Answer:
        self._is_dead = True
        if kind == "die_asking":
            return self._come_late(exchange, forward)
        return drop_answer(exchange, forward)


def ask_in_vain(database: Any, statement: str) -> None:
    """Raises what the database says, as Django has it."""
    with database.wrap_database_errors, suppress(psycopg.ProgrammingError):
        database.connection.execute(statement)
