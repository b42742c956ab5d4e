"""Digests that go with calls: each store knows some, and refuses others."""

import base64
import hashlib
from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from attachments.storage.refusals import get_code

# How stores refuse checksums that they do not know: R2 by the first, B2 by the second. An answer
# to HEAD has its status alone.
_UNKNOWN_CHECKSUM = ("NotImplemented", "InvalidArgument", "InvalidRequest", "501", "400")


def add_md5(model: Any, params: dict[str, Any], **kwargs: Any) -> None:
    """Send Content-MD5 where S3 wants a digest: older stores know no other, and all take it.

    boto3 sends a CRC32 in its place since 1.36. This is a handler of its event ``before-call``.
    """
    if not (model.http_checksum_required or model.http_checksum.get("requestChecksumRequired")):
        return
    digest = hashlib.md5(params["body"], usedforsecurity=False).digest()
    params["headers"]["Content-MD5"] = base64.b64encode(digest).decode()
    params["context"].pop("checksum", None)


def ask_with_checksum(call: Callable[..., Any], checksum: dict[str, str], **request: Any) -> Any:
    """Make this call of boto3 with what concerns a checksum; without, if the store refuses that.

    What was refused was not done, so that nothing is done twice.
    """
    try:
        return call(**request, **checksum)
    except ClientError as error:
        if get_code(error) not in _UNKNOWN_CHECKSUM:
            raise
        return call(**request)
