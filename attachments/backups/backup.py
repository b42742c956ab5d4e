"""Backup: the rows of one moment, then the objects that they name, which never change.

No transaction is open while anything is copied. A backup that is killed leaves a snapshot without
its marker, and whole objects that the next backup finds.
"""

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial

from django.db import close_old_connections

from attachments import storage
from attachments.backups.manifests import (
    ManifestEntry,
    Problem,
    ProblemKind,
    read_lines,
    write_line,
)
from attachments.backups.prune import prune_snapshots
from attachments.backups.row_dump import BATCH_SIZE, RowDump, is_ready
from attachments.backups.snapshots import (
    LONGEST_RUN,
    Snapshot,
    get_manifest_name,
    get_rows_name,
    make_snapshot_id,
    open_manifest,
    write_facts,
)
from attachments.backups.transfers import (
    JOBS,
    OnProgress,
    ignore_progress,
    measure,
    spool,
)
from attachments.errors import BackupDamaged, SnapshotNotFound
from attachments.models import Attachment
from attachments.rules.checksums import to_hex
from attachments.storage.threads import run_in_order


@dataclass(kw_only=True)
class BackupReport:
    """What a backup did."""

    snapshot: str
    rows: int
    objects: int = 0
    """All objects of the snapshot, also those that an earlier backup copied."""
    size_bytes: int = 0
    copied: int = 0
    copied_bytes: int = 0
    gone: int = 0
    """Objects whose rows were deleted while the backup ran."""
    pruned_snapshots: int = 0
    pruned_objects: int = 0
    problems: list[Problem] = field(default_factory=list)


def backup_attachments(
    *,
    archive: storage.Archive,
    dump: RowDump,
    jobs: int = JOBS,
    keep: int | None = None,
    on_progress: OnProgress = ignore_progress,
) -> BackupReport:
    """Write a snapshot of these rows, copy what the archive does not have yet, and prune it.

    ``keep`` is the number of snapshots that stay; None keeps all. Raises ``BackupUnavailable``,
    ``BackupDamaged``, ``StorageUnavailable``: the next backup goes on from there.
    """
    started_at = datetime.now(UTC)
    archive.remove_unfinished(before=started_at - LONGEST_RUN)
    report = BackupReport(snapshot=make_snapshot_id(started_at), rows=dump.rows)
    # Written before the objects: it tells a backup that prunes meanwhile that this one runs.
    archive.write(get_rows_name(report.snapshot), dump.content)
    with storage.open_spool() as manifest:
        for outcome in _keep_objects(archive, dump, jobs=jobs, on_progress=on_progress):
            _add_outcome(report, outcome)
            if outcome.problem is None:
                write_line(manifest, outcome.entry)
        manifest.seek(0)
        manifest_sha256 = hashlib.file_digest(manifest, "sha256").hexdigest()  # type: ignore[arg-type]
        archive.write(get_manifest_name(report.snapshot), manifest)
    _forgive_deleted(report)
    write_facts(
        archive,
        Snapshot(
            id=report.snapshot,
            rows=dump.rows,
            rows_sha256=dump.sha256,
            objects=report.objects,
            size_bytes=report.size_bytes,
            manifest_sha256=manifest_sha256,
        ),
    )
    report.pruned_snapshots, report.pruned_objects = prune_snapshots(
        archive=archive, keep=keep, now=started_at, jobs=jobs
    )
    return report


@dataclass(frozen=True, kw_only=True)
class _Outcome:
    """What became of one object that the rows name."""

    entry: ManifestEntry
    is_copied: bool = False
    problem: ProblemKind | None = None


def _keep_objects(
    archive: storage.Archive, dump: RowDump, *, jobs: int, on_progress: OnProgress
) -> Iterator[_Outcome]:
    with ExitStack() as stack:
        try:
            earlier = stack.enter_context(open_manifest(archive))
        except (SnapshotNotFound, BackupDamaged):
            earlier = iter(())
        wanted = _add_checksums(read_wanted(dump), earlier)
        yield from run_in_order(partial(_keep_object, archive, on_progress), wanted, threads=jobs)


def read_wanted(dump: RowDump) -> Iterator[ManifestEntry]:
    """The objects of the ready rows, in the order of ids; an unknown SHA-256 is empty."""
    for record in read_lines(dump.content):
        fields = record["fields"]
        if is_ready(record):
            yield ManifestEntry(
                id=record["pk"],
                key=fields["storage_key"],
                size_bytes=fields["size_bytes"],
                sha256=to_hex(fields["checksum_sha256"]),
                content_type=fields["content_type"],
                filename=fields["filename"],
            )


def _add_checksums(
    wanted: Iterable[ManifestEntry], earlier: Iterator[ManifestEntry]
) -> Iterator[ManifestEntry]:
    """Fill in an empty SHA-256 from the snapshot before this one. Both are sorted by id."""
    known = next(earlier, None)
    for entry in wanted:
        while known and known.id < entry.id:
            known = next(earlier, None)
        if not entry.sha256 and known and known.key == entry.key:
            yield replace(entry, sha256=known.sha256)
        else:
            yield entry


def _keep_object(
    archive: storage.Archive, on_progress: OnProgress, entry: ManifestEntry
) -> _Outcome:
    """Copy the object into the archive, unless it is there already."""
    if archive.find_size(entry.object_name) == entry.size_bytes:
        on_progress(entry.size_bytes)
        if not entry.sha256:  # a backup that was killed copied it
            _size, sha256 = measure(archive.read(entry.object_name))
            entry = replace(entry, sha256=sha256)
        return _Outcome(entry=entry)
    try:
        with spool(storage.read_object(entry.key), on_progress=on_progress) as spooled:
            found = replace(entry, size_bytes=spooled.size_bytes, sha256=spooled.sha256)
            if found != replace(entry, sha256=entry.sha256 or spooled.sha256):
                return _Outcome(entry=entry, problem=ProblemKind.ALTERED)
            archive.write(entry.object_name, spooled.content)
            return _Outcome(entry=found, is_copied=True)
    except storage.ObjectNotFound:
        on_progress(entry.size_bytes)
        return _Outcome(entry=entry, problem=ProblemKind.MISSING)


def _add_outcome(report: BackupReport, outcome: _Outcome) -> None:
    entry = outcome.entry
    if outcome.problem:
        report.problems.append(Problem(kind=outcome.problem, key=entry.key, attachment_id=entry.id))
        return
    report.objects += 1
    report.size_bytes += entry.size_bytes
    if outcome.is_copied:
        report.copied += 1
        report.copied_bytes += entry.size_bytes


def _forgive_deleted(report: BackupReport) -> None:
    """Drop the problems of objects whose rows were deleted meanwhile."""
    close_old_connections()  # copying may have taken hours
    ids = [problem.attachment_id for problem in report.problems]
    present: set[str] = set()
    for start in range(0, len(ids), BATCH_SIZE):
        rows = Attachment.objects.ready().filter(pk__in=ids[start : start + BATCH_SIZE])
        present.update(str(pk) for pk in rows.values_list("pk", flat=True))
    real = [problem for problem in report.problems if problem.attachment_id in present]
    report.gone = len(report.problems) - len(real)
    report.problems = real
