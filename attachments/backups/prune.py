"""Pruning a backup: remove old snapshots, and the objects that no other snapshot names."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from heapq import merge
from itertools import groupby

from attachments import storage
from attachments.backups.manifests import ManifestEntry
from attachments.backups.snapshots import (
    delete_snapshot,
    is_abandoned,
    list_snapshots,
    open_manifest,
)
from attachments.storage.threads import run_in_order


def prune_snapshots(
    *, archive: storage.Archive, keep: int | None, now: datetime, jobs: int
) -> tuple[int, int]:
    """Keep the newest ``keep`` snapshots; give how many snapshots and objects were removed.

    What killed backups left is removed in any case. Nothing else is removed while another backup
    runs, because that may need any object. Raises ``BackupDamaged`` if a manifest was altered,
    before any object is removed.
    """
    finished, unfinished = list_snapshots(archive)
    abandoned = [snapshot_id for snapshot_id in unfinished if is_abandoned(snapshot_id, now=now)]
    for snapshot_id in abandoned:
        delete_snapshot(archive, snapshot_id)
    if keep is None or len(unfinished) > len(abandoned):
        return 0, 0
    dropped = finished[:-keep]
    with _find_droppable(archive, dropped, finished[len(dropped) :]) as names:
        objects = sum(1 for _ in run_in_order(archive.delete, names, threads=jobs))
    # Removed last: after a killed pruning, the next one finds the objects by these manifests.
    for snapshot_id in dropped:
        delete_snapshot(archive, snapshot_id)
    return len(dropped), objects


def preview_prune(
    *, archive: storage.Archive, keep: int | None, new: Iterable[ManifestEntry]
) -> tuple[list[str], int]:
    """The snapshots that go once there is one more, of the ``new`` objects, and how many objects.

    ``new`` is sorted by id. What a killed backup left is not counted. Raises as pruning does.
    """
    finished, _unfinished = list_snapshots(archive)
    dropped = finished[: max(len(finished) + 1 - keep, 0)] if keep else []
    with _find_droppable(archive, dropped, finished[len(dropped) :], new) as names:
        return dropped, sum(1 for _ in names)


@contextmanager
def _find_droppable(
    archive: storage.Archive, dropped: list[str], kept: list[str], *new: Iterable[ManifestEntry]
) -> Iterator[Iterator[str]]:
    """Names of objects that dropped snapshots have, and neither kept ones nor ``new``."""
    if not dropped:
        yield iter(())
        return
    with ExitStack() as stack:
        first, second = (
            [stack.enter_context(open_manifest(archive, name)) for name in names]
            for names in (dropped, kept)
        )
        yield _find_unnamed(first, [*second, *new])


def _find_unnamed(
    dropped: Sequence[Iterable[ManifestEntry]], kept: Sequence[Iterable[ManifestEntry]]
) -> Iterator[str]:
    """Names of objects that dropped manifests have and kept ones do not. All are sorted."""
    tagged = [((entry.id, entry.object_name, False) for entry in manifest) for manifest in dropped]
    tagged += [((entry.id, entry.object_name, True) for entry in manifest) for manifest in kept]
    for (_id, name), group in groupby(merge(*tagged), key=lambda item: item[:2]):
        if not any(is_kept for *_, is_kept in group):
            yield name
