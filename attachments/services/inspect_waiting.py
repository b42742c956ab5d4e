"""Look into all the files that no worker has looked into yet."""

from collections.abc import Callable
from dataclasses import dataclass

from attachments.errors import OUTAGES, StorageUnavailable, WorkUnavailable
from attachments.models import Attachment
from attachments.services.process import let_be_due, try_each


@dataclass(kw_only=True)
class InspectionReport:
    """What a run found."""

    inspected: int = 0
    thumbnails: int = 0
    unreadable: int = 0
    """Of a type that can be looked into, but nothing was found."""
    left: int = 0
    """Ready since the run began, tried in vain, or their object is missing."""
    outage: StorageUnavailable | WorkUnavailable | None = None
    """What did not answer, if anything."""


def inspect_waiting(*, on_progress: Callable[[int], None] = lambda count: None) -> InspectionReport:
    """One by one, each kept at once, also what was put off. What fails is left to a later run."""
    report = InspectionReport()
    let_be_due(Attachment.objects.uninspected())
    for attachment_id, error in try_each(Attachment.objects.uninspected().unleased()):
        if isinstance(error, OUTAGES):
            report.outage = error
        if attachment := Attachment.find(attachment_id):
            _count(report, attachment)
        on_progress(1)
    report.left = count_uninspected()
    return report


def inspect_again() -> int:
    """Let all ready files that were looked into be looked into once more; give how many.

    What was found stays until something else is.
    """
    return Attachment.objects.ready().filter(is_inspected=True).update(is_inspected=False)


def count_uninspected() -> int:
    """How many files ``inspect_waiting`` would look into now."""
    return Attachment.objects.uninspected().count()


def _count(report: InspectionReport, attachment: Attachment) -> None:
    if not attachment.is_inspected:
        return
    report.inspected += 1
    report.thumbnails += bool(attachment.thumbnail_key)
    report.unreadable += attachment.is_inspectable and not attachment.media
