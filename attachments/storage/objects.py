"""What is done to single objects: sign, inspect, copy, delete."""

import base64
import hashlib
import re
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import IO, Any
from urllib.parse import quote

from attachments.rules.content_types import HEAD_BYTES
from attachments.storage.client import (
    get_bucket,
    get_client,
    get_signer,
    get_unsigned_client,
    translate_errors,
)

MAX_DELETE = 1000  # keys per DeleteObjects, by the S3 API
# DeleteObjects is XML 1.0: https://www.w3.org/TR/xml/#charsets
_XML_TEXT = re.compile("[\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]*")
CHUNK_BYTES = 2**18


class ObjectNotFound(Exception):
    """The store answered that there is no object at this key."""


class ObjectIsEmpty(Exception):
    """No range of it can be had: it has no bytes."""


class ObjectChanged(Exception):
    """The object is not the one that was inspected: its ETag is another."""


@dataclass(frozen=True, kw_only=True)
class SignedUpload:
    """A presigned POST: the form's address and fields; ``file`` comes last."""

    url: str
    fields: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class ObjectFacts:
    """What one look at an object tells."""

    size_bytes: int
    etag: str
    head: bytes
    """The first 4 KiB."""


def sign_upload(
    *,
    key: str,
    content_type: str,
    size_range: tuple[int, int],
    checksum_sha256: str,
    expires_in: timedelta,
) -> SignedUpload:
    """Sign a form that takes this key, this type, this many bytes and, if given, this digest.

    No call to the store.
    """
    fields = {"Content-Type": content_type}
    if checksum_sha256:
        fields["x-amz-checksum-algorithm"] = "SHA256"
        fields["x-amz-checksum-sha256"] = checksum_sha256
    conditions: list[Any] = [{name: value} for name, value in fields.items()]
    conditions.append(["content-length-range", *size_range])
    form = get_signer().generate_presigned_post(
        get_bucket(),
        key,
        Fields=fields,
        Conditions=conditions,
        ExpiresIn=int(expires_in.total_seconds()),
    )
    return SignedUpload(url=form["url"], fields=form["fields"])


def sign_download(*, key: str, expires_in: timedelta) -> str:
    """A link that reads this object until it expires. No call to the store."""
    return get_signer().generate_presigned_url(
        "get_object",
        Params={"Bucket": get_bucket(), "Key": key},
        ExpiresIn=int(expires_in.total_seconds()),
    )


def get_public_url(key: str) -> str:
    """Where anybody reads this object, if the bucket's policy lets them."""
    return _get_public_base(get_unsigned_client(), get_bucket()) + quote(key)


@lru_cache(maxsize=1)
def _get_public_base(client: Any, bucket: str) -> str:
    """The address of the bucket, by path or by host as the client is configured."""
    url: str = client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "_"})
    return url.removesuffix("_")


def inspect_object(key: str) -> ObjectFacts:
    """Read size, ETag and first bytes in one ranged GET; raise ``ObjectNotFound``."""
    expected = {"NoSuchKey": ObjectNotFound, "InvalidRange": ObjectIsEmpty}
    try:
        with translate_errors(expected):
            answer = get_client().get_object(
                Bucket=get_bucket(), Key=key, Range=f"bytes=0-{HEAD_BYTES - 1}"
            )
            with closing(answer["Body"]) as body:
                head = body.read(HEAD_BYTES)
            # A store that ignores ranges answers with the whole object, and its length.
            total = answer.get("ContentRange", "").rpartition("/")[2] or answer["ContentLength"]
            return ObjectFacts(size_bytes=int(total), etag=answer["ETag"], head=head)
    except ObjectIsEmpty:
        return ObjectFacts(size_bytes=0, etag="", head=b"")


def read_checksum(*, key: str, etag: str | None = None) -> str:
    """The SHA-256 of the object, if it has this ETag, in base64.

    The store's own digest where it keeps one; otherwise the bytes are read through once. Raises
    ``ObjectNotFound``, ``ObjectChanged``.
    """
    expected: dict[str, type[Exception]] = {
        "404": ObjectNotFound,  # HEAD has no body to name the code
        "NoSuchKey": ObjectNotFound,
        "412": ObjectChanged,
        "PreconditionFailed": ObjectChanged,
    }
    condition: Any = {} if etag is None else {"IfMatch": etag}
    with translate_errors(expected):
        facts = get_client().head_object(
            Bucket=get_bucket(), Key=key, ChecksumMode="ENABLED", **condition
        )
        if kept := facts.get("ChecksumSHA256"):
            return kept
        digest = hashlib.sha256()
        answer = get_client().get_object(Bucket=get_bucket(), Key=key, IfMatch=facts["ETag"])
        with closing(answer["Body"]) as body:
            for chunk in body.iter_chunks(CHUNK_BYTES):
                digest.update(chunk)
        return base64.b64encode(digest.digest()).decode()


def copy_object(
    *, source: str, target: str, etag: str, content_type: str, disposition: str, is_public: bool
) -> str:
    """Copy the object if it still has this ETag; give its SHA-256 if the store tells, else "".

    The copy carries the type, disposition and caching that it is to be served with, so that no
    CDN can lose them. Raises ``ObjectNotFound``, ``ObjectChanged``.
    """
    expected: dict[str, type[Exception]] = {
        "NoSuchKey": ObjectNotFound,
        "PreconditionFailed": ObjectChanged,
    }
    with translate_errors(expected):
        answer = get_client().copy_object(
            Bucket=get_bucket(),
            Key=target,
            CopySource={"Bucket": get_bucket(), "Key": source},
            CopySourceIfMatch=etag,
            MetadataDirective="REPLACE",
            ContentType=content_type,
            ContentDisposition=disposition,
            CacheControl=_make_cache_control(is_public=is_public),
            ChecksumAlgorithm="SHA256",
        )
        return answer["CopyObjectResult"].get("ChecksumSHA256", "")


def read_object(key: str) -> Iterator[bytes]:
    """All bytes of the object, a chunk in memory at a time. Raises ``ObjectNotFound``."""
    with translate_errors({"NoSuchKey": ObjectNotFound}):
        answer = get_client().get_object(Bucket=get_bucket(), Key=key)
        with closing(answer["Body"]) as body:
            yield from body.iter_chunks(CHUNK_BYTES)


def put_object(
    *,
    key: str,
    content: IO[bytes],
    checksum_sha256: str,
    content_type: str,
    disposition: str,
    is_public: bool,
) -> None:
    """Write an object as ``copy_object`` does, from bytes of which the store checks the SHA-256."""
    with translate_errors():
        get_client().put_object(
            Bucket=get_bucket(),
            Key=key,
            Body=content,
            ChecksumSHA256=checksum_sha256,
            ContentType=content_type,
            ContentDisposition=disposition,
            CacheControl=_make_cache_control(is_public=is_public),
        )


def _make_cache_control(*, is_public: bool) -> str:
    return f"{'public' if is_public else 'private'}, max-age=31536000, immutable"


def can_delete(key: str) -> bool:
    """Whether ``delete_objects`` can name this key; one that it cannot fails all the others."""
    return bool(_XML_TEXT.fullmatch(key))


def delete_objects(keys: Iterable[str]) -> dict[str, str]:
    """Delete what is there under these keys; a missing object is no error.

    Gives the reasons of what the store refused to delete, by key.
    """
    remaining = sorted(set(keys))
    refused: dict[str, str] = {}
    with translate_errors():
        while remaining:
            batch, remaining = remaining[:MAX_DELETE], remaining[MAX_DELETE:]
            answer = get_client().delete_objects(
                Bucket=get_bucket(),
                Delete={"Objects": [{"Key": key} for key in batch], "Quiet": True},
            )
            for error in answer.get("Errors", []):
                refused[error["Key"]] = f"{error['Code']}: {error.get('Message', '')}"
    return refused


@dataclass(frozen=True, kw_only=True)
class ListedObject:
    """An object as a listing tells it."""

    key: str
    size_bytes: int
    etag: str
    modified_at: datetime


def list_objects(prefix: str) -> Iterator[ListedObject]:
    """All objects under a prefix in the order of their keys, a page of 1000 in memory."""
    pages = (
        get_client().get_paginator("list_objects_v2").paginate(Bucket=get_bucket(), Prefix=prefix)
    )
    with translate_errors():
        for page in pages:
            for item in page.get("Contents", []):
                yield ListedObject(
                    key=item["Key"],
                    size_bytes=item["Size"],
                    etag=item["ETag"],
                    modified_at=item["LastModified"],
                )
