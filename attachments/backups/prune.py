"""Pruning a backup: old snapshots go, and the objects that no other snapshot names."""

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
    """Keep the newest ``keep`` snapshots; give how many snapshots and objects went.

    What killed backups left goes in any case. Nothing else goes while another backup runs: it may
    count on any object. Raises ``BackupDamaged`` before anything goes if a manifest was altered.
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
    # Last: a killed pruning finds its objects again by these.
    for snapshot_id in dropped:
        delete_snapshot(archive, snapshot_id)
    return len(dropped), objects


def _find_unnamed(
    dropped: list[Iterator[ManifestEntry]], kept: list[Iterator[ManifestEntry]]
) -> Iterator[str]:
    """Names of the objects of the dropped manifests that none of the kept has: all are sorted."""
    tagged = [((entry.id, entry.object_name, False) for entry in manifest) for manifest in dropped]
    tagged += [((entry.id, entry.object_name, True) for entry in manifest) for manifest in kept]
    for (_id, name), group in groupby(merge(*tagged), key=lambda item: item[:2]):
        if not any(is_kept for *_, is_kept in group):
            yield name
