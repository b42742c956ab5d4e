"""What is done to single objects: sign, inspect, read, write, delete, list."""

import re
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import IO, Any
from urllib.parse import quote

from botocore.signers import S3PostPresigner

from attachments.rules.checksums import compute_checksum
from attachments.rules.signatures import HEAD_BYTES
from attachments.storage.client import (
    get_bucket,
    get_client,
    get_reader,
    get_signer,
    get_unsigned_client,
    translate_errors,
)
from attachments.storage.digests import ask_with_checksum

MAX_DELETE = 1000  # keys per DeleteObjects, by the S3 API
# DeleteObjects is XML 1.0: https://www.w3.org/TR/xml/#charsets
_XML_TEXT = re.compile("[\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]*")
CHUNK_BYTES = 2**18
_GONE = ("NoSuchKey", "NoSuchVersion")  # Garage's answer for a key that is not there
# What a store says of one object or upload, not of itself.
REFUSALS = ("AccessDenied", "InvalidRequest", "MethodNotAllowed", "NotImplemented")


class ObjectNotFound(Exception):
    """The store answered that there is no object at this key."""


class RangeIsEmpty(Exception):
    """The object has no bytes there, or none at all."""


class ObjectChanged(Exception):
    """The object is not the one that was meant: its ETag is another."""


class Refused(Exception):
    """The store answers, and does not do this."""


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
    """The first 16 KiB."""

    @property
    def checksum_sha256(self) -> str:
        """In base64, if the first bytes are all that there are; else ""."""
        if len(self.head) != self.size_bytes:
            return ""
        return compute_checksum(self.head)


@dataclass(frozen=True, kw_only=True)
class ServedHeaders:
    """How an object is to be served: kept on the object itself, so that no CDN can lose it."""

    content_type: str
    disposition: str
    is_public: bool

    def as_params(self) -> dict[str, Any]:
        """As S3's calls name them."""
        reach = "public" if self.is_public else "private"
        return {
            "ContentType": self.content_type,
            "ContentDisposition": self.disposition,
            "CacheControl": f"{reach}, max-age=31536000, immutable",
        }


_EMPTY_REQUEST = {"method": "POST", "headers": {}, "body": b""}


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
    client, bucket = get_signer(), get_bucket()
    # `bucket` is for Garage, which asks for it; others take it.
    fields = {"bucket": bucket, "key": key, "Content-Type": content_type}
    if checksum_sha256:
        fields["x-amz-checksum-algorithm"] = "SHA256"
        fields["x-amz-checksum-sha256"] = checksum_sha256
    conditions: list[Any] = [{name: value} for name, value in fields.items()]
    conditions.append(["content-length-range", *size_range])
    # The client's own method finds the address of the bucket anew for each form, which takes longer
    # than to sign it.
    form = S3PostPresigner(client._request_signer).generate_presigned_post(  # type: ignore[attr-defined]
        {**_EMPTY_REQUEST, "url": _get_form_url(client, bucket), "context": {}},
        fields=fields,
        conditions=conditions,
        expires_in=int(expires_in.total_seconds()),
    )
    return SignedUpload(url=form["url"], fields=form["fields"])


@lru_cache(maxsize=2)
def _get_form_url(client: Any, bucket: str) -> str:
    """Where forms are posted to, by path or by host as the client is configured."""
    return str(client.generate_presigned_post(bucket, "_")["url"])


def sign_download(*, key: str, expires_in: timedelta, disposition: str = "") -> str:
    """A link that reads this object for half of ``expires_in`` at least; no call to the store.

    ``disposition`` takes the place of the object's own Content-Disposition.
    """
    override = {"ResponseContentDisposition": disposition} if disposition else {}
    return get_reader().generate_presigned_url(
        "get_object",
        Params={"Bucket": get_bucket(), "Key": key, **override},
        ExpiresIn=int(expires_in.total_seconds()),
    )


def get_public_url(key: str) -> str:
    """Where anybody reads this object, if the bucket's policy lets them."""
    return spell_url(get_unsigned_client(), key)


def spell_url(client: Any, key: str) -> str:
    """The address of an object, as this client reaches the store."""
    return _get_base(client, get_bucket()) + quote(key)


@lru_cache(maxsize=2)  # for clients, for Django
def _get_base(client: Any, bucket: str) -> str:
    """The address of the bucket, by path or by host as the client is configured."""
    url: str = client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "_"})
    return url.removesuffix("_")


def inspect_object(key: str) -> ObjectFacts:
    """Read size, ETag and first bytes in one ranged GET; raise ``ObjectNotFound``."""
    try:
        with translate_errors(_RANGE_ERRORS):
            answer = _get_range(key, start=0)
            with closing(answer["Body"]) as body:
                head = body.read(HEAD_BYTES)
            # A store that ignores ranges answers with the whole object, and its length.
            total = answer.get("ContentRange", "").rpartition("/")[2] or answer["ContentLength"]
            # A proxy that compresses makes it a weak one, which no condition takes.
            etag = answer["ETag"].removeprefix("W/")
            return ObjectFacts(size_bytes=int(total), etag=etag, head=head)
    except RangeIsEmpty:
        return ObjectFacts(size_bytes=0, etag="", head=b"")


def read_range(key: str, *, start: int) -> bytes:
    """Up to 16 KiB from ``start`` on; none beyond the end. Raises ``ObjectNotFound``."""
    try:
        with translate_errors(_RANGE_ERRORS):
            answer = _get_range(key, start=start)
            with closing(answer["Body"]) as body:
                # A store that ignores ranges answers with the whole object.
                return body.read(HEAD_BYTES) if "ContentRange" in answer else b""
    except RangeIsEmpty:
        return b""


_RANGE_ERRORS = {"NoSuchKey": ObjectNotFound, "InvalidRange": RangeIsEmpty}


def _get_range(key: str, *, start: int) -> Any:
    last = start + HEAD_BYTES - 1
    return get_client().get_object(Bucket=get_bucket(), Key=key, Range=f"bytes={start}-{last}")


def read_object(key: str, *, etag: str | None = None) -> Iterator[bytes]:
    """All bytes of the object, a chunk in memory at a time.

    Raises ``ObjectNotFound`` and, if it has another ETag, ``ObjectChanged``.
    """
    expected: dict[str, type[Exception]] = {
        "NoSuchKey": ObjectNotFound,
        "PreconditionFailed": ObjectChanged,
    }
    condition: Any = {} if etag is None else {"IfMatch": etag}
    with translate_errors(expected):
        answer = get_client().get_object(Bucket=get_bucket(), Key=key, **condition)
        with closing(answer["Body"]) as body:
            yield from body.iter_chunks(CHUNK_BYTES)


def put_object(
    *,
    key: str,
    content: IO[bytes],
    checksum_sha256: str,
    headers: ServedHeaders,
) -> None:
    """Write an object as ``copy_object`` does; the store checks the SHA-256, if it can."""

    def put(**request: Any) -> None:
        content.seek(0)
        get_client().put_object(Body=content, **request)

    with translate_errors():
        ask_with_checksum(
            put,
            {"ChecksumSHA256": checksum_sha256},
            Bucket=get_bucket(),
            Key=key,
            **headers.as_params(),
        )


def can_delete(key: str) -> bool:
    """Whether ``delete_objects`` can name this key; one that it cannot fails all the others."""
    return bool(key and _XML_TEXT.fullmatch(key))


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
                if error["Code"] in _GONE:
                    continue
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
