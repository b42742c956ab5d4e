"""The boto3 clients behind ``STORAGES["attachments"]``, and the translation of their errors.

A client takes milliseconds to build and is safe to share between threads: one is kept per process
for each key. Those that sign what clients see do it for the store as clients reach it.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING, Any

import botocore.session
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    ParamValidationError,
)
from botocore.parsers import ResponseParserError
from botocore.utils import parse_timestamp
from django.conf import settings
from django.core.files.storage import Storage, storages
from django.core.files.storage.handler import InvalidStorageError
from urllib3.exceptions import HTTPError

from attachments import events
from attachments.conf import conf
from attachments.errors import StorageRefused, StorageUnavailable
from attachments.rules.keys import hide_nonce
from attachments.storage.digests import add_md5
from attachments.storage.refusals import explain_mistake, explain_refusal, get_code, is_refusal
from attachments.storage.steady_links import choose_signer
from attachments.storage.watching import watch

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class StoreError(Exception):
    """What the store said, or what happened on the way to it."""


ALIAS = "attachments"
COPY_PATIENCE = 3  # times the read timeout: 30 s for up to 100 MiB, or for a part of 32 MiB
_OK = (200, 206)
_TELL_ETAG = ("GetObject", "HeadObject", "PutObject")
_ANSWERS = {
    "CompleteMultipartUpload": b"CompleteMultipartUploadResult",
    "DeleteObjects": b"DeleteResult",
    "ListMultipartUploads": b"ListMultipartUploadsResult",
    "ListObjectVersions": b"ListVersionsResult",
    "ListObjectsV2": b"ListBucketResult",
}
"""What the document is called that answers a call."""
_opening = Lock()


def get_attachments_storage() -> Storage:
    """The storage of ``Attachment.storage_key``; a callable keeps secrets out of migrations."""
    try:
        return storages[ALIAS]
    except InvalidStorageError:
        return Storage()  # of no use, but Django reaches its system checks, which explain


def get_bucket() -> str:
    """The name of the bucket, which django-storages holds."""
    return str(_get_backend().bucket_name)


def get_client() -> "S3Client":
    """The client that does to objects what the app does."""
    return _get_client()


def get_admin() -> "S3Client":
    """The client that sets up the bucket."""
    return _get_client(**_use_key(conf.admin_key))


def get_copier() -> "S3Client":
    """The client that copies objects: with more time, as copying takes longer with more bytes.

    It sends each request once. A copy that was sent twice could land twice, the second time with
    other bytes and after the first was judged.
    """
    with _opening:
        return _open_copier(_get_backend())


def get_signer() -> "S3Client":
    """The client that signs upload forms."""
    return _get_client(**_use_key(conf.signer_key), **_use_public_endpoint())


def get_reader() -> "S3Client":
    """The client that signs private links."""
    return _get_client(**_use_key(conf.reader_key), **_use_public_endpoint())


def get_unsigned_client(*, is_public: bool = True) -> "S3Client":
    """The client that spells addresses of objects, for clients or for Django itself."""
    return _open_unsigned_client(_get_backend(), conf.public_endpoint_url if is_public else "")


def find_trust() -> bool | str:
    """By what the clients know the store's certificate: a file of CAs, or whether they look."""
    backend = _get_backend()
    if backend.verify is not None:
        return backend.verify  # type: ignore[no-any-return]
    session = botocore.session.Session(profile=backend.session_profile)
    return session.get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE") or True


def _get_client(**overrides: Any) -> "S3Client":
    with _opening:  # or each of many threads that begin at once would open its own: 14 MB
        return _open_client(_get_backend(), **overrides)


def _use_key(key: tuple[str, str] | None) -> dict[str, Any]:
    if key is None:
        return {}
    access_key, secret_key = key
    # What the storage may have beside its own key does not go with another one.
    others = {"security_token": None, "session_profile": None}
    return {"access_key": access_key, "secret_key": secret_key, **others}


def _use_public_endpoint() -> dict[str, Any]:
    return {"endpoint_url": conf.public_endpoint_url} if conf.public_endpoint_url else {}


def _get_backend() -> Any:
    return storages[ALIAS]


# Keyed by the backend, which Django makes anew when STORAGES changes (in tests).


@lru_cache(maxsize=4)  # main, admin, signer, reader
def _open_client(backend: Any, **overrides: Any) -> "S3Client":
    if overrides:
        backend = _reopen_backend(**overrides)
    client: S3Client = backend.connection.meta.client
    client.meta.events.register_first("needs-retry.s3.HeadBucket", _end_redirects)
    if backend.client_config.signature_version is not botocore.UNSIGNED:
        client.meta.events.register_first("choose-signer.s3.GetObject", choose_signer)
    client.meta.events.register("before-call.s3", add_md5)
    client.meta.events.register("before-parse.s3", _refuse_other_pages)
    watch(client)
    client._endpoint._response_parser_factory.set_parser_defaults(timestamp_parser=_parse_time)  # type: ignore[attr-defined]
    return client


def _parse_time(value: Any) -> datetime:
    """The time in an answer. botocore guesses its format, which takes a tenth of a call."""
    try:
        if value.endswith("GMT"):
            return parsedate_to_datetime(value)
        return datetime.fromisoformat(value)
    except (AttributeError, TypeError, ValueError):
        return parse_timestamp(value)


def _refuse_other_pages(operation_model: Any, response_dict: dict[str, Any], **kwargs: Any) -> None:
    """Let a page of some proxy be no answer, although it comes with 200.

    botocore would read in it an empty listing, or that all was done; and it has bytes of a file.
    """
    if response_dict["status_code"] not in _OK:
        return
    name, body = operation_model.name, response_dict["body"]
    if name in _TELL_ETAG:
        is_answer = "ETag" in response_dict["headers"]
    elif name in _ANSWERS:
        is_answer = _ANSWERS[name] in body
    else:
        is_answer = name != "AbortMultipartUpload" or not body
    if not is_answer:
        raise ResponseParserError(f"What answers {name} is not S3.")


def _end_redirects(response: Any, request_dict: dict[str, Any], **kwargs: Any) -> None:
    """Let a redirect that names no region be an error, as a proxy's is.

    botocore would ask HeadBucket for the region, of its redirect again, until the stack is full
    (``S3RegionRedirectorv2.get_bucket_region``). It leaves alone what was redirected before.
    """
    headers = response[1].get("ResponseMetadata", {}).get("HTTPHeaders", {}) if response else {}
    if "x-amz-bucket-region" not in headers:
        request_dict["context"]["s3_redirect"]["redirected"] = True


@lru_cache(maxsize=1)
def _open_copier(backend: Any) -> "S3Client":
    config = backend.client_config
    once = Config(
        read_timeout=config.read_timeout * COPY_PATIENCE,
        retries={"mode": "standard", "total_max_attempts": 1},
    )
    return _open_client.__wrapped__(_reopen_backend(client_config=config.merge(once)))


@lru_cache(maxsize=2)  # for clients, for Django
def _open_unsigned_client(backend: Any, endpoint_url: str) -> "S3Client":
    config = backend.client_config.merge(Config(signature_version=botocore.UNSIGNED))
    overrides = {"endpoint_url": endpoint_url} if endpoint_url else {}
    return _open_client.__wrapped__(_reopen_backend(client_config=config, **overrides))


def _reopen_backend(**overrides: Any) -> Any:
    """A second django-storages backend like the configured one, but for ``overrides``."""
    params: Any = settings.STORAGES[ALIAS]
    return storages.create_storage(
        {**params, "OPTIONS": {**params.get("OPTIONS", {}), **overrides}}
    )


@contextmanager
def translate_errors(expected: dict[str, type[Exception]] | None = None) -> Iterator[None]:
    """Raise what the caller expects of S3's error codes; all else is ``StorageUnavailable``.

    What waiting does not mend is ``StorageRefused``, which is one of them. Codes are S3's own: a
    404 page of some proxy, a 403 or rubbish says nothing of an object.
    """
    try:
        yield
    except ClientError as error:
        code = get_code(error)
        if expected and code in expected:
            raise expected[code] from error
        cause = _explain("The store refused", error)
        if is_refusal(error):
            raise StorageRefused(code=code, reason=explain_refusal(error)) from cause
        raise StorageUnavailable from cause
    except (NoCredentialsError, ParamValidationError) as error:
        cause = _explain("Nothing was sent to the store", error)
        raise StorageRefused(code="", reason=explain_mistake(error)) from cause
    except (BotoCoreError, HTTPError, KeyError, ResponseParserError, ValueError) as error:
        # KeyError and ValueError: an answer without the headers or the body that S3 gives.
        cause = _explain("The store does not answer as S3 does", error)
        raise StorageUnavailable from cause


def _explain(what: str, error: Exception) -> StoreError:
    """Tell it and give it as a cause, without what opens files: it is shown and kept."""
    text = hide_nonce(f"{type(error).__name__}: {error}")
    events.store_failed.tell(reason=f"{what}: {text}")
    return StoreError(text)
