"""The object store in our words: the only package that imports boto3 and botocore."""

from attachments.storage.archive import Archive, ArchiveFileNotFound, open_archive, open_spool
from attachments.storage.bucket import SetupStep, ensure_bucket, ping_bucket, setup_bucket
from attachments.storage.client import get_attachments_storage
from attachments.storage.objects import (
    MAX_DELETE,
    ListedObject,
    ObjectChanged,
    ObjectFacts,
    ObjectNotFound,
    SignedUpload,
    can_delete,
    copy_object,
    delete_objects,
    get_public_url,
    inspect_object,
    list_objects,
    put_object,
    read_checksum,
    read_object,
    sign_download,
    sign_upload,
)

__all__ = [
    "MAX_DELETE",
    "Archive",
    "ArchiveFileNotFound",
    "ListedObject",
    "ObjectChanged",
    "ObjectFacts",
    "ObjectNotFound",
    "SetupStep",
    "SignedUpload",
    "can_delete",
    "copy_object",
    "delete_objects",
    "ensure_bucket",
    "get_attachments_storage",
    "get_public_url",
    "inspect_object",
    "list_objects",
    "open_archive",
    "open_spool",
    "ping_bucket",
    "put_object",
    "read_checksum",
    "read_object",
    "setup_bucket",
    "sign_download",
    "sign_upload",
]
