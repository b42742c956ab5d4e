"""Who is who: the users and messages here that the old ids stand for."""

import csv
import sqlite3
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import Model

from attachments.errors import MappingUnreadable

HEADER = ["old", "new"]


class Mapping:
    """New ids by old ones, on disk: there may be millions of messages."""

    def __init__(self, pairs: Iterator[list[str]]) -> None:
        """Raises ``sqlite3.Error`` if an old id comes twice, or if a pair is not one."""
        self._database = sqlite3.connect("")  # a temporary file
        self._database.execute("CREATE TABLE ids (old TEXT PRIMARY KEY, new TEXT) WITHOUT ROWID")
        self._database.executemany("INSERT INTO ids VALUES (?, ?)", pairs)

    def find(self, old_ids: Collection[Any]) -> dict[Any, str]:
        texts = {str(old_id): old_id for old_id in old_ids}
        marks = ", ".join("?" * len(texts))
        found = self._database.execute(
            f"SELECT old, new FROM ids WHERE old IN ({marks})",  # noqa: S608 (marks alone)
            list(texts),
        )
        return {texts[old]: new for old, new in found}


def read_mapping(path: str) -> Mapping:
    """Read a CSV file of old and new ids, with or without the heading ``old,new``.

    Raises ``MappingUnreadable``.
    """
    try:
        with Path(path).open(newline="", encoding="utf-8-sig") as file:
            return Mapping(_read_pairs(file))
    except (OSError, ValueError, csv.Error, sqlite3.Error) as error:
        raise MappingUnreadable(path=path, reason=str(error)) from error


def _read_pairs(file: Any) -> Iterator[list[str]]:
    for number, row in enumerate(csv.reader(file), 1):
        cells = [cell.strip() for cell in row]
        if not cells or (number == 1 and cells == HEADER):
            continue
        if len(cells) != len(HEADER):
            raise ValueError(f"line {number} does not have two ids.")
        yield cells


@dataclass(frozen=True, kw_only=True)
class Targets:
    """The rows of a model that old ids stand for: those of the same id, without a mapping."""

    model: type[Model]
    mapping: Mapping | None = None

    def find(self, old_ids: Collection[Any]) -> dict[Any, Any]:
        """The ids here by the old ones, without those that do not exist here. One query."""
        if not old_ids:
            return {}
        named = self.mapping.find(old_ids) if self.mapping else {old: old for old in old_ids}
        wanted = {
            old: new for old, value in named.items() if (new := self._read(value)) is not None
        }
        present = set(
            self.model._base_manager.filter(pk__in=set(wanted.values())).values_list(
                "pk", flat=True
            )
        )
        return {old: new for old, new in wanted.items() if new in present}

    def _read(self, value: Any) -> Any:
        """The value as the model's key; None if it cannot be one."""
        field = self.model._meta.pk
        try:
            new = field.to_python(value)
            field.run_validators(new)
        except ValidationError:
            return None
        return new
