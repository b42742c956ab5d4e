"""The object store in our words: the only package that imports boto3 and botocore."""

from attachments.storage.archive import Archive, ArchiveFileNotFound, open_archive, open_spool
from attachments.storage.bucket import (
    ensure_bucket,
    has_bucket,
    ping_bucket,
    preview_setup,
    setup_bucket,
)
from attachments.storage.calls import find_credential, get_region, post_form, sign_call
from attachments.storage.checksums import find_checksum, read_checksum, tell_checksum
from attachments.storage.client import StoreError, get_attachments_storage, get_bucket
from attachments.storage.copies import (
    BegunCopy,
    UploadNotFound,
    abort_copy,
    begin_copy,
    copy_in_parts,
    copy_object,
    list_copies,
)
from attachments.storage.cors import ask_preflight, lets_in
from attachments.storage.identities import build_identities
from attachments.storage.lifecycle import Lifecycle
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
from attachments.storage.places import hold_place, in_request
from attachments.storage.policies import Role, build_policies
from attachments.storage.public_read import Policy, ask_for_version
from attachments.storage.refusals import advise
from attachments.storage.steady_links import find_link_expiry
from attachments.storage.versions import Versions
from attachments.storage.watching import OUTCOMES as CALL_OUTCOMES
from attachments.storage.wire import Reply, send

__all__ = [
    "CALL_OUTCOMES",
    "MAX_DELETE",
    "Archive",
    "ArchiveFileNotFound",
    "BegunCopy",
    "Lifecycle",
    "ListedObject",
    "ObjectChanged",
    "ObjectFacts",
    "ObjectNotFound",
    "Policy",
    "Reply",
    "Role",
    "ServedHeaders",
    "SetupStep",
    "SignedUpload",
    "StoreError",
    "UploadNotFound",
    "Versions",
    "abort_copy",
    "advise",
    "ask_for_version",
    "ask_preflight",
    "begin_copy",
    "build_identities",
    "build_policies",
    "can_delete",
    "copy_in_parts",
    "copy_object",
    "delete_objects",
    "ensure_bucket",
    "find_checksum",
    "find_credential",
    "find_link_expiry",
    "get_attachments_storage",
    "get_bucket",
    "get_public_url",
    "get_region",
    "has_bucket",
    "hold_place",
    "in_request",
    "inspect_object",
    "lets_in",
    "list_copies",
    "list_objects",
    "open_archive",
    "open_spool",
    "ping_bucket",
    "post_form",
    "preview_setup",
    "put_object",
    "read_checksum",
    "read_object",
    "read_range",
    "send",
    "setup_bucket",
    "sign_call",
    "sign_download",
    "sign_upload",
    "tell_checksum",
]
