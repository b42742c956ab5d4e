"""What is in force in the bucket, as the store tells it: nothing here changes anything."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from botocore.exceptions import ClientError

from attachments.errors import StorageRefused
from attachments.storage.client import get_admin, get_bucket, translate_errors
from attachments.storage.refusals import UNSUPPORTED, quote_store

Rule = dict[str, Any]
# Garage answers a bare 404 where it has no lifecycle, and an empty 204 where it has no CORS.
_BARE_404 = "404"


class Absent(Exception):
    """The bucket has none of it."""


class NotSupported(Exception):
    """The store does not have this, or does not keep it."""

    def __str__(self) -> str:
        """In the store's words, if it had any."""
        cause = self.__cause__
        return quote_store(cause) if isinstance(cause, ClientError) else super().__str__()


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What the store says of one part of the bucket."""

    state: Literal["found", "absent", "unsupported", "refused"]
    value: Any = None
    """What was found: the policy's document, the rules, or the status."""
    words: str = ""
    """Why there is nothing, if the store does not have it or refuses to tell."""


def read_policy() -> Reading:
    """The bucket policy; its value is the document."""

    def ask() -> Rule:
        answer = get_admin().get_bucket_policy(Bucket=get_bucket())
        document: Rule = json.loads(answer.get("Policy") or "{}")
        return document

    return _read(ask, "NoSuchBucketPolicy")


def read_cors() -> Reading:
    """The CORS rules. What browsers get may come from elsewhere: ``find_blocked_origins`` asks."""
    return _read(
        lambda: get_admin().get_bucket_cors(Bucket=get_bucket()).get("CORSRules"),
        "NoSuchCORSConfiguration",
    )


def read_lifecycle() -> Reading:
    """The lifecycle rules."""
    return _read(
        lambda: get_admin().get_bucket_lifecycle_configuration(Bucket=get_bucket()).get("Rules"),
        "NoSuchLifecycleConfiguration",
    )


def read_versioning() -> Reading:
    """``Enabled`` or ``Suspended``; absent if the bucket never had versions."""
    return _read(lambda: get_admin().get_bucket_versioning(Bucket=get_bucket()).get("Status"))


def read_object_lock() -> Reading:
    """The configuration of object lock; absent if the bucket was made without."""
    return _read(
        lambda: (
            get_admin()
            .get_object_lock_configuration(Bucket=get_bucket())
            .get("ObjectLockConfiguration")
        ),
        "ObjectLockConfigurationNotFoundError",
        "NoSuchObjectLockConfiguration",
    )


def _read(ask: Callable[[], Any], *absent_codes: str) -> Reading:
    """Raises ``StorageUnavailable`` if there is no answer."""
    expected: dict[str, type[Exception]] = {
        **dict.fromkeys((*absent_codes, _BARE_404), Absent),
        **dict.fromkeys(UNSUPPORTED, NotSupported),
    }
    try:
        with translate_errors(expected):
            value = ask()
    except Absent:
        return Reading(state="absent")
    except NotSupported as error:
        return Reading(state="unsupported", words=str(error))
    except StorageRefused as refusal:
        return Reading(state="refused", words=refusal.reason)
    return Reading(state="found", value=value) if value else Reading(state="absent")
