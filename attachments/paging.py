"""Pages by position: a page is what lies beyond a row, usually newest first.

A deep page costs no more than the first, and rows that arrive in between move nothing. The API and
the admin share this code.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol, runtime_checkable

from django.core.exceptions import ValidationError
from django.db.models import BooleanField, Field, Func, Model, Q, QuerySet, Value

NEWEST_FIRST = ("created_at", "pk")
"""The usual order. The id comes last, because thousands of rows may share a moment."""

# How a position is written, by (is_newer, includes_row).
_DIRECTIONS = {
    (False, False): "older",
    (True, False): "newer",
    (False, True): "older-or-same",
    (True, True): "newer-or-same",
}


class InvalidPosition(Exception):
    """The text is no position that this code wrote."""


@dataclass(frozen=True, kw_only=True)
class Position:
    """A row's place in the order, and the side of it that is asked for."""

    values: tuple[Any, ...]
    is_newer: bool = False
    includes_row: bool = False

    def write(self) -> str:
        direction = _DIRECTIONS[self.is_newer, self.includes_row]
        return f"{direction}.{'~'.join(map(_write_value, self.values))}"


def parse_position(text: str, *, model: type[Model], names: Sequence[str]) -> Position:
    """Read what ``Position.write`` wrote for these fields; raise ``InvalidPosition``."""
    direction, _, values = text.partition(".")
    sides = [sides for sides, word in _DIRECTIONS.items() if word == direction]
    try:
        ((is_newer, includes_row),) = sides
        parsed = [
            _parse_value(_get_field(model, name), value)
            for name, value in zip(names, values.split("~"), strict=True)
        ]
    except (ValueError, OverflowError, ValidationError) as error:
        raise InvalidPosition from error
    return Position(values=tuple(parsed), is_newer=is_newer, includes_row=includes_row)


@dataclass(frozen=True, kw_only=True)
class Window:
    """The next rows beyond a position, in the order in which they are met."""

    names: tuple[str, ...]
    """Of the fields that give the order, all in one direction. The last one is unique."""
    position: Position | None
    size: int
    is_ascending: bool = False
    """Whether the first page begins with the oldest or smallest."""

    @property
    def limit(self) -> int:
        """One row more than the page holds tells whether there are others beyond."""
        return self.size + 1

    @property
    def is_newer(self) -> bool:
        return self.is_ascending if self.position is None else self.position.is_newer

    def read(self, queryset: QuerySet[Any]) -> tuple[list[Any], bool]:
        """The rows of the page, and whether there are others beyond."""
        found = list(self.arrange(queryset)[: self.limit])
        return found[: self.size], len(found) > self.size

    def arrange(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """All that lies beyond the position."""
        return queryset.filter(self.is_beyond(queryset.model)).order_by(*self.sort_by(self.names))

    def is_beyond(self, model: type[Model], *, prefix: str = "") -> Any:
        """A condition for ``filter``. ``prefix`` leads from the queryset's model to ``model``."""
        if self.position is None:
            return Q()
        operator = ">" if self.is_newer else "<"
        operator += "=" if self.position.includes_row else ""
        return _compare(model, self.names, operator, self.position.values, prefix)

    def is_before(self, values: Sequence[Any], model: type[Model]) -> Any:
        """A condition for ``filter``: no farther away than the row with these values."""
        return _compare(model, self.names, "<=" if self.is_newer else ">=", values)

    def sort_by(self, names: Iterable[str]) -> list[str]:
        return [name if self.is_newer else f"-{name}" for name in names]

    def merge(self, places: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        """The first of these places, each once."""
        return sorted(set(places), reverse=not self.is_newer)[: self.limit]


@runtime_checkable
class Source(Protocol):
    """Rows of one order that no single queryset finds quickly."""

    model: type[Model]

    def read(self, window: Window) -> tuple[list[Any], bool]:
        """As ``Window.read`` does."""


@dataclass(frozen=True, kw_only=True)
class Page:
    """Rows, and where the pages on both sides begin, if there are any."""

    rows: list[Any]
    following: Position | None
    preceding: Position | None


def read_page(
    source: QuerySet[Any] | Source,
    *,
    size: int,
    position: Position | None = None,
    names: tuple[str, ...] = NEWEST_FIRST,
    is_ascending: bool = False,
) -> Page:
    """The page that begins at ``position``, or the first one; by default, newest first."""
    window = Window(names=names, position=position, size=size, is_ascending=is_ascending)
    is_back = window.is_newer is not is_ascending
    rows, has_more = source.read(window) if isinstance(source, Source) else window.read(source)
    if is_back:
        rows.reverse()
    if not rows:
        turn = None if position is None else _turn(position)
        return Page(
            rows=[], following=turn if is_back else None, preceding=None if is_back else turn
        )
    following = Position(values=_get_values(rows[-1], names), is_newer=is_ascending)
    preceding = Position(values=_get_values(rows[0], names), is_newer=not is_ascending)
    return Page(
        rows=rows,
        following=following if has_more or is_back else None,
        preceding=preceding if (has_more if is_back else position) else None,
    )


def _turn(position: Position) -> Position:
    """The way back from a page that became empty; the row of the position lies on it."""
    return Position(
        values=position.values,
        is_newer=not position.is_newer,
        includes_row=not position.includes_row,
    )


def _compare(
    model: type[Model], names: Sequence[str], operator: str, values: Sequence[Any], prefix: str = ""
) -> Func:
    """``(a, b) < (x, y)``. An index on both fields finds the place, which an OR would not."""
    fields = [_get_field(model, name) for name in names]
    ours = Func(*(prefix + name for name in names), function="", output_field=BooleanField())
    theirs = Func(
        *(Value(value, output_field=field) for field, value in zip(fields, values, strict=True)),
        function="",
        output_field=BooleanField(),
    )
    return Func(
        ours,
        theirs,
        template="%(expressions)s",
        arg_joiner=f" {operator} ",
        output_field=BooleanField(),
    )


def _get_field(model: type[Model], name: str) -> Any:
    return model._meta.pk if name == "pk" else model._meta.get_field(name)


def _get_values(row: Model, names: Sequence[str]) -> tuple[Any, ...]:
    return tuple(getattr(row, name) for name in names)


def _write_value(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _parse_value(field: "Field[Any, Any]", text: str) -> Any:
    """Raise an error here for what the database would raise one for."""
    value = field.to_python(text)
    field.run_validators(value)
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValidationError(field.error_messages["invalid"])
        return value.astimezone(UTC)
    return value
