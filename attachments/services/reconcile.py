"""Reconcile: find where rows and objects disagree, in one pass over both.

Rows come in the order of their ids, and objects in the order of their keys, which begin with the
ids. So one merge compares them, with a page or two of each in memory. Both change meanwhile: what
looks wrong in the merge is only a suspect, and becomes a finding when the store and the database
were asked again.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import chain, islice
from typing import TypeVar
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from attachments import storage
from attachments.conf import conf
from attachments.errors import ObjectMissing
from attachments.models import Attachment, ObjectDeletion
from attachments.rules.keys import QUARANTINE, THUMBNAILS
from attachments.services.deletions import carry_out_notes, note_deletions
from attachments.services.findings import (
    Finding,
    FindingKind,
    ReadyRow,
    compare_checksum,
    find_stray,
    inspect_row,
    inspect_thumbnail,
)
from attachments.services.inspect import forget_thumbnails
from attachments.services.news import tell_refused
from attachments.storage.threads import read_ahead, run_in_order

# A row names its object before the object is made, so a young object is not unknown, unless clocks
# differ or a POST arrives late.
RECONCILE_GRACE = timedelta(hours=1)
BATCH_SIZE = 1000
THREADS = 16
MAX_KEY_LENGTH = 512  # of notes; S3 itself takes 1024 bytes

T = TypeVar("T")


@dataclass(kw_only=True)
class ReconcileReport:
    """How much was compared, what was found, and what was done about it."""

    rows: int = 0
    """Ready rows. The others need no object yet, or no longer have one."""
    objects: int = 0
    findings: dict[FindingKind, int] = field(default_factory=lambda: dict.fromkeys(FindingKind, 0))
    waiting: int = 0
    """Objects without a row, but with a note to delete them. They are no findings."""
    young: int = 0
    """Objects that no row knows, but younger than the grace. They were not judged."""
    without_checksum: int = 0
    """Objects that could not be checked, because their rows have no SHA-256."""
    deleted: int = 0
    marked: int = 0

    @property
    def finding_count(self) -> int:
        return sum(self.findings.values())

    @property
    def is_clean(self) -> bool:
        """Whether rows and objects agree now: nothing was wrong, or all of it was mended."""
        return self.finding_count == self.deleted + self.marked


def reconcile_storage(
    *,
    grace: timedelta = RECONCILE_GRACE,
    with_checksums: bool = False,
    delete_unknown: bool = False,
    mark_missing: bool = False,
    on_finding: Callable[[Finding], None] = lambda finding: None,
    on_progress: Callable[[int], None] = lambda count: None,
) -> ReconcileReport:
    """Compare every ready row with its object and every object with the rows; act if told to.

    Objects younger than ``grace`` are counted, but not called unknown. ``with_checksums`` asks the
    store for each SHA-256. ``delete_unknown`` deletes unknown objects, through notes.
    ``mark_missing`` rejects rows whose object is missing, and lets workers make missing thumbnails
    again. ``on_finding`` is called with each finding, ``on_progress`` with the number of rows just
    compared. Raises ``StorageUnavailable``: what was mended until then stays mended.
    """
    report = ReconcileReport()
    old = timezone.now() - grace
    search = _Search(report=report, with_checksums=with_checksums)
    for findings in chain(
        search.compare_published(old=old, on_progress=on_progress),
        # While a form works, it may bring an object at any moment.
        search.look_for_strays("pending/", old=old - conf.upload_expires_in),
        search.look_for_strays(QUARANTINE, old=old),
        search.compare_thumbnails(old=old),
    ):
        for finding in findings:
            report.findings[finding.kind] += 1
            on_finding(finding)
        if delete_unknown:
            report.deleted += _delete_unknown(findings)
        if mark_missing:
            report.marked += _mark_missing(findings) + _forget_missing_thumbnails(findings)
    return report


@dataclass(frozen=True, kw_only=True)
class _Search:
    """Gives findings in batches. The caller acts on each batch before the next is looked for."""

    report: ReconcileReport
    with_checksums: bool

    def compare_published(
        self, *, old: datetime, on_progress: Callable[[int], None]
    ) -> Iterator[list[Finding]]:
        items = chain.from_iterable(self._list_pages("attachments/"))
        for pairs in _split(_join(_read_rows(), items)):
            rows = [row for row, item in pairs if row]
            lone_items = [item for row, item in pairs if item and not row]
            both = [(row, item) for row, item in pairs if row and item]
            self.report.rows += len(rows)
            self.report.objects += len(both) + len(lone_items)
            suspects = [row for row, item in pairs if row and not item]
            suspects += [row for row, item in both if row.size_bytes != item.size_bytes]
            findings = self._ask(inspect_row, suspects)
            if self.with_checksums:
                findings += self._compare_checksums(both)
            yield _drop_gone_rows(findings)
            yield self._judge_strays(lone_items, old=old)
            on_progress(len(rows))

    def compare_thumbnails(self, *, old: datetime) -> Iterator[list[Finding]]:
        items = chain.from_iterable(self._list_pages(THUMBNAILS))
        for pairs in _split(_join(_read_thumbnails(), items)):
            self.report.objects += sum(item is not None for _row, item in pairs)
            suspects = [row for row, item in pairs if row and not item]
            yield _drop_gone_thumbnails(self._ask(inspect_thumbnail, suspects))
            yield self._judge_strays([item for row, item in pairs if item and not row], old=old)

    def look_for_strays(self, prefix: str, *, old: datetime) -> Iterator[list[Finding]]:
        for items in self._list_pages(prefix):
            self.report.objects += len(items)
            yield self._judge_strays(items, old=old)

    def _list_pages(self, prefix: str) -> Iterator[list[storage.ListedObject]]:
        """Pages of objects under a prefix. The next is fetched while one is worked on."""
        return read_ahead(_split(storage.list_objects(prefix)))

    def _compare_checksums(
        self, pairs: list[tuple[ReadyRow, storage.ListedObject]]
    ) -> list[Finding]:
        known = [
            (row, item)
            for row, item in pairs
            if row.checksum_sha256 and row.size_bytes == item.size_bytes
        ]
        self.report.without_checksum += sum(not row.checksum_sha256 for row, _item in pairs)
        return self._ask(compare_checksum, known)

    def _judge_strays(self, items: list[storage.ListedObject], *, old: datetime) -> list[Finding]:
        """Those that no row knows, that have no note, are old enough, and are still there.

        The order of the questions matters: a deleted row leaves a note, and a note that was carried
        out leaves no object.
        """
        if not items:
            return []
        keys = {item.key for item in items}
        keys -= _find_named_by_rows(keys)
        noted = set(
            ObjectDeletion.objects.filter(key__in=keys).values_list("key", flat=True).distinct()
        )
        self.report.waiting += len(noted)
        young = {item.key for item in items if item.modified_at >= old} & keys - noted
        self.report.young += len(young)
        return self._ask(find_stray, sorted(keys - noted - young))

    def _ask(self, judge: Callable[[T], Finding | None], things: list[T]) -> list[Finding]:
        """Ask the store about single objects, in threads. The database is asked in batches."""
        findings = run_in_order(judge, things, threads=THREADS)
        return [finding for finding in findings if finding]


def _read_rows() -> Iterator[ReadyRow]:
    """All ready rows by id. Each batch has a query of its own, so that no snapshot stays open."""
    rows = (
        Attachment.objects.ready()
        .order_by("pk")
        .values_list("pk", "storage_key", "size_bytes", "checksum_sha256")
    )
    batch = [ReadyRow(*values) for values in rows[:BATCH_SIZE]]
    while batch:
        yield from batch
        batch = [ReadyRow(*values) for values in rows.filter(pk__gt=batch[-1].pk)[:BATCH_SIZE]]


def _read_thumbnails() -> Iterator[ReadyRow]:
    """The rows that have one by id, each with the key of its thumbnail."""
    rows = Attachment.objects.with_thumbnail().order_by("pk").values_list("pk", "thumbnail_key")
    batch = list(rows[:BATCH_SIZE])
    while batch:
        for pk, key in batch:
            yield ReadyRow(pk, key, None, "")
        batch = list(rows.filter(pk__gt=batch[-1][0])[:BATCH_SIZE])


def _join(
    rows: Iterator[ReadyRow], items: Iterator[storage.ListedObject]
) -> Iterator[tuple[ReadyRow | None, storage.ListedObject | None]]:
    """The full outer join of two streams by key."""
    row, item = next(rows, None), next(items, None)
    while row or item:
        if item is None or (row and row.key < item.key):
            yield row, None
            row = next(rows, None)
        elif row is None or item.key < row.key:
            yield None, item
            item = next(items, None)
        else:
            yield row, item
            row, item = next(rows, None), next(items, None)


def _split(things: Iterator[T]) -> Iterator[list[T]]:
    while batch := list(islice(things, BATCH_SIZE)):
        yield batch


def _drop_gone_rows(findings: list[Finding]) -> list[Finding]:
    """Drop the findings of rows that were deleted meanwhile, together with their objects."""
    if not findings:
        return []
    rows = Attachment.objects.ready().filter(pk__in=[item.attachment_id for item in findings])
    ready = set(rows.values_list("pk", flat=True))
    return [finding for finding in findings if finding.attachment_id in ready]


def _drop_gone_thumbnails(findings: list[Finding]) -> list[Finding]:
    """Drop the findings of thumbnails that were replaced or deleted meanwhile."""
    rows = Attachment.objects.with_thumbnail().filter(
        pk__in=[item.attachment_id for item in findings]
    )
    named = set(rows.values_list("thumbnail_key", flat=True)) if findings else set()
    return [finding for finding in findings if finding.key in named]


def _find_named_by_rows(keys: Iterable[str]) -> set[str]:
    """The keys of all rows whose id stands in ``keys``: of whatever objects they may have."""
    ids = {pk for key in keys if (pk := _parse_id(key))}
    rows = Attachment.objects.filter(pk__in=ids).values_list(
        "pk", "storage_key", "copy_key", "thumbnail_key"
    )
    return {key for pk, *names in rows for key in (*names, f"pending/{pk}")}


def _parse_id(key: str) -> UUID | None:
    try:
        return UUID(key.split("/")[1])
    except ValueError:
        return None


def _delete_unknown(findings: list[Finding]) -> int:
    """Delete the objects that no row knows. What the store refuses to delete keeps its note.

    Keys that are too long for a note, or that ``DeleteObjects`` cannot name, are left to people:
    this app makes no such keys.
    """
    unknown = [item.key for item in findings if item.kind == FindingKind.UNKNOWN_OBJECT]
    keys = [key for key in unknown if len(key) <= MAX_KEY_LENGTH and storage.can_delete(key)]
    if not keys:
        return 0
    note_deletions(keys)
    carry_out_notes(ObjectDeletion.objects.filter(key__in=keys))
    return len(keys) - ObjectDeletion.objects.filter(key__in=keys).count()


def _mark_missing(findings: list[Finding]) -> int:
    """Reject the rows whose object is missing, unless they were deleted meanwhile."""
    missing = [item for item in findings if item.kind == FindingKind.MISSING_OBJECT]
    marked = 0
    for row in Attachment.objects.ready().filter(
        pk__in=[pk for item in missing if (pk := item.attachment_id)]
    ):
        with transaction.atomic():
            forget_thumbnails(Attachment.objects.filter(pk=row.pk))
            is_marked = row.change(
                where={"status": Attachment.Status.READY},
                status=Attachment.Status.REJECTED,
                error={"code": ObjectMissing.code, "params": {}},
            )
        if is_marked:
            tell_refused(row)
        marked += is_marked
    return marked


def _forget_missing_thumbnails(findings: list[Finding]) -> int:
    """Let workers make those again that are missing."""
    missing = [item for item in findings if item.kind == FindingKind.MISSING_THUMBNAIL]
    rows = Attachment.objects.with_thumbnail().filter(
        pk__in=[item.attachment_id for item in missing],
        thumbnail_key__in=[item.key for item in missing],  # not those that were made again
    )
    return rows.update(thumbnail_key="", is_inspected=False)
