"""The rules and their order. Functions take keywords, and call the store outside transactions."""

from attachments.services.access import (
    delete_attachment,
    get_attachment,
    get_download_url,
    get_file_origins,
    get_thumbnail_url,
)
from attachments.services.backlogs import MAX_COUNTED, Backlogs, Pile, measure_backlogs
from attachments.services.bulk import (
    Deletion,
    Extent,
    delete_attachments,
    measure_attachments,
    retry_deletions,
)
from attachments.services.confirm import confirm_upload
from attachments.services.deletions import OwnNotes, carry_out_deletions, note_deletions
from attachments.services.findings import Finding, FindingKind
from attachments.services.inserting import MAX_IDEMPOTENCY_KEY_LENGTH
from attachments.services.inspect_waiting import (
    InspectionReport,
    count_uninspected,
    inspect_again,
    inspect_waiting,
)
from attachments.services.kept_usage import refresh_usage
from attachments.services.linking import count_room, link_attachments
from attachments.services.listing import VisibleAttachments
from attachments.services.news import tell_deleted
from attachments.services.pending import remove_now
from attachments.services.presign import Ticket, presign_upload, presign_uploads
from attachments.services.process import (
    STEP_NAMES,
    Backlog,
    ProcessReport,
    count_waiting,
    find_backlog,
    find_retry_time,
    process_attachment,
    process_waiting,
    publish_unscanned,
    try_to_process,
)
from attachments.services.protection import exclude_protected
from attachments.services.purge import BATCH_SIZE, purge_attachments
from attachments.services.purgeable import (
    Candidate,
    PurgeReport,
    count_purgeable,
    preview_purge,
)
from attachments.services.quotas import Use, measure_use
from attachments.services.reconcile import (
    RECONCILE_GRACE,
    ReconcileReport,
    reconcile_storage,
)
from attachments.services.rescans import ScanReport, find_unscanned, scan_published
from attachments.services.schedule import JOB_NAMES, JobRun, find_next_due, run_due_jobs
from attachments.services.usage_rows import recount_usage, settle_usage
from attachments.services.workers import find_silence, has_seen_worker, note_question, note_sign

__all__ = [
    "BATCH_SIZE",
    "JOB_NAMES",
    "MAX_COUNTED",
    "MAX_IDEMPOTENCY_KEY_LENGTH",
    "RECONCILE_GRACE",
    "STEP_NAMES",
    "Backlog",
    "Backlogs",
    "Candidate",
    "Deletion",
    "Extent",
    "Finding",
    "FindingKind",
    "InspectionReport",
    "JobRun",
    "OwnNotes",
    "Pile",
    "ProcessReport",
    "PurgeReport",
    "ReconcileReport",
    "ScanReport",
    "Ticket",
    "Use",
    "VisibleAttachments",
    "carry_out_deletions",
    "confirm_upload",
    "count_purgeable",
    "count_room",
    "count_uninspected",
    "count_waiting",
    "delete_attachment",
    "delete_attachments",
    "exclude_protected",
    "find_backlog",
    "find_next_due",
    "find_retry_time",
    "find_silence",
    "find_unscanned",
    "get_attachment",
    "get_download_url",
    "get_file_origins",
    "get_thumbnail_url",
    "has_seen_worker",
    "inspect_again",
    "inspect_waiting",
    "link_attachments",
    "measure_attachments",
    "measure_backlogs",
    "measure_use",
    "note_deletions",
    "note_question",
    "note_sign",
    "presign_upload",
    "presign_uploads",
    "preview_purge",
    "process_attachment",
    "process_waiting",
    "publish_unscanned",
    "purge_attachments",
    "reconcile_storage",
    "recount_usage",
    "refresh_usage",
    "remove_now",
    "retry_deletions",
    "run_due_jobs",
    "scan_published",
    "settle_usage",
    "tell_deleted",
    "try_to_process",
]
