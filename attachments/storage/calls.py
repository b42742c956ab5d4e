"""Calls that are signed here with the key of a role, and sent as clients send them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from urllib3.filepost import encode_multipart_formdata

from attachments.storage.client import (
    get_admin,
    get_bucket,
    get_client,
    get_reader,
    get_signer,
    translate_errors,
)
from attachments.storage.objects import SignedUpload
from attachments.storage.policies import Role
from attachments.storage.wire import Reply, send

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_LIFETIME_SECONDS = 60


def post_form(
    form: SignedUpload,
    content: bytes,
    *,
    fields: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """Post a file as a browser does, with these fields in place of the form's, or beside them.

    Raises ``StorageUnavailable`` if there is no answer.
    """
    parts: dict[str, Any] = {**form.fields, **(fields or {}), "file": ("file", content)}
    body, content_type = encode_multipart_formdata(parts)
    headers = {**(headers or {}), "Content-Type": content_type}
    return send("POST", form.url, headers=headers, body=body)


def sign_call(role: Role, operation: str, **params: Any) -> str:
    """The address that makes this call, named as boto3 names it. It works for a minute."""
    with translate_errors():  # an endpoint that is no address
        return _get_client(role).generate_presigned_url(
            operation, Params={"Bucket": get_bucket(), **params}, ExpiresIn=_LIFETIME_SECONDS
        )


def find_credential(role: Role) -> str:
    """What each signature of this role shows: its access key, the day, the region."""
    return parse_qs(urlsplit(sign_call(role, "list_objects_v2")).query)["X-Amz-Credential"][0]


def get_region() -> str:
    """The region that signatures name."""
    return get_client().meta.region_name


def _get_client(role: Role) -> "S3Client":
    getters = {"main": get_client, "signer": get_signer, "reader": get_reader, "admin": get_admin}
    return getters[role]()
