"""The objects beside ours: which of them a row names, and which are needed no more."""

import sqlite3
from collections.abc import Collection, Iterable, Iterator
from itertools import islice

from attachments import storage
from attachments.adoption.report import AdoptionReport
from attachments.models import ObjectDeletion
from attachments.rules.keys import is_own_key
from attachments.services.deletions import carry_out_notes, note_deletions

PAGE = storage.MAX_DELETE


class Ledger:
    """The keys that the old rows name, on disk: there may be millions."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("")  # a temporary file
        # 64 MiB of it stay in memory: keys come in no order. A temporary file needs no log.
        self._database.executescript("PRAGMA cache_size = -65536; PRAGMA journal_mode = OFF")
        self._database.execute(
            "CREATE TABLE objects (key TEXT PRIMARY KEY, is_needed INTEGER) WITHOUT ROWID"
        )

    def add(self, keys: Iterable[tuple[str, bool]]) -> None:
        """Keys, and whether the row still needs its object: it was not copied."""
        self._database.executemany(
            "INSERT INTO objects VALUES (?, ?) "
            "ON CONFLICT DO UPDATE SET is_needed = max(is_needed, excluded.is_needed)",
            keys,
        )

    def find(self, keys: Collection[str]) -> dict[str, bool]:
        """Those of the keys that rows name, and whether any of these needs the object."""
        marks = ", ".join("?" * len(keys))
        found = self._database.execute(
            f"SELECT key, is_needed FROM objects WHERE key IN ({marks})",  # noqa: S608 (marks alone)
            list(keys),
        )
        return {key: bool(is_needed) for key, is_needed in found}


def sort_objects(ledger: Ledger, report: AdoptionReport, *, delete_originals: bool) -> None:
    """Find objects that no row names, and originals that nothing needs; delete these if told to.

    Raises ``StorageUnavailable``.
    """
    for page in _split(storage.list_objects("")):
        items = {item.key: item for item in page if not is_own_key(item.key)}
        needed = ledger.find(items)
        report.add_strays(key for key in items if key not in needed)
        originals = [key for key in items if needed.get(key) is False]
        report.originals += len(originals)
        report.originals_bytes += sum(items[key].size_bytes for key in originals)
        if delete_originals and originals:
            note_deletions(originals)
            report.deleted += carry_out_notes(ObjectDeletion.objects.filter(key__in=originals))


def _split(items: Iterator[storage.ListedObject]) -> Iterator[list[storage.ListedObject]]:
    while page := list(islice(items, PAGE)):
        yield page
