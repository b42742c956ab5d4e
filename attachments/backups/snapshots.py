"""What a backup looks like: its files, and reading them back.

    objects/<storage key>              each object once, for all the snapshots; never changed
    snapshots/<id>/rows.jsonl          the rows, in Django's serialisation
    snapshots/<id>/manifest.jsonl      the objects that they name, by attachment id
    snapshots/<id>/snapshot.json       digests of those two; written last: without it, unfinished

Ids are moments in UTC, so that they sort by time.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import IO, Any

from attachments import storage
from attachments.backups.manifests import ManifestEntry, read_lines, read_manifest
from attachments.backups.transfers import spool
from attachments.errors import BackupDamaged, SnapshotNotFound

FORMAT = 1
# A backup that still runs is younger than this. An older unfinished one was killed.
LONGEST_RUN = timedelta(days=2)
_ID_FORMAT = "%Y%m%dT%H%M%S.%fZ"


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """``snapshot.json``: the facts of one finished snapshot."""

    id: str
    rows: int
    rows_sha256: str
    objects: int
    size_bytes: int
    manifest_sha256: str
    format: int = FORMAT


def make_snapshot_id(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime(_ID_FORMAT)


def get_rows_name(snapshot_id: str) -> str:
    return f"snapshots/{snapshot_id}/rows.jsonl"


def get_manifest_name(snapshot_id: str) -> str:
    return f"snapshots/{snapshot_id}/manifest.jsonl"


def get_facts_name(snapshot_id: str) -> str:
    return f"snapshots/{snapshot_id}/snapshot.json"


def list_snapshots(archive: storage.Archive) -> tuple[list[str], list[str]]:
    """The ids of finished and of unfinished snapshots, the oldest first."""
    finished: list[str] = []
    unfinished: list[str] = []
    for snapshot_id in archive.list_directories("snapshots"):
        if archive.find_size(get_facts_name(snapshot_id)) is not None:
            finished.append(snapshot_id)
        # Some stores still list directories whose files were deleted.
        elif archive.find_size(get_rows_name(snapshot_id)) is not None:
            unfinished.append(snapshot_id)
    return finished, unfinished


def is_abandoned(snapshot_id: str, *, now: datetime) -> bool:
    """Whether this unfinished snapshot is so old that no backup can still be writing it."""
    started_at = read_moment(snapshot_id)
    return started_at is not None and started_at < now - LONGEST_RUN


def read_moment(snapshot_id: str) -> datetime | None:
    """When it was begun; None if the id is not of ours."""
    try:
        return datetime.strptime(snapshot_id, _ID_FORMAT).replace(tzinfo=UTC)
    except ValueError:
        return None


def delete_snapshot(archive: storage.Archive, snapshot_id: str) -> None:
    """Delete the marker first, so that a killed deletion leaves an unfinished snapshot."""
    for get_name in (get_facts_name, get_manifest_name, get_rows_name):
        archive.delete(get_name(snapshot_id))


def write_facts(archive: storage.Archive, snapshot: Snapshot) -> None:
    """Make the snapshot a finished one.

    Raises ``BackupDamaged`` if another backup took this one for abandoned and removed its rows.
    """
    if archive.find_size(get_rows_name(snapshot.id)) is None:
        raise BackupDamaged(name=get_rows_name(snapshot.id))
    archive.flush()
    with storage.open_spool() as file:
        file.write(json.dumps(asdict(snapshot), indent=2).encode() + b"\n")
        archive.write(get_facts_name(snapshot.id), file)
    archive.flush()


class OpenSnapshot:
    """A snapshot whose rows and manifest were fetched, and match their digests."""

    def __init__(self, facts: Snapshot, rows: IO[bytes], manifest: IO[bytes]) -> None:
        self.facts = facts
        self._rows = rows
        self._manifest = manifest

    def read_rows(self) -> Iterator[dict[str, Any]]:
        """The serialised rows: those that others depend on first, attachments last."""
        return read_lines(self._rows)

    def read_manifest(self) -> Iterator[ManifestEntry]:
        """The objects, in the order of their attachments' ids."""
        return read_manifest(self._manifest)


@contextmanager
def open_snapshot(
    archive: storage.Archive, snapshot_id: str | None = None
) -> Iterator[OpenSnapshot]:
    """Open the newest finished snapshot, or the named one. Fetches its rows and its manifest.

    Raises ``SnapshotNotFound``, ``BackupDamaged``, ``BackupUnavailable``.
    """
    facts = read_facts(archive, snapshot_id or _find_newest(archive))
    with ExitStack() as stack:
        rows, manifest = (
            stack.enter_context(_fetch(archive, name, sha256))
            for name, sha256 in (
                (get_rows_name(facts.id), facts.rows_sha256),
                (get_manifest_name(facts.id), facts.manifest_sha256),
            )
        )
        yield OpenSnapshot(facts, rows, manifest)


@contextmanager
def open_manifest(
    archive: storage.Archive, snapshot_id: str | None = None
) -> Iterator[Iterator[ManifestEntry]]:
    """The manifest that ``open_snapshot`` would open, without the rows."""
    facts = read_facts(archive, snapshot_id or _find_newest(archive))
    name = get_manifest_name(facts.id)
    with _fetch(archive, name, facts.manifest_sha256) as file:
        yield read_manifest(file)


def _find_newest(archive: storage.Archive) -> str:
    finished, _unfinished = list_snapshots(archive)
    if not finished:
        raise SnapshotNotFound(name="snapshots/")
    return finished[-1]


def read_facts(archive: storage.Archive, snapshot_id: str) -> Snapshot:
    """Raises ``SnapshotNotFound``, ``BackupDamaged``, ``BackupUnavailable``."""
    name = get_facts_name(snapshot_id)
    try:
        content = b"".join(archive.read(name))
    except storage.ArchiveFileNotFound as error:
        raise SnapshotNotFound(name=name) from error
    try:
        facts = Snapshot(**json.loads(content))
    except (ValueError, TypeError) as error:
        raise BackupDamaged(name=name) from error
    if (facts.id, facts.format) != (snapshot_id, FORMAT):
        raise BackupDamaged(name=name)
    return facts


@contextmanager
def _fetch(archive: storage.Archive, name: str, sha256: str) -> Iterator[IO[bytes]]:
    with ExitStack() as stack:
        try:
            spooled = stack.enter_context(spool(archive.read(name)))
        except storage.ArchiveFileNotFound as error:
            raise BackupDamaged(name=name) from error
        if spooled.sha256 != sha256:
            raise BackupDamaged(name=name)
        yield spooled.content
