"""The counters and histograms. Each labelled series that may come is there from the start, at 0.

Otherwise the first error of its kind would be no increase, and no alert would see it.
"""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from prometheus_client import Counter, Histogram
from prometheus_client.metrics import MetricWrapperBase

from attachments import errors
from attachments.metrics.directory import find_directory
from attachments.models import Attachment
from attachments.scanning import Outcome
from attachments.services import JOB_NAMES, STEP_NAMES
from attachments.storage import CALL_OUTCOMES

find_directory()
KIB, MIB = 2**10, 2**20
SIZE_BUCKETS = [KIB * 4**power for power in range(2, 8)] + [64 * MIB, 100 * MIB, 512 * MIB]
SECONDS_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]
LONG_BUCKETS = [0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300]
OPERATIONS = (
    *("GetObject", "HeadObject", "PutObject", "CopyObject", "DeleteObjects", "HeadBucket"),
    *("CreateMultipartUpload", "UploadPartCopy", "CompleteMultipartUpload", "ListObjectsV2"),
)

Metric = TypeVar("Metric", bound=MetricWrapperBase)


def _find_codes(*kinds: type[errors.AttachmentError]) -> Iterator[str]:
    for kind in kinds:
        if "code" in vars(kind):
            yield kind.code
        yield from _find_codes(*kind.__subclasses__())


def _start(metric: Metric, *values: Iterable[str]) -> Metric:
    """Make the series of all these values of the labels."""
    series: list[tuple[str, ...]] = [()]
    for choices in values:
        series = [(*begun, choice) for begun in series for choice in dict.fromkeys(choices)]
    for labels in series:
        metric.labels(*labels)
    return metric


_REFUSALS = (errors.InvalidInput, errors.Forbidden, errors.RejectedUpload)
_CONFIRM_ERRORS = (*_REFUSALS, errors.Conflict, errors.Gone, errors.NotFound, errors.Unavailable)
_STATUSES = [Attachment.Status.READY, Attachment.Status.SCANNING, Attachment.Status.VERIFYING]

uploads = Counter("attachments_uploads", "Files that were published.")
upload_size = Histogram(
    "attachments_upload_size_bytes", "Sizes of published files.", buckets=SIZE_BUCKETS
)
presigned = Counter("attachments_presigned", "Upload forms that were given.")
refused = _start(
    Counter("attachments_refused", "What was refused at presign or as a file.", ["reason"]),
    _find_codes(*_REFUSALS),
)
throttled = _start(
    Counter("attachments_throttled", "Requests over a rate.", ["scope"]),
    ["presign", "confirm", "token"],
)
confirmed = _start(
    Counter("attachments_confirmed", "Confirms, by what came of them.", ["result"]),
    [*_STATUSES, *_find_codes(*_CONFIRM_ERRORS), "error"],
)
confirm_seconds = Histogram(
    "attachments_confirm_duration_seconds", "How long confirms took.", buckets=SECONDS_BUCKETS
)
scanned = _start(
    Counter("attachments_scanned", "Scans, by what the scanner said.", ["outcome"]),
    [*Outcome.values, "unavailable"],
)
scan_seconds = Histogram(
    "attachments_scan_duration_seconds", "How long scans took.", buckets=LONG_BUCKETS
)
step_seconds = _start(
    Histogram(
        "attachments_step_duration_seconds",
        "How long a worker's steps took.",
        ["step"],
        buckets=LONG_BUCKETS,
    ),
    STEP_NAMES,
)
lease_takeovers = Counter(
    "attachments_lease_takeovers", "Attempts that were taken over: they died, or are too slow."
)
linked = Counter("attachments_linked", "Attachments that were hung on messages.")
deleted = Counter("attachments_deleted", "Rows that were deleted.")
objects_deleted = _start(
    Counter("attachments_objects_deleted", "Objects to delete, by the outcome.", ["outcome"]),
    ["ok", "refused"],
)
purged = _start(
    Counter("attachments_purged", "What purges removed.", ["kind"]),
    ["expired", "orphans", "stale", "refused", "swept"],
)
purged_bytes = Counter("attachments_purged_bytes", "Bytes of the files that purges removed.")
jobs = _start(
    Counter("attachments_jobs", "Periodic jobs that ran.", ["job", "outcome"]),
    JOB_NAMES,
    ["done", "undone"],
)
store_calls = _start(
    Counter("attachments_store_calls", "Calls to the store.", ["operation", "outcome"]),
    OPERATIONS,
    CALL_OUTCOMES,
)
store_seconds = _start(
    Histogram(
        "attachments_store_call_duration_seconds",
        "How long the store took to answer.",
        ["operation"],
        buckets=SECONDS_BUCKETS,
    ),
    OPERATIONS,
)
store_busy = Counter(
    "attachments_store_busy", "Requests turned away, as too many waited for the store."
)
