"""The bucket itself: that it is there, and that what the settings need is in force.

The admin key sets the bucket up. The main key is enough to see that it is there.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext as _

from attachments.conf import conf
from attachments.errors import StorageRefused, StorageUnavailable
from attachments.storage.client import get_admin, get_bucket, get_client, translate_errors
from attachments.storage.cors import Cors
from attachments.storage.lifecycle import Lifecycle
from attachments.storage.parts import BucketPart, SetupStep
from attachments.storage.public_read import Policy
from attachments.storage.refusals import DENIED
from attachments.storage.versions import Versions

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

logger = logging.getLogger(__name__)


class MissingBucket(Exception):
    """The store answered that there is no such bucket."""


class NoWords(Exception):
    """HEAD was refused, or redirected, and has no body to say why."""


_known_buckets: set[tuple[str, str]] = set()


def ensure_bucket(*, has_files: Callable[[], bool] = lambda: False) -> None:
    """Look for the bucket; set it up if the system has no files yet.

    No call to the store once this process has seen it ready. Where there are files, a missing
    bucket is an outage: a new one in its place would hide the loss. Raises ``StorageUnavailable``.
    """
    bucket = (get_client().meta.endpoint_url, get_bucket())
    if bucket in _known_buckets:
        return
    if has_files():
        ping_bucket()
        _known_buckets.add(bucket)
    elif _set_up_first():
        _known_buckets.add(bucket)


def _set_up_first() -> bool:
    """Do the whole set-up; give whether the next use may rely on it.

    A step that got no answer is tried again then. What the store refused to this key stays refused,
    and `setup_storage` may have done it by another. Raises ``StorageRefused`` if every link would
    fail, or if anybody could read what should be private.
    """
    steps = setup_bucket()
    for step in steps:
        if step.level != "ok":
            logger.warning("The bucket's %s: %s", step.part, step.detail)
    for step in steps:
        if step.part == Policy.name and step.level == "error":
            raise StorageRefused(code="", reason=_("The bucket is not ready: %s") % step.detail)
    return all(step.state != "failed" for step in steps)


def ping_bucket() -> None:
    """Look for the bucket, and change nothing. Raises ``StorageUnavailable``."""
    if not has_bucket():
        reason = _(
            "The bucket %s is missing. Look at S3_BUCKET. If the name is right, setup_storage "
            "makes it, and nothing else does where there are files."
        )
        logger.error("The bucket %s is missing.", get_bucket())
        raise StorageRefused(code="NoSuchBucket", reason=reason % get_bucket())


def forget_bucket() -> None:
    """Let the next use look again."""
    _known_buckets.clear()


def setup_bucket() -> list[SetupStep]:
    """Bring the bucket to what the settings say: every part, whatever one of them answers.

    Safe to repeat. Raises ``StorageUnavailable`` if there is no bucket and none can be made.
    """
    versions = Versions()
    steps = [_create_bucket(), *(part.bring() for part in _list_parts(versions))]
    with suppress(StorageUnavailable):  # the steps above tell
        steps += versions.look()
    return steps


def preview_setup() -> list[SetupStep]:
    """What ``setup_bucket`` would change; writes nothing. Raises ``StorageUnavailable``."""
    if not has_bucket():
        text = _("to be made: %s") % get_bucket()
        return [SetupStep(part="bucket", state="missing", detail=text, level="error")]
    found = SetupStep(part="bucket", state="unchanged", detail=get_bucket())
    return [found, *(part.preview() for part in _list_parts(Versions()))]


def _list_parts(versions: Versions) -> list[BucketPart]:
    return [Policy(versions), Cors(), Lifecycle(versions)]


def has_bucket() -> bool:
    """Whether the bucket is there; makes nothing. Raises ``StorageUnavailable``."""
    return _has_bucket(get_client())


def _has_bucket(client: "S3Client") -> bool:
    missing: dict[str, type[Exception]] = dict.fromkeys(("404", "NoSuchBucket"), MissingBucket)
    refused: dict[str, type[Exception]] = dict.fromkeys(("301", "400", "403"), NoWords)
    try:
        try:
            with translate_errors(missing | refused):
                client.head_bucket(Bucket=get_bucket())
        except NoWords:
            with translate_errors(missing):
                client.list_objects_v2(Bucket=get_bucket(), MaxKeys=1)
    except MissingBucket:
        return False
    return True


def _create_bucket() -> SetupStep:
    client = get_admin()
    try:
        is_there = _has_bucket(client)
    except StorageRefused as refusal:  # the main key may be allowed to look
        is_denied = refusal.params["code"] in DENIED
        if conf.admin_key is None or not is_denied or not has_bucket():
            raise
        detail = refusal.reason
        return SetupStep(part="bucket", state="unchanged", detail=detail, level="warning")
    if is_there:
        return SetupStep(part="bucket", state="unchanged", detail=get_bucket())
    options: Any = {}
    if client.meta.region_name != "us-east-1":  # the one region that CreateBucket must not name
        options["CreateBucketConfiguration"] = {"LocationConstraint": client.meta.region_name}
    # Another process may be faster.
    with translate_errors(), suppress(client.exceptions.BucketAlreadyOwnedByYou):
        client.create_bucket(Bucket=get_bucket(), **options)
    return SetupStep(part="bucket", state="created", detail=get_bucket())
