"""Restore: first the objects, each compared with its SHA-256, then the rows that name them.

A row is restored only if its object is there. What is there already and the same is left alone, so
that a restore that was killed can be run again.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from itertools import islice
from typing import Any, NoReturn

from django.db import close_old_connections

from attachments import storage
from attachments.backups.manifests import ManifestEntry, Problem, ProblemKind
from attachments.backups.row_dump import BATCH_SIZE, is_ready
from attachments.backups.row_load import Existing, Found, RestoreCounts, restore_rows
from attachments.backups.snapshots import OpenSnapshot
from attachments.backups.transfers import JOBS, OnProgress, ignore_progress, spool
from attachments.errors import WouldOverwrite
from attachments.models import Attachment, ObjectDeletion
from attachments.rules.checksums import to_base64
from attachments.storage.threads import run_in_order

OBJECT = "object"
_SERVED = "attachments/"  # where every published key is


class _Outcome(StrEnum):
    """Named as the counts of ``RestoreCounts``."""

    CREATED = "created"
    UNCHANGED = "unchanged"
    DIFFERENT = "different"


@dataclass(kw_only=True)
class RestoreReport:
    """What a restore did, or would do."""

    snapshot: str
    rows: dict[str, RestoreCounts] = field(default_factory=dict)
    """By model."""
    objects: RestoreCounts = field(default_factory=RestoreCounts)
    left_out: int = 0
    """Rows of attachments whose object the backup does not have; with ``objects_only``, objects of
    the backup that no row here names."""
    problems: list[Problem] = field(default_factory=list)

    @property
    def has_different(self) -> bool:
        return bool(self.objects.different or self._different_rows)

    @property
    def _different_rows(self) -> int:
        return sum(counts.different for counts in self.rows.values())

    def refuse_different(self) -> NoReturn:
        raise WouldOverwrite(rows=self._different_rows, objects=self.objects.different)


def preview_restore(
    *,
    snapshot: OpenSnapshot,
    objects_only: bool = False,
    jobs: int = JOBS,
    on_named: Callable[[Found], None] = lambda found: None,
    on_progress: OnProgress = ignore_progress,
) -> RestoreReport:
    """Tell what a restore would create and what is there already; change nothing.

    A bucket that is missing counts as empty. Reads no object of the backup, so that it finds no
    damaged ones: verifying does. ``on_named`` is called with each object and row that is new or
    different. Progress is counted in objects.
    """
    report = RestoreReport(snapshot=snapshot.facts.id)
    look = _make_look()
    entries = snapshot.read_manifest()
    if objects_only:
        entries = _keep_named(entries, report)
    for entry, outcome in run_in_order(lambda e: (e, look(e)), entries, threads=jobs):
        _count(report, outcome)
        if outcome is not _Outcome.UNCHANGED:
            on_named(Found(what=OBJECT, name=entry.key, is_new=outcome is _Outcome.CREATED))
        on_progress(1)
    if not objects_only:
        rows = _read_rows(snapshot, report)
        report.rows = restore_rows(rows, is_dry_run=True, on_named=on_named)
    return report


def restore_attachments(
    *,
    archive: storage.Archive,
    snapshot: OpenSnapshot,
    existing: Existing = Existing.REFUSE,
    objects_only: bool = False,
    jobs: int = JOBS,
    on_progress: OnProgress = ignore_progress,
) -> RestoreReport:
    """Put the snapshot back into this database and this bucket.

    ``objects_only`` leaves all rows as they are, and restores the objects that they name.
    Raises ``RowsDoNotFit`` and ``WouldOverwrite`` before any row has changed, and
    ``BackupUnavailable`` and ``StorageUnavailable``, after which the same restore can go on.
    """
    storage.ensure_bucket(has_files=Attachment.objects.ready().exists)
    report = RestoreReport(snapshot=snapshot.facts.id)
    restore = partial(_restore_object, archive, existing, _make_look(), on_progress)
    entries = snapshot.read_manifest()
    if objects_only:
        entries = _keep_named(entries, report)
    elif existing is not Existing.OVERWRITE:
        entries = _leave_out_moved(entries, report, on_progress)
    entries = _forget_notes(entries)
    for entry, outcome in run_in_order(restore, entries, threads=jobs):
        if isinstance(outcome, _Outcome):
            _count(report, outcome)
        else:
            problem = Problem(kind=outcome, key=entry.key, attachment_id=entry.id)
            report.problems.append(problem)
    if objects_only:
        return report
    close_old_connections()  # copying may have taken hours
    report.rows = restore_rows(_read_rows(snapshot, report), existing=existing)
    return report


def _make_look() -> Callable[[ManifestEntry], _Outcome]:
    """A function that compares one object with the store. It asks nothing if that is empty."""
    is_empty = not storage.has_bucket() or next(storage.list_objects(_SERVED), None) is None
    return (lambda entry: _Outcome.CREATED) if is_empty else _look


def _look(entry: ManifestEntry) -> _Outcome:
    try:
        found = storage.find_checksum(key=entry.key)
    except storage.ObjectNotFound:
        return _Outcome.CREATED
    except storage.ObjectChanged:
        return _Outcome.DIFFERENT
    return _Outcome.UNCHANGED if found == to_base64(entry.sha256) else _Outcome.DIFFERENT


def _count(report: RestoreReport, outcome: _Outcome) -> None:
    setattr(report.objects, outcome, getattr(report.objects, outcome) + 1)


def _restore_object(
    archive: storage.Archive,
    existing: Existing,
    look: Callable[[ManifestEntry], _Outcome],
    on_progress: OnProgress,
    entry: ManifestEntry,
) -> tuple[ManifestEntry, _Outcome | ProblemKind]:
    outcome = look(entry)
    if outcome is _Outcome.DIFFERENT and existing is Existing.REFUSE:
        raise WouldOverwrite(rows=0, objects=1)
    if outcome is _Outcome.UNCHANGED or (
        outcome is _Outcome.DIFFERENT and existing is Existing.KEEP
    ):
        on_progress(entry.size_bytes)
        return entry, outcome
    try:
        with spool(archive.read(entry.object_name), on_progress=on_progress) as spooled:
            if (spooled.size_bytes, spooled.sha256) != (entry.size_bytes, entry.sha256):
                return entry, ProblemKind.ALTERED
            storage.put_object(
                key=entry.key,
                content=spooled.content,
                checksum_sha256=to_base64(entry.sha256),
                headers=entry.attachment.headers,
            )
    except storage.ArchiveFileNotFound:
        on_progress(entry.size_bytes)
        return entry, ProblemKind.MISSING
    return entry, outcome


def _leave_out_moved(
    entries: Iterator[ManifestEntry], report: RestoreReport, on_progress: OnProgress
) -> Iterator[ManifestEntry]:
    """Without objects whose rows stay and name them no more: of what was taken down, say."""
    while batch := list(islice(entries, BATCH_SIZE)):
        rows = Attachment.objects.filter(pk__in=[entry.id for entry in batch])
        keys = {str(pk): key for pk, key in rows.values_list("pk", "storage_key")}
        for entry in batch:
            if keys.get(entry.id, entry.key) == entry.key:
                yield entry
            else:
                report.objects.different += 1
                on_progress(entry.size_bytes)


def _keep_named(entries: Iterator[ManifestEntry], report: RestoreReport) -> Iterator[ManifestEntry]:
    """Only objects that rows name now, and not those of files that were deleted since."""
    while batch := list(islice(entries, BATCH_SIZE)):
        rows = Attachment.objects.ready().filter(pk__in=[entry.id for entry in batch])
        keys = {str(pk): key for pk, key in rows.values_list("pk", "storage_key")}
        named = [entry for entry in batch if keys.get(entry.id) == entry.key]
        report.left_out += len(batch) - len(named)
        yield from named


def _forget_notes(entries: Iterator[ManifestEntry]) -> Iterator[ManifestEntry]:
    """Drop older notes of these keys first: they would delete what is restored."""
    while batch := list(islice(entries, BATCH_SIZE)):
        ObjectDeletion.objects.filter(key__in=[entry.key for entry in batch]).delete()
        yield from batch


def _read_rows(snapshot: OpenSnapshot, report: RestoreReport) -> Iterator[dict[str, Any]]:
    """The rows, without ready attachments whose object is not there. All are sorted by id."""
    failed = {problem.attachment_id for problem in report.problems}
    manifest = snapshot.read_manifest()
    entry = next(manifest, None)
    for record in snapshot.read_rows():
        if is_ready(record):
            while entry and entry.id < record["pk"]:
                entry = next(manifest, None)
            if entry is None or entry.id != record["pk"] or entry.id in failed:
                report.left_out += 1
                continue
        yield record
