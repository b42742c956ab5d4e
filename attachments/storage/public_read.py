"""The bucket policy: anybody may read what is served, and nothing else of ours."""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from secrets import token_hex
from typing import Any
from urllib.parse import urlencode

from django.utils.translation import gettext as _

from attachments.conf import conf
from attachments.errors import StorageUnavailable
from attachments.rules.keys import PROBE_MARK
from attachments.storage.client import (
    get_admin,
    get_bucket,
    get_client,
    get_unsigned_client,
    translate_errors,
)
from attachments.storage.objects import delete_objects, spell_url
from attachments.storage.parts import BucketPart, Level, SetupStep, State, as_list, normalise
from attachments.storage.policies import SERVED_PREFIXES
from attachments.storage.state import Reading, Rule, read_policy
from attachments.storage.versions import Versions
from attachments.storage.wire import Reply, send

_ANYBODY = {"AWS": ["*"]}
# MinIO takes the values of conditions from the request's headers, if there are any of their names.
_DISGUISES: tuple[dict[str, str], ...] = ({}, {"Principaltype": "User", "Versionid": ""})


class Policy(BucketPart):
    """Anybody may read ``attachments/*`` and ``thumbnails/*``, as they are now."""

    name = "policy"
    id_field = "Sid"
    ids = frozenset({"NodusAttachmentsPublicRead", "NodusAttachmentsNoOldVersions"})

    def __init__(self, versions: Versions) -> None:
        self._versions = versions
        self._document: Rule = {"Version": "2012-10-17"}

    def get_variants(self) -> list[list[Rule]]:
        if not conf.public_read:
            return [[]]
        bucket = f"arn:aws:s3:::{get_bucket()}"
        allow = {
            "Sid": "NodusAttachmentsPublicRead",
            "Effect": "Allow",
            "Principal": _ANYBODY,
            "Action": ["s3:GetObject"],
            "Resource": [f"{bucket}/{prefix}/*" for prefix in SERVED_PREFIXES],
        }
        # MinIO lets whoever may get an object get its old and deleted versions too. It takes this
        # action for s3:GetObject as well: the id of a version tells the two apart.
        deny = {
            "Sid": "NodusAttachmentsNoOldVersions",
            "Effect": "Deny",
            "Principal": _ANYBODY,
            "Action": ["s3:GetObjectVersion"],
            "Resource": [f"{bucket}/*"],
            # In lower case: the only spelling that MinIO knows. AWS takes any.
            "Condition": {
                "StringEquals": {"aws:principaltype": ["Anonymous"]},
                "StringLike": {"s3:versionid": ["?*"]},
            },
        }
        return [[allow, deny], [allow]]

    def read(self) -> Reading:
        return read_policy()

    def get_rules(self, value: Rule) -> list[Rule]:
        self._document = value
        return as_list(value.get("Statement", []))

    def write(self, rules: list[Rule]) -> None:
        policy = json.dumps({**self._document, "Statement": rules})
        get_admin().put_bucket_policy(Bucket=get_bucket(), Policy=policy)

    def clear(self) -> None:
        get_admin().delete_bucket_policy(Bucket=get_bucket())

    def warn(self, others: list[Rule], *, is_less: bool) -> str:
        if any(opens_pending(statement) for statement in others):
            return _("a statement that is not ours lets anybody read pending/")
        if conf.public_read and self._versions.are_kept and are_old_versions_read():
            return _(
                "anybody may read attachments/* and thumbnails/*, and the store lets them read old "
                "and deleted versions too. Use a bucket without versions, or S3_PUBLIC_READ=false."
            )
        return ""

    def describe(self, others: list[Rule]) -> str:
        if conf.public_read:
            return _("anybody may read attachments/* and thumbnails/*")
        return _("nothing is public")

    def is_obeyed(self) -> bool:
        """A policy of the account, or of others, may decide."""
        return is_publicly_read() == conf.public_read

    def settle(self, state: State, words: str) -> SetupStep:
        """Look at what anybody gets: there are other ways to that than a policy of ours."""
        if state == "impossible" and not conf.public_read:
            text = _("nothing is public; this store has no policies")
            return SetupStep(part=self.name, state="unchanged", detail=text)
        level: Level = "warning" if is_publicly_read() == conf.public_read else "error"
        return SetupStep(
            part=self.name, state=state, detail=self._explain(words, level), level=level
        )

    def _explain(self, words: str, level: Level) -> str:
        if level == "warning":
            text = _("what anybody may read is as the settings say; our policy is not seen: %s")
        elif conf.public_read:
            text = _(
                "S3_PUBLIC_READ (PUBLIC_READ) is on, and nobody could read what is served: %s Set "
                "S3_PUBLIC_READ=false for signed links, or make attachments/* and thumbnails/* "
                "public."
            )
        else:
            text = _("S3_PUBLIC_READ (PUBLIC_READ) is off, and anybody may read attachments/*: %s")
        return text % words


def is_publicly_read() -> bool:
    """Whether anybody gets what stands under attachments/: a probe is put there and removed."""
    with _put_probe() as (key, _version):
        return send("GET", spell_url(get_unsigned_client(is_public=False), key)).is_success


def are_old_versions_read() -> bool:
    """Whether anybody gets a deleted probe, by the id of its version."""
    with _put_probe() as (key, version):
        pass
    return ask_for_version(key, version, is_public=False).is_success


def ask_for_version(key: str, version: str, *, is_public: bool = True) -> Reply:
    """What anybody gets of this version: the first success, if there is one."""
    url = spell_url(get_unsigned_client(is_public=is_public), key)
    for headers in _DISGUISES:
        reply = send("GET", f"{url}?{urlencode({'versionId': version})}", headers=headers)
        if reply.is_success:
            break
    return reply


@contextmanager
def _put_probe() -> Iterator[tuple[str, str]]:
    """Its key, and the id of its version."""
    key = f"attachments/{PROBE_MARK}{token_hex(16)}"
    with translate_errors():
        answer = get_client().put_object(Bucket=get_bucket(), Key=key, Body=b"probe")
    try:
        yield key, answer.get("VersionId", "null")
    finally:
        with suppress(StorageUnavailable):
            delete_objects([key])


def opens_pending(statement: Rule) -> bool:
    """Whether this policy statement lets anybody read what clients write."""
    resource = f"arn:aws:s3:::{get_bucket()}/pending/x"
    return (
        statement.get("Effect") == "Allow"
        and normalise(statement.get("Principal")) == "*"
        and _matches("s3:GetObject", statement.get("Action"))
        and _matches(resource, statement.get("Resource"))
    )


def _matches(value: str, patterns: Any) -> bool:
    return any(fnmatchcase(value, str(pattern)) for pattern in as_list(patterns))
