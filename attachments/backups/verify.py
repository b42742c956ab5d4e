"""Verify: read a whole snapshot back and compare it with its digests."""

from dataclasses import dataclass, field
from functools import partial

from attachments import storage
from attachments.backups.manifests import ManifestEntry, Problem, ProblemKind
from attachments.backups.row_dump import is_ready
from attachments.backups.snapshots import OpenSnapshot
from attachments.backups.transfers import JOBS, OnProgress, ignore_progress, measure
from attachments.storage.threads import run_in_order


@dataclass(kw_only=True)
class VerifyReport:
    """What was read back, and what was wrong."""

    snapshot: str
    rows: int
    objects: int = 0
    size_bytes: int = 0
    left_out: int = 0
    """Ready attachments whose object the backup did not find, or that went while it ran."""
    problems: list[Problem] = field(default_factory=list)


def verify_snapshot(
    *,
    archive: storage.Archive,
    snapshot: OpenSnapshot,
    jobs: int = JOBS,
    on_progress: OnProgress = ignore_progress,
) -> VerifyReport:
    """Read each object of the snapshot. Opening it has compared its rows and manifest already.

    Raises ``BackupUnavailable``.
    """
    report = VerifyReport(snapshot=snapshot.facts.id, rows=snapshot.facts.rows)
    check = partial(_check, archive, on_progress)
    for entry, kind in run_in_order(check, snapshot.read_manifest(), threads=jobs):
        report.objects += 1
        report.size_bytes += entry.size_bytes
        if kind:
            report.problems.append(Problem(kind=kind, key=entry.key, attachment_id=entry.id))
    report.left_out = sum(map(is_ready, snapshot.read_rows())) - report.objects
    return report


def _check(
    archive: storage.Archive, on_progress: OnProgress, entry: ManifestEntry
) -> tuple[ManifestEntry, ProblemKind | None]:
    try:
        found = measure(archive.read(entry.object_name), on_progress=on_progress)
    except storage.ArchiveFileNotFound:
        return entry, ProblemKind.MISSING
    is_same = found == (entry.size_bytes, entry.sha256)
    return entry, None if is_same else ProblemKind.ALTERED
