"""What a purge would remove: rows of four kinds, and objects that no row needs."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain, islice
from uuid import UUID

from django.db.models import Count, Q, Sum
from django.utils import timezone

from attachments import storage
from attachments.conf import conf
from attachments.models import Attachment, AttachmentQuerySet, ObjectDeletion
from attachments.rules.keys import PROBE_MARK
from attachments.services.process import count_waiting
from attachments.services.protection import exclude_protected, only_protected

# A client that lost our answer may still confirm for a day, and an Idempotency-Key is kept as long.
STALE_GRACE = timedelta(days=1)
# A POST that began in the last second of its form may take long to arrive.
LATE_GRACE = timedelta(hours=1)
_SWEPT = (
    "pending/",
    *(f"{prefix}/{PROBE_MARK}" for prefix in ("quarantine", "attachments", "thumbnails")),
)


@dataclass(kw_only=True)
class PurgeReport:
    """What a purge removed, or would remove."""

    expired: int = 0
    """Attachments older than ``RETENTION_DAYS``."""
    orphans: int = 0
    """Ready attachments on no message."""
    stale: int = 0
    """Uploads that were never confirmed."""
    refused: int = 0
    """Rejected and infected uploads."""
    size_bytes: int = 0
    """The bytes of all these, as far as they are known."""
    processed: int = 0
    """Attachments that waited for a worker."""
    swept: int = 0
    """Objects under pending/ that no upload needs."""
    waiting: int = 0
    """Notes of objects that are not deleted yet."""
    failing: int = 0
    """How many of these the store refused, or could not take, when it was last asked."""
    protected: int = 0
    """Attachments that stay, because a row of the host protects them."""

    @property
    def row_count(self) -> int:
        return self.expired + self.orphans + self.stale + self.refused

    def add(self, kind: str, *, count: int, size_bytes: int) -> None:
        setattr(self, kind, getattr(self, kind) + count)
        self.size_bytes += size_bytes


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One row, or one object, that a purge would remove."""

    kind: str
    """Named as the counts of ``PurgeReport``."""
    name: str
    """The id of the attachment, or the key of the object."""
    filename: str = ""
    size_bytes: int | None = None
    created_at: datetime | None = None


def count_purgeable(
    *, older_than: timedelta | None = None, limit: int | None = None
) -> PurgeReport:
    """The rows that ``purge_attachments`` would remove now, counted in the database."""
    report = PurgeReport()
    for kind, rows in find_purgeable(older_than).items():
        free = exclude_protected(rows)
        if limit is not None:
            free = free[: limit - report.row_count]
        found = free.aggregate(count=Count("pk"), size_bytes=Sum("size_bytes"))
        report.add(kind, count=found["count"], size_bytes=found["size_bytes"] or 0)
        report.protected += only_protected(rows).count()
    count_notes(report)
    return report


def preview_purge(
    *,
    older_than: timedelta | None = None,
    limit: int | None = None,
    max_named: int = 0,
    on_named: Callable[[Candidate], None] = lambda candidate: None,
) -> PurgeReport:
    """What ``purge_attachments`` would remove now, in rows and in objects under pending/.

    ``on_named`` is called with the first ``max_named`` of each kind.
    """
    report = count_purgeable(older_than=older_than, limit=limit)
    for kind, rows in find_purgeable(older_than).items():
        for row in exclude_protected(rows)[: min(max_named, getattr(report, kind))]:
            on_named(_name_row(kind, row))
    for keys in find_unneeded_objects():
        for key in islice(sorted(keys), max(max_named - report.swept, 0)):
            on_named(Candidate(kind="swept", name=key))
        report.swept += len(keys)
    waiting = ObjectDeletion.objects.waiting().order_by("due_at")
    for key in waiting.values_list("key", flat=True)[:max_named]:
        on_named(Candidate(kind="waiting", name=key))
    report.processed = count_waiting()
    return report


def _name_row(kind: str, row: Attachment) -> Candidate:
    return Candidate(
        kind=kind,
        name=str(row.pk),
        filename=row.filename,
        size_bytes=row.size_bytes,
        created_at=row.created_at,
    )


def count_notes(report: PurgeReport) -> None:
    """Add the notes of objects that are not deleted yet."""
    found = ObjectDeletion.objects.waiting().aggregate(
        waiting=Count("pk"), failing=Count("pk", filter=~Q(last_error=""))
    )
    report.waiting, report.failing = found["waiting"], found["failing"]


def find_purgeable(older_than: timedelta | None) -> dict[str, AttachmentQuerySet]:
    """The rows of each kind, in the order of the index that serves it. No row is of two kinds."""
    now = timezone.now()
    kept_from = now - (conf.orphan_age if older_than is None else older_than)
    rows = Attachment.objects.unleased()
    found = {}
    if conf.retention is not None:
        expired_before = now - conf.retention
        found["expired"] = rows.expired(expired_before).order_by("created_at")
        rows = rows.unexpired(expired_before)
    return found | {
        "orphans": rows.orphans(confirmed_before=kept_from).order_by("confirmed_at"),
        "stale": rows.stale(expired_before=now - STALE_GRACE).order_by("expires_at"),
        "refused": rows.refused(created_before=kept_from).order_by("created_at"),
    }


def find_unneeded_objects() -> Iterator[set[str]]:
    """Keys under pending/ whose form expired long ago and whose upload cannot be confirmed.

    Keys of probes too: a check of the store that was killed left them.
    """
    cutoff = timezone.now() - conf.upload_expires_in - LATE_GRACE
    items = chain.from_iterable(map(storage.list_objects, _SWEPT))
    late = (item.key for item in items if item.modified_at < cutoff)
    while keys := set(islice(late, storage.MAX_DELETE)):
        if unneeded := keys - _find_needed(keys):
            yield unneeded


def _find_needed(keys: Iterable[str]) -> set[str]:
    """The keys of uploads that may still be confirmed."""
    ids = {pk for key in keys if (pk := _parse_id(key))}
    unconfirmed = Attachment.objects.unconfirmed().filter(pk__in=ids)
    return {f"pending/{pk}" for pk in unconfirmed.values_list("pk", flat=True)}


def _parse_id(key: str) -> UUID | None:
    try:
        return UUID(key.removeprefix("pending/"))
    except ValueError:
        return None
