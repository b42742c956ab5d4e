"""Put the rows of a snapshot back, in batches, without signals and without a query per row."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from io import StringIO
from itertools import groupby, islice
from typing import Any

from django.apps import apps
from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.core.serializers import python
from django.core.serializers.base import DeserializationError
from django.db import DataError, IntegrityError, ProgrammingError, connection, transaction
from django.db.models import Model
from django.db.models.constants import OnConflict

from attachments.backups.row_dump import (
    BATCH_SIZE,
    is_made_by_migrate,
    read_natural_keys,
    serialize_rows,
)
from attachments.backups.thumbnails import drop_thumbnails, without_thumbnail
from attachments.errors import RowsDoNotFit, WouldOverwrite

Record = dict[str, Any]

_ADVANCE_SEQUENCE = """
SELECT setval(sequence, last_id)
FROM (
    SELECT pg_get_serial_sequence(%s, %s)::regclass AS sequence, max({column}) AS last_id
    FROM {table}
) AS ids
WHERE last_id > coalesce(pg_sequence_last_value(sequence), 0)
"""


class Existing(Enum):
    """What to do about rows and objects that are there already and are not the same."""

    REFUSE = "refuse"
    KEEP = "keep"
    OVERWRITE = "overwrite"


@dataclass(kw_only=True)
class RestoreCounts:
    """How many rows of a table, or how many objects, a restore created or found.

    A preview counts what a restore would create or find.
    """

    created: int = 0
    unchanged: int = 0
    different: int = 0
    """There already, with other values or bytes. The option says if they are overwritten."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """A row or an object of the backup that is not there, or is there and different."""

    what: str
    """The model of the row, or ``object``."""
    name: str
    """The row's primary key, or the object's key."""
    is_new: bool


def restore_rows(
    records: Iterable[Record],
    *,
    existing: Existing = Existing.REFUSE,
    is_dry_run: bool = False,
    on_named: Callable[[Found], None] = lambda found: None,
) -> dict[str, RestoreCounts]:
    """Insert the rows that are missing; give the counts by model.

    ``on_named`` is called with each row that is new or different.
    All in one transaction: if it raises ``RowsDoNotFit`` or ``WouldOverwrite``, nothing changes.
    """
    counts: dict[str, RestoreCounts] = {}
    try:
        with transaction.atomic():
            for label, given in _make_batches(records):
                batch = [without_thumbnail(record) for record in given]
                count = counts.setdefault(label, RestoreCounts())
                new, different = _compare(apps.get_model(label), batch)
                count.created += len(new)
                count.different += len(different)
                count.unchanged += len(batch) - len(new) - len(different)
                for record in new:
                    on_named(Found(what=label, name=str(record["pk"]), is_new=True))
                for record in different:
                    on_named(Found(what=label, name=str(record["pk"]), is_new=False))
                if not is_dry_run:
                    drop_thumbnails(
                        given,
                        new=new,
                        overwritten=different if existing is Existing.OVERWRITE else [],
                    )
                    _write_batch(apps.get_model(label), new, different, existing)
            if not is_dry_run:
                _advance_sequences([apps.get_model(label) for label in counts])
    except (
        DataError,
        DeserializationError,
        FieldDoesNotExist,
        IntegrityError,
        LookupError,
        ProgrammingError,
        ValidationError,
    ) as error:
        raise RowsDoNotFit(reason=str(error)) from error
    return counts


def _make_batches(records: Iterable[Record]) -> Iterator[tuple[str, list[Record]]]:
    for label, group in groupby(records, key=lambda record: record["model"]):
        while batch := list(islice(group, BATCH_SIZE)):
            yield label, batch


def _compare(model: type[Model], batch: list[Record]) -> tuple[list[Record], list[Record]]:
    """The records whose row is missing, and those whose row has other values."""
    present = _read(model, pk__in=[record["pk"] for record in batch])
    rows = {str(row["pk"]): row for row in present}
    new = [record for record in batch if str(record["pk"]) not in rows]
    different = [
        record for record in batch if (row := rows.get(str(record["pk"]))) and row != record
    ]
    if new and model._meta.auto_created:
        new = _drop_known_pairs(model, new)
    return new, different


def _drop_known_pairs(model: type[Model], new: list[Record]) -> list[Record]:
    """Drop records whose pair is linked already by a row of another id.

    A user who left a group and came back has such a row.
    """
    source = next(iter(new[0]["fields"]))
    present = _read(model, **{f"{source}__in": [record["fields"][source] for record in new]})
    known = {json.dumps(row["fields"]) for row in present}
    return [record for record in new if json.dumps(record["fields"]) not in known]


def _read(model: type[Model], **lookup: Any) -> Iterator[Record]:
    """The rows in the database, serialised as in a snapshot."""
    stream = StringIO()
    serialize_rows(model._base_manager.filter(**lookup).iterator(BATCH_SIZE), stream)
    stream.seek(0)
    return map(without_thumbnail, map(json.loads, stream))


def _write_batch(
    model: type[Model], new: list[Record], different: list[Record], existing: Existing
) -> None:
    if different and existing is Existing.REFUSE:
        raise WouldOverwrite(rows=len(different), objects=0)
    _write(model, new, overwrite=False)
    if existing is Existing.OVERWRITE:
        _write(model, different, overwrite=True)


def _write(model: type[Model], batch: list[Record], *, overwrite: bool) -> None:
    """Insert as ``bulk_create`` does, but raw: no field changes its value, such as to now."""
    records = _resolve_natural_keys(model, batch)
    rows = [item.object for item in python.Deserializer(records)]
    fields = [field for field in model._meta.local_concrete_fields if not field.generated]
    identity = list(model._meta.pk_fields)
    others = [field for field in fields if field not in identity]
    conflict: dict[str, Any] = {
        "on_conflict": OnConflict.UPDATE if others else OnConflict.IGNORE,
        "update_fields": others,
        "unique_fields": identity,
    }
    size = connection.ops.bulk_batch_size(fields, rows) or BATCH_SIZE
    for start in range(0, len(rows), size):
        model._base_manager._insert(  # type: ignore[attr-defined]
            rows[start : start + size],
            fields=fields,
            raw=True,
            **(conflict if overwrite else {}),
        )


def _resolve_natural_keys(model: type[Model], batch: list[Record]) -> list[Record]:
    """Replace natural keys by the ids of this database. Raises ``LookupError``."""
    ids = {
        field.name: _read_ids(field.remote_field.model)
        for field in model._meta.local_fields
        if batch and field.remote_field and is_made_by_migrate(field.remote_field.model)
    }
    return [
        {**record, "fields": {**record["fields"], **_find_ids(ids, record["fields"])}}
        for record in batch
    ]


def _read_ids(model: Any) -> dict[tuple[Any, ...] | None, Any]:
    keys = read_natural_keys(model)
    return {None: None, **{natural_key: pk for pk, natural_key in keys.items()}}


def _find_ids(ids: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
    return {name: ids[name][fields[name] and tuple(fields[name])] for name in ids}


def _advance_sequences(models: list[type[Model]]) -> None:
    """Let the next id of each table come after the inserted ones. SQLite does this by itself.

    Django's ``sequence_reset_sql`` could also set a sequence back: to ids that were deleted, or
    that another transaction has taken and not committed yet.
    """
    if connection.vendor != "postgresql":
        return
    quote = connection.ops.quote_name
    with connection.cursor() as cursor:
        for model in models:
            if field := model._meta.auto_field:
                table, column = quote(model._meta.db_table), str(field.column)
                statement = _ADVANCE_SEQUENCE.format(table=table, column=quote(column))
                cursor.execute(statement, [table, column])
