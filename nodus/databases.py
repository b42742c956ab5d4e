"""PostgreSQL as nodus uses it. What DATABASE_URL says wins over what is set here."""

import warnings
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, ClassVar

from django.core.exceptions import ImproperlyConfigured
from psycopg import Connection, Error, OperationalError
from psycopg.pq import TransactionStatus
from psycopg_pool import ConnectionPool
from psycopg_pool.base import AttemptWithBackoff

_CANCEL_SECONDS = 1
# How often psycopg looks up while it waits, for Ctrl-C.
_INTERVAL_SECONDS = 0.1


class PatientConnection(Connection[Any]):
    """A connection that gives up a statement without an answer, if ``patience`` says when.

    A server that hangs sends nothing, and neither does a machine that is gone. Without a limit, a
    request keeps its thread until the operating system gives up: a quarter of an hour, or never.
    """

    patience: ClassVar[float | None] = None
    """Seconds for each statement of this process, or for each part of its result."""

    def wait(self, gen: Any, interval: float = _INTERVAL_SECONDS, timeout: Any = None) -> Any:
        try:
            return super().wait(gen, interval, timeout or self.patience)
        except OperationalError as error:
            is_told = error.sqlstate is not None
            if is_told or self.info.transaction_status != TransactionStatus.ACTIVE:
                raise
            self._give_up()
            message = f"PostgreSQL gave no answer within {self.patience} s."
            raise OperationalError(message) from error

    def _give_up(self) -> None:
        """Closed alone, a statement that waits for a lock would keep its server process."""
        with suppress(Error):
            self.cancel_safe(timeout=_CANCEL_SECONDS)
        self.close()  # an answer that comes yet would be taken for that of the next statement


# A request waits for a connection no longer than a client waits for an answer.
_WAIT_SECONDS = 1.5
_POOL = {
    "min_size": 1,
    "max_size": 8,
    "timeout": _WAIT_SECONDS,
    "connection_class": PatientConnection,
}
# Commands and workers, whose statements may take long, notice within a minute that the machine at
# the other end is gone.
_LIVENESS = {
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,  # ms
}
# A pool pauses after each connection that does not work any more, each time twice as long. From its
# own second on, the four that a restart broke would take longer than a request waits.
_FIRST_PAUSE_SECONDS = 0.01
# What is Django's own, and takes more than the numbers and texts that a URL has.
_SETTINGS = (
    "ATOMIC_REQUESTS",
    "AUTOCOMMIT",
    "CONN_HEALTH_CHECKS",
    "CONN_MAX_AGE",
    "DISABLE_SERVER_SIDE_CURSORS",
)
_OPTIONS = ("pool", "prepare_threshold", "server_side_binding")
_WORDS = {
    **dict.fromkeys(("true", "yes", "on"), True),
    **dict.fromkeys(("false", "no", "off"), False),
    "none": None,
}


def read_url(
    parse: Callable[[str], dict[str, Any]], url: str, *, name: str, example: str
) -> dict[str, Any]:
    """What Django takes for the URL in the variable ``name``.

    Raises ``ImproperlyConfigured`` without the URL, which has a password.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # the error says the same
            config = parse(url)
        if "ENGINE" in config or "BACKEND" in config:
            return config
    except (ValueError, ImproperlyConfigured):
        pass
    raise ImproperlyConfigured(f"{name} is no address such as {example}.")


def complete_postgres(config: dict[str, Any], *, is_pgbouncer: bool) -> dict[str, Any]:
    """Add what ``config``, read from DATABASE_URL, does not say itself.

    With ``is_pgbouncer`` a connection is another one in each transaction: nothing is prepared, and
    no cursor stays open on the server beyond one.
    """
    config = _read_words(config, _SETTINGS)
    options = _read_words(config.get("OPTIONS", {}), _OPTIONS)
    asked = {name: options.pop(name) for name in list(options) if name.startswith("pool_")}
    pool = _POOL | {name.removeprefix("pool_"): value for name, value in asked.items()}
    has_pool = options.pop("pool", config.get("CONN_MAX_AGE", 0) == 0)
    AttemptWithBackoff.INITIAL_DELAY = _FIRST_PAUSE_SECONDS
    ConnectionPool.check_connection = staticmethod(_check_connection)  # type: ignore[assignment]
    return {
        # A connection that the server closed, as when it restarts, is noticed before its use.
        "CONN_HEALTH_CHECKS": True,
        "DISABLE_SERVER_SIDE_CURSORS": is_pgbouncer,
        **config,
        "OPTIONS": {
            "connect_timeout": 2,  # libpq takes no less
            **_LIVENESS,
            # PostgreSQL parses and plans a statement once per connection.
            "server_side_binding": True,
            "prepare_threshold": None if is_pgbouncer else 5,
            **options,
            **({"pool": pool} if has_pool else {}),
        },
    }


def _check_connection(connection: Connection[Any]) -> None:
    """Raise ``OperationalError`` if the server closed the connection.

    The pool's own check asks the server, in each request. This one reads what has come already:
    news of its settings and its last words perhaps, each a read of its own with TLS, and the end.
    """
    for _ in range(4):
        connection.pgconn.consume_input()


def _read_words(values: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return values | {
        name: _WORDS.get(str(values[name]).lower(), values[name])
        for name in names
        if name in values
    }
