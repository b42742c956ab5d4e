"""The rows of a snapshot: the attachments, and every table that they depend on, whole.

They are written as Django's ``jsonl`` fixtures, but to the microsecond and without a query per row.
Rows of the host that refer to attachments or messages are not in it: the host backs them up.
"""

import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, time
from functools import cache
from hashlib import sha256
from typing import IO, Any

from django.core.serializers import jsonl
from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection, transaction
from django.db.models import Count, Model, QuerySet, Sum

from attachments import storage
from attachments.models import Attachment

ATTACHMENT = Attachment._meta.label_lower
BATCH_SIZE = 1000
# `migrate` makes these rows with other ids in each database, so natural keys stand for their ids.
_MADE_BY_MIGRATE = {"contenttypes.contenttype", "auth.permission"}
# Objects of uploads that are under way are not kept, and neither are their rows.
_KEPT = [Attachment.Status.READY, Attachment.Status.REJECTED, Attachment.Status.INFECTED]


@dataclass(frozen=True, kw_only=True)
class RowDump:
    """The serialised rows of one moment."""

    content: IO[bytes]
    sha256: str
    rows: int
    objects: int
    """Ready attachments."""
    size_bytes: int
    """The bytes of their objects."""


def list_models() -> list[type[Model]]:
    """The models of a snapshot, each after those that it depends on, ``Attachment`` last."""
    seen: set[type[Model]] = set()
    found: list[type[Model]] = []

    def visit(related: Any) -> None:
        model: type[Model] = related._meta.concrete_model
        if model in seen or is_made_by_migrate(model):
            return
        seen.add(model)
        for field in model._meta.local_fields:
            if field.remote_field:
                visit(field.remote_field.model)
        found.append(model)
        for many_to_many in model._meta.local_many_to_many:
            visit(many_to_many.remote_field.through)

    visit(Attachment)
    return [model for model in found if model is not Attachment] + [Attachment]


@contextmanager
def dump_rows() -> Iterator[RowDump]:
    """Serialise all rows as they are at one moment, into a temporary file."""
    with storage.open_spool() as content:
        with _freeze_database():
            for model in list_models():
                _dump(model, content)
            ready = Attachment.objects.ready().aggregate(
                objects=Count("pk"), size_bytes=Sum("size_bytes", default=0)
            )
        content.seek(0)
        digest, rows = sha256(), 0
        for line in content:
            digest.update(line)
            rows += 1
        yield RowDump(content=content, sha256=digest.hexdigest(), rows=rows, **ready)


def is_made_by_migrate(model: type[Model]) -> bool:
    return model._meta.label_lower in _MADE_BY_MIGRATE


def is_ready(record: dict[str, Any]) -> bool:
    """Whether it is the serialised row of an attachment that the store serves."""
    return bool(
        record["model"] == ATTACHMENT and record["fields"]["status"] == Attachment.Status.READY
    )


@contextmanager
def _freeze_database() -> Iterator[None]:
    """Let every query see the same moment. On SQLite any transaction does so."""
    with transaction.atomic(durable=True):
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        yield


class _Encoder(DjangoJSONEncoder):
    """Writes times to the microsecond; Django's own encoder cuts them to milliseconds."""

    def default(self, o: Any) -> Any:
        return o.isoformat() if isinstance(o, date | time) else super().default(o)


class _Serializer(jsonl.Serializer):
    """As Django's, but rows of the table between two models are written as rows of that table."""

    _current: dict[str, Any]  # the fields of the row being written

    def __init__(self) -> None:
        self._get_natural_keys = cache(read_natural_keys)

    def handle_fk_field(self, obj: Any, field: Any) -> None:
        value = self._value_from_field(obj, field)  # type: ignore[attr-defined]
        if value is not None and is_made_by_migrate(field.remote_field.model):
            value = self._get_natural_keys(field.remote_field.model)[value]
        self._current[field.name] = value

    def handle_m2m_field(self, obj: Any, field: Any) -> None:
        """Write nothing: the table between the models is dumped itself."""


def read_natural_keys(model: type[Model]) -> dict[Any, tuple[Any, ...]]:
    """The natural keys of a whole table by primary key, in one query."""
    rows: Iterable[Any] = model._base_manager.select_related()
    return {row.pk: row.natural_key() for row in rows}


def serialize_rows(rows: Iterable[Model], stream: IO[str]) -> None:
    _Serializer().serialize(rows, stream=stream, cls=_Encoder)


def _dump(model: type[Model], content: IO[bytes]) -> None:
    rows: QuerySet[Any] = model._base_manager.order_by("pk")
    if model is Attachment:
        rows = rows.filter(status__in=_KEPT)
    stream = io.TextIOWrapper(content, encoding="utf-8", newline="\n")
    serialize_rows(rows.iterator(BATCH_SIZE), stream)
    stream.detach()
