"""What a backup would do. Nothing is written, and no object is read."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from attachments import storage
from attachments.backups.backup import read_wanted
from attachments.backups.manifests import ManifestEntry
from attachments.backups.prune import preview_prune
from attachments.backups.row_dump import RowDump
from attachments.backups.transfers import JOBS, OnProgress, ignore_progress
from attachments.storage.threads import run_in_order


@dataclass(kw_only=True)
class BackupPreview:
    """Named as the fields of ``BackupReport``."""

    rows: int
    objects: int = 0
    size_bytes: int = 0
    copied: int = 0
    copied_bytes: int = 0
    pruned_snapshots: list[str] = field(default_factory=list)
    pruned_objects: int = 0


def preview_backup(
    *,
    archive: storage.Archive,
    dump: RowDump,
    jobs: int = JOBS,
    keep: int | None = None,
    on_named: Callable[[ManifestEntry], None] = lambda entry: None,
    on_progress: OnProgress = ignore_progress,
) -> BackupPreview:
    """Count what would be copied, calling ``on_named`` with each, and what ``keep`` would remove.

    Whether an object is still in the store is not asked. Raises ``BackupUnavailable``, and
    ``BackupDamaged`` if a manifest was altered.
    """
    preview = BackupPreview(rows=dump.rows)
    look = partial(_look, archive)
    for entry, is_there in run_in_order(look, read_wanted(dump), threads=jobs):
        preview.objects += 1
        preview.size_bytes += entry.size_bytes
        if not is_there:
            preview.copied += 1
            preview.copied_bytes += entry.size_bytes
            on_named(entry)
        on_progress(entry.size_bytes)
    preview.pruned_snapshots, preview.pruned_objects = preview_prune(
        archive=archive, keep=keep, new=read_wanted(dump)
    )
    return preview


def _look(archive: storage.Archive, entry: ManifestEntry) -> tuple[ManifestEntry, bool]:
    return entry, archive.find_size(entry.object_name) == entry.size_bytes
