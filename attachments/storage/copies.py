"""Copies of objects within the store: in one piece, or in parts."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from math import ceil
from typing import Any

from attachments.storage.checksums import take_checksum
from attachments.storage.client import get_bucket, get_client, get_copier, translate_errors
from attachments.storage.digests import ask_with_checksum
from attachments.storage.objects import (
    REFUSALS,
    ObjectChanged,
    ObjectNotFound,
    Refused,
    ServedHeaders,
)
from attachments.storage.threads import run_in_order

# S3 takes parts of 5 MiB to 5 GiB, 10,000 of them: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
PART_BYTES = 32 * 2**20
PARTS_AT_ONCE = 4


@dataclass(frozen=True, kw_only=True)
class BegunCopy:
    """A multipart upload that was begun."""

    key: str
    upload_id: str
    begun_at: datetime


class UploadNotFound(Exception):
    """The multipart upload was aborted or finished."""


def copy_object(
    *, source: str, target: str, headers: ServedHeaders, etag: str | None = None
) -> str:
    """Copy the object in one piece; give the SHA-256 of the copy if the store tells, else "".

    Raises ``ObjectNotFound`` and, if the source has another ETag and the store looks at it,
    ``ObjectChanged``. After ``StorageUnavailable`` the copy may still land.
    """
    condition: Any = {} if etag is None else {"CopySourceIfMatch": etag}
    expected: dict[str, type[Exception]] = {"NoSuchKey": ObjectNotFound}
    if condition:
        expected["PreconditionFailed"] = ObjectChanged
    with translate_errors(expected):
        answer = ask_with_checksum(
            get_copier().copy_object,
            {"ChecksumAlgorithm": "SHA256"},
            Bucket=get_bucket(),
            Key=target,
            CopySource={"Bucket": get_bucket(), "Key": source},
            MetadataDirective="REPLACE",
            **headers.as_params(),
            **condition,
        )
        return take_checksum(answer["CopyObjectResult"])


def begin_copy(*, target: str, headers: ServedHeaders) -> str:
    """Begin a copy in parts; give the id of its multipart upload."""
    with translate_errors():
        answer = get_copier().create_multipart_upload(
            Bucket=get_bucket(), Key=target, **headers.as_params()
        )
        return answer["UploadId"]


def copy_in_parts(
    *,
    source: str,
    target: str,
    upload_id: str,
    size_bytes: int,
    etag: str,
    on_part: Callable[[], None] = lambda: None,
) -> None:
    """Copy the parts of the object, several at once, and put them together.

    ``on_part`` is called after each part. Raises ``ObjectNotFound`` and, if the source no longer
    has this ETag, ``ObjectChanged``; ``UploadNotFound`` if somebody aborted the upload; what
    ``on_part`` raises. ``abort_copy`` is for the caller.
    """

    def copy(number: int) -> Any:
        first = (number - 1) * PART_BYTES
        last = min(first + PART_BYTES, size_bytes) - 1
        with translate_errors(
            {
                "NoSuchKey": ObjectNotFound,
                "PreconditionFailed": ObjectChanged,
                "InvalidRange": ObjectChanged,  # it is shorter now
                "NoSuchUpload": UploadNotFound,
            }
        ):
            answer = get_copier().upload_part_copy(
                Bucket=get_bucket(),
                Key=target,
                UploadId=upload_id,
                PartNumber=number,
                CopySource={"Bucket": get_bucket(), "Key": source},
                CopySourceRange=f"bytes={first}-{last}",
                CopySourceIfMatch=etag,
            )
            return {"PartNumber": number, "ETag": answer["CopyPartResult"]["ETag"]}

    numbers = range(1, ceil(size_bytes / PART_BYTES) + 1)
    parts = []
    for part in run_in_order(copy, numbers, threads=PARTS_AT_ONCE, ahead=1):
        parts.append(part)
        on_part()
    with translate_errors({"NoSuchUpload": UploadNotFound}):
        get_copier().complete_multipart_upload(
            Bucket=get_bucket(), Key=target, UploadId=upload_id, MultipartUpload={"Parts": parts}
        )


def abort_copy(*, target: str, upload_id: str) -> str:
    """Drop what a copy in parts has left; no error if it is gone or done.

    Gives the store's reason if it refuses this one, else "".
    """
    expected: dict[str, type[Exception]] = dict.fromkeys(REFUSALS, Refused)
    try:
        with (
            suppress(UploadNotFound),
            translate_errors({**expected, "NoSuchUpload": UploadNotFound}),
        ):
            get_client().abort_multipart_upload(Bucket=get_bucket(), Key=target, UploadId=upload_id)
    except Refused as refusal:
        error = refusal.__cause__.response["Error"]  # type: ignore[union-attr]
        return f"{error['Code']}: {error.get('Message', '')}"
    return ""


def list_copies(prefix: str) -> Iterator[BegunCopy]:
    """The copies in parts under a prefix that were begun, and neither finished nor aborted.

    None for a store that does not tell, or does not tell this key.
    """
    pages = (
        get_client()
        .get_paginator("list_multipart_uploads")
        .paginate(Bucket=get_bucket(), Prefix=prefix)
    )
    expected: dict[str, type[Exception]] = dict.fromkeys(REFUSALS, Refused)
    with suppress(Refused), translate_errors(expected):
        for page in pages:
            for item in page.get("Uploads", []):
                yield BegunCopy(
                    key=item["Key"], upload_id=item["UploadId"], begun_at=item["Initiated"]
                )
