"""The rules and their order. Keyword-only functions; every store call outside transactions."""

from attachments.services.access import (
    delete_attachment,
    get_attachment,
    get_download_url,
    link_attachments,
)
from attachments.services.backup import BackupReport, backup_attachments
from attachments.services.bulk import (
    Extent,
    delete_attachments,
    measure_attachments,
    retry_deletions,
)
from attachments.services.confirm import confirm_upload
from attachments.services.deletions import carry_out_after_commit, carry_out_deletions
from attachments.services.findings import Finding, FindingKind
from attachments.services.manifests import Problem
from attachments.services.presign import Ticket, presign_upload
from attachments.services.purge import (
    BATCH_SIZE,
    PurgeReport,
    count_purgeable,
    preview_purge,
    purge_attachments,
)
from attachments.services.reconcile import (
    RECONCILE_GRACE,
    ReconcileReport,
    reconcile_storage,
)
from attachments.services.restore import RestoreReport, preview_restore, restore_attachments
from attachments.services.row_dump import dump_rows
from attachments.services.row_load import Existing
from attachments.services.snapshots import open_snapshot
from attachments.services.transfers import JOBS
from attachments.services.verify import VerifyReport, verify_snapshot

__all__ = [
    "BATCH_SIZE",
    "JOBS",
    "RECONCILE_GRACE",
    "BackupReport",
    "Existing",
    "Extent",
    "Finding",
    "FindingKind",
    "Problem",
    "PurgeReport",
    "ReconcileReport",
    "RestoreReport",
    "Ticket",
    "VerifyReport",
    "backup_attachments",
    "carry_out_after_commit",
    "carry_out_deletions",
    "confirm_upload",
    "count_purgeable",
    "delete_attachment",
    "delete_attachments",
    "dump_rows",
    "get_attachment",
    "get_download_url",
    "link_attachments",
    "measure_attachments",
    "open_snapshot",
    "presign_upload",
    "preview_purge",
    "preview_restore",
    "purge_attachments",
    "reconcile_storage",
    "restore_attachments",
    "retry_deletions",
    "verify_snapshot",
]
