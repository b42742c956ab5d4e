"""What snapshots there are in a place of backups."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _

from attachments import storage
from attachments.backups.snapshots import is_abandoned, list_snapshots, read_facts, read_moment
from attachments.errors import BackupDamaged


class SnapshotState(TextChoices):
    COMPLETE = "complete", _("complete")
    RUNNING = "running", _("running, or killed a short time ago")
    ABANDONED = "abandoned", _("never finished: the next backup removes it")
    DAMAGED = "damaged", _("damaged: its facts cannot be read")


@dataclass(frozen=True, kw_only=True)
class ListedSnapshot:
    """One snapshot; what only a complete one tells is None in the others."""

    id: str
    created_at: datetime | None
    state: SnapshotState
    rows: int | None = None
    objects: int | None = None
    size_bytes: int | None = None

    @property
    def is_complete(self) -> bool:
        return self.state == SnapshotState.COMPLETE


def list_backups(archive: storage.Archive) -> Iterator[ListedSnapshot]:
    """All snapshots, the oldest first. Raises ``BackupUnavailable``."""
    finished, unfinished = list_snapshots(archive)
    for snapshot_id in sorted([*finished, *unfinished]):
        if snapshot_id in unfinished:
            yield _describe_unfinished(snapshot_id)
        else:
            yield _describe_finished(archive, snapshot_id)


def _describe_unfinished(snapshot_id: str) -> ListedSnapshot:
    is_over = is_abandoned(snapshot_id, now=datetime.now(UTC))
    state = SnapshotState.ABANDONED if is_over else SnapshotState.RUNNING
    return ListedSnapshot(id=snapshot_id, created_at=read_moment(snapshot_id), state=state)


def _describe_finished(archive: storage.Archive, snapshot_id: str) -> ListedSnapshot:
    created_at = read_moment(snapshot_id)
    try:
        facts = read_facts(archive, snapshot_id)
    except BackupDamaged:
        return ListedSnapshot(id=snapshot_id, created_at=created_at, state=SnapshotState.DAMAGED)
    return ListedSnapshot(
        id=snapshot_id,
        created_at=created_at,
        state=SnapshotState.COMPLETE,
        rows=facts.rows,
        objects=facts.objects,
        size_bytes=facts.size_bytes,
    )
