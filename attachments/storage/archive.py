"""Where backups are kept: in a directory, or in another alias of STORAGES.

Both are Django storages.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import BotoCoreError, ClientError
from django.conf import settings
from django.core.exceptions import SuspiciousOperation
from django.core.files import File
from django.core.files.storage import FileSystemStorage, Storage, storages
from storages.backends.s3 import S3Storage
from urllib3.exceptions import HTTPError

from attachments.errors import BackupUnavailable
from attachments.storage.client import ALIAS
from attachments.storage.objects import CHUNK_BYTES
from attachments.storage.watching import watch

ALIAS_PREFIX = "storage:"
# Files up to this size stay in memory; larger ones go through a temporary file.
SPOOL_BYTES = 2**18
_UNFINISHED = ".unfinished"


class ArchiveFileNotFound(BackupUnavailable):
    """The archive answered that it has no such file."""


class BackupDirectory(FileSystemStorage):
    """A directory whose files appear whole or not at all, and that only their owner may read."""

    def __init__(self, location: str) -> None:
        super().__init__(
            location=location,
            file_permissions_mode=0o600,
            directory_permissions_mode=0o700,
            allow_overwrite=True,
        )

    def _save(self, name: str, content: File) -> str:
        name_of_part = f"{_UNFINISHED}/{uuid4().hex}"
        unfinished = self.path(super()._save(name_of_part, content))  # type: ignore[misc]
        path = Path(self.path(name))
        _make_private_directory(path.parent)
        Path(unfinished).replace(path)
        return name

    def delete(self, name: str) -> None:
        super().delete(name)
        with suppress(OSError):  # the directory is not empty
            Path(self.path(name)).parent.rmdir()


def _make_private_directory(path: Path) -> None:
    if not path.is_dir():
        _make_private_directory(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)


class Archive:
    """Named files in a Django storage; safe to share between threads.

    Every method raises ``BackupUnavailable`` if the storage fails.
    """

    def __init__(self, backend: Storage) -> None:
        self._backend = backend
        # Other storages may give the file another name if its name is taken.
        self._overwrites = isinstance(backend, BackupDirectory | S3Storage)

    def find_size(self, name: str) -> int | None:
        """The size of the file in bytes, or None if there is none."""
        try:
            with _translate_errors():
                return self._backend.size(name)
        except ArchiveFileNotFound:
            return None

    def read(self, name: str) -> Iterator[bytes]:
        """The file in chunks, one in memory at a time. Raises ``ArchiveFileNotFound``."""
        with _translate_errors(), self._backend.open(name) as file:
            yield from file.chunks(CHUNK_BYTES)

    def write(self, name: str, content: IO[bytes]) -> None:
        """Write all of the file. Replaces a file of the same name."""
        content.seek(0)
        with _translate_errors():
            if not self._overwrites and self._backend.exists(name):
                self._backend.delete(name)
            saved_name = self._backend.save(name, File(content, name=name))
            if saved_name != name:  # another backup wrote it at this moment
                self._backend.delete(saved_name)

    def delete(self, name: str) -> None:
        """Delete the file. If it is missing, that is no error."""
        with _translate_errors():
            self._backend.delete(name)

    def list_directories(self, name: str) -> list[str]:
        """The names of the directories in this one, sorted; none if it is missing."""
        try:
            with _translate_errors():
                directories, _ = self._backend.listdir(name)
                return sorted(directories)
        except ArchiveFileNotFound:
            return []

    def flush(self) -> None:
        """Make sure that what was written survives a power cut."""
        if isinstance(self._backend, FileSystemStorage) and hasattr(os, "sync"):
            os.sync()

    def remove_unfinished(self, *, before: datetime) -> None:
        """Remove the parts of files that killed backups left."""
        if not isinstance(self._backend, BackupDirectory):
            return
        directory = Path(self._backend.path(_UNFINISHED))
        with _translate_errors():
            for path in directory.iterdir() if directory.is_dir() else ():
                if path.stat().st_mtime < before.timestamp():
                    path.unlink(missing_ok=True)


def open_archive(location: str) -> Archive:
    """The archive at ``storage:ALIAS``, or in a directory. Makes no call to it yet.

    Raises ``BackupUnavailable`` for an alias that STORAGES does not have, for the one that holds
    the attachments themselves, and for no name at all, as an unset variable of a shell gives it.
    """
    if not location.strip():
        raise BackupUnavailable(reason=f"there is no directory {location!r}")
    if not location.startswith(ALIAS_PREFIX):
        return Archive(BackupDirectory(location))
    alias = location.removeprefix(ALIAS_PREFIX)
    if alias not in settings.STORAGES or alias == ALIAS:
        usable = ", ".join(sorted(settings.STORAGES.keys() - {ALIAS}))
        raise BackupUnavailable(reason=f"{location}: STORAGES has {usable}")
    params: Any = settings.STORAGES[alias]
    backend = storages.create_storage(params)
    if isinstance(backend, S3Storage):
        # Many files move at once, so each takes one thread, and is never whole in memory.
        backend.file_overwrite = True
        watch(backend.bucket.meta.client)  # opens it once here, not in each thread
        backend.max_memory_size = SPOOL_BYTES
        backend.transfer_config = TransferConfig(use_threads=False)
    return Archive(backend)


def open_spool() -> IO[bytes]:
    """A temporary file that is kept in memory until it grows."""
    return tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES)


@contextmanager
def _translate_errors() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise ArchiveFileNotFound(reason=str(error)) from error
    except (
        OSError,
        Boto3Error,
        BotoCoreError,
        ClientError,
        HTTPError,
        SuspiciousOperation,
    ) as error:
        raise BackupUnavailable(reason=str(error)) from error
