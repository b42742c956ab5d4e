"""Snapshots of rows and objects that belong together: made, verified, restored, pruned."""

from attachments.backups.backup import BackupReport, backup_attachments
from attachments.backups.listing import ListedSnapshot, list_backups
from attachments.backups.manifests import ManifestEntry, Problem
from attachments.backups.preview import BackupPreview, preview_backup
from attachments.backups.restore import RestoreReport, preview_restore, restore_attachments
from attachments.backups.row_dump import RowDump, dump_rows
from attachments.backups.row_load import Existing, Found
from attachments.backups.snapshots import open_snapshot
from attachments.backups.transfers import JOBS
from attachments.backups.verify import VerifyReport, verify_snapshot

__all__ = [
    "JOBS",
    "BackupPreview",
    "BackupReport",
    "Existing",
    "Found",
    "ListedSnapshot",
    "ManifestEntry",
    "Problem",
    "RestoreReport",
    "RowDump",
    "VerifyReport",
    "backup_attachments",
    "dump_rows",
    "list_backups",
    "open_snapshot",
    "preview_backup",
    "preview_restore",
    "restore_attachments",
    "verify_snapshot",
]
