"""Pruning a backup: remove old snapshots, and the objects that no other snapshot names."""

from collections.abc import Iterator
from contextlib import ExitStack
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
    if not dropped:
        return 0, 0
    with ExitStack() as stack:
        manifests = [
            stack.enter_context(open_manifest(archive, snapshot_id)) for snapshot_id in finished
        ]
        names = _find_unnamed(manifests[: len(dropped)], manifests[len(dropped) :])
        objects = sum(1 for _ in run_in_order(archive.delete, names, threads=jobs))
    # Removed last: after a killed pruning, the next one finds the objects by these manifests.
    for snapshot_id in dropped:
        delete_snapshot(archive, snapshot_id)
    return len(dropped), objects


def _find_unnamed(
    dropped: list[Iterator[ManifestEntry]], kept: list[Iterator[ManifestEntry]]
) -> Iterator[str]:
    """Names of objects that dropped manifests have and kept ones do not. All are sorted."""
    tagged = [((entry.id, entry.object_name, False) for entry in manifest) for manifest in dropped]
    tagged += [((entry.id, entry.object_name, True) for entry in manifest) for manifest in kept]
    for (_id, name), group in groupby(merge(*tagged), key=lambda item: item[:2]):
        if not any(is_kept for *_, is_kept in group):
            yield name
