"""The table to take over: that of the guide's back end. It is read, and never written."""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any, NamedTuple

from django.db import DatabaseError, OperationalError, connections
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from attachments.errors import SourceDoesNotFit, SourceIsOurs, SourceUnreadable


class OldRow(NamedTuple):
    """A row as the database gives it. Its fields are the guide's columns."""

    id: str
    user_id: Any
    message_id: Any
    filename: str
    content_type: str
    size_bytes: int | None
    storage_key: str
    metadata: Any
    created_at: datetime


COLUMNS = OldRow._fields
_FIRST = "SELECT {columns} FROM {table} ORDER BY id LIMIT %s"
_NEXT = "SELECT {columns} FROM {table} WHERE id > %s ORDER BY id LIMIT %s"


@dataclass(frozen=True, kw_only=True)
class Source:
    """The rows of one table, in the order of their ids."""

    table: str
    """Its name; ``schema.table`` will do."""
    using: str = "default"
    """The alias in DATABASES."""
    time_zone: tzinfo = UTC
    """Of moments that have none: the guide's ``TIMESTAMP DEFAULT NOW()``."""

    def count(self) -> int:
        """How many rows there are. Raises an ``AdoptionError`` if the table is another one."""
        columns = self._read_columns()
        if "copy_key" in columns:
            raise SourceIsOurs(table=self.table)
        if missing := [name for name in COLUMNS if name not in columns]:
            raise SourceDoesNotFit(table=self.table, columns=", ".join(missing))
        ((count,),) = self._query("SELECT count(*) FROM {table}")
        return int(count)

    def read(self, batch_size: int) -> Iterator[list[OldRow]]:
        """The rows in batches, each with a query of its own, so that no snapshot stays open."""
        batch = self._read_batch(_FIRST, batch_size)
        while batch:
            yield [self._convert(row) for row in batch]
            batch = self._read_batch(_NEXT, batch[-1].id, batch_size)

    def _read_batch(self, statement: str, *params: Any) -> list[OldRow]:
        return [OldRow._make(row) for row in self._query(statement, *params)]

    def _read_columns(self) -> set[str]:
        connection = connections[self.using]
        connection.ensure_connection()
        with self._explaining_errors(), connection.cursor() as cursor:
            cursor.execute(self._spell("SELECT * FROM {table} LIMIT 0"), ())
            return {column[0] for column in cursor.description}

    def _query(self, statement: str, *params: Any) -> list[tuple[Any, ...]]:
        with self._explaining_errors(), connections[self.using].cursor() as cursor:
            cursor.execute(self._spell(statement), params)
            rows: list[tuple[Any, ...]] = cursor.fetchall()
            return rows

    @contextmanager
    def _explaining_errors(self) -> Iterator[None]:
        """A table that is missing, or a moment such as ``infinity``, that no ``datetime`` holds."""
        try:
            yield
        except (DatabaseError, UnicodeError) as error:
            # SQLite says so of a table that is missing, too.
            is_away = isinstance(error, OperationalError)
            if is_away and connections[self.using].vendor == "postgresql":
                raise
            reason = str(error).partition("\n")[0]
            raise SourceUnreadable(table=self.table, reason=reason) from error

    def _spell(self, statement: str) -> str:
        quote = connections[self.using].ops.quote_name
        table = ".".join(quote(part) for part in self.table.split(".")).replace("%", "%%")
        return statement.format(table=table, columns=", ".join(map(quote, COLUMNS)))

    def _convert(self, row: OldRow) -> OldRow:
        return row._replace(
            id=str(row.id),
            filename=row.filename or "",
            content_type=row.content_type or "",
            storage_key=row.storage_key or "",
            metadata=_read_json(row.metadata),
            created_at=self._read_moment(row.created_at),
        )

    def _read_moment(self, value: Any) -> datetime:
        """Now, if there is none: the guide's column may be null, and SQLite holds anything."""
        moment = value
        if isinstance(value, str):
            with suppress(ValueError):
                moment = parse_datetime(value)
        if not isinstance(moment, datetime):
            return timezone.now()
        return moment if timezone.is_aware(moment) else moment.replace(tzinfo=self.time_zone)


def _read_json(value: Any) -> Any:
    """An empty object for null, in SQL or in JSON: SQLAlchemy stores None as JSON.

    A text that is not JSON stays one: a column of SQLite holds anything.
    """
    if isinstance(value, str):
        with suppress(ValueError, RecursionError):
            value = json.loads(value)
    return {} if value is None else value
