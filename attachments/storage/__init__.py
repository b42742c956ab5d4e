"""The object store in our words: the only package that imports boto3 and botocore."""

from attachments.storage.archive import Archive, ArchiveFileNotFound, open_archive, open_spool
from attachments.storage.bucket import (
    ensure_bucket,
    has_bucket,
    ping_bucket,
    setup_bucket,
)
from attachments.storage.checksums import find_checksum, read_checksum, tell_checksum
from attachments.storage.client import get_attachments_storage, get_bucket
from attachments.storage.copies import (
    BegunCopy,
    UploadNotFound,
    abort_copy,
    begin_copy,
    copy_in_parts,
    copy_object,
    list_copies,
)
from attachments.storage.objects import (
    MAX_DELETE,
    ListedObject,
    ObjectChanged,
    ObjectFacts,
    ObjectNotFound,
    ServedHeaders,
    SignedUpload,
    can_delete,
    delete_objects,
    get_public_url,
    inspect_object,
    list_objects,
    put_object,
    read_object,
    read_range,
    sign_download,
    sign_upload,
)
from attachments.storage.parts import SetupStep
from attachments.storage.policies import build_policies

__all__ = [
    "MAX_DELETE",
    "Archive",
    "ArchiveFileNotFound",
    "BegunCopy",
    "ListedObject",
    "ObjectChanged",
    "ObjectFacts",
    "ObjectNotFound",
    "ServedHeaders",
    "SetupStep",
    "SignedUpload",
    "UploadNotFound",
    "abort_copy",
    "begin_copy",
    "build_policies",
    "can_delete",
    "copy_in_parts",
    "copy_object",
    "delete_objects",
    "ensure_bucket",
    "find_checksum",
    "get_attachments_storage",
    "get_bucket",
    "get_public_url",
    "has_bucket",
    "inspect_object",
    "list_copies",
    "list_objects",
    "open_archive",
    "open_spool",
    "ping_bucket",
    "put_object",
    "read_checksum",
    "read_object",
    "read_range",
    "setup_bucket",
    "sign_download",
    "sign_upload",
    "tell_checksum",
]
