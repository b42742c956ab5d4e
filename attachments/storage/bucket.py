"""The bucket itself: that it exists, and that policy, CORS and lifecycle are what we ask.

Each of the three is a list of rules. Ours are recognised by their ids; whatever else a bucket
holds is written back as it was found. The admin key sets the bucket up. The main key is enough to
see that it is there.
"""

import json
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from math import ceil
from typing import TYPE_CHECKING, Any, Literal

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from attachments.conf import conf
from attachments.storage.client import get_admin, get_bucket, get_client, translate_errors

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# A purge that does not run for so long still finds its objects before the bucket expires them.
RETENTION_MARGIN_DAYS = 30
QUARANTINE_DAYS = 30  # long enough to mend a scanner, short enough not to keep viruses for ever

Rule = dict[str, Any]
State = Literal["unchanged", "created", "changed", "impossible"]


@dataclass(frozen=True, kw_only=True)
class SetupStep:
    """One part of the bucket: what was found, or what was done about it."""

    part: str
    state: State
    detail: str = ""


class MissingBucket(Exception):
    """The store answered that there is no such bucket."""


class MissingRules(Exception):
    """The bucket has no rules of this part."""


class NotSupported(Exception):
    """This store does not have this part."""


_known_buckets: set[tuple[str, str]] = set()


def ensure_bucket() -> None:
    """Make the bucket on first use. No call to the store once this process has seen it."""
    bucket = (get_client().meta.endpoint_url, get_bucket())
    if bucket not in _known_buckets:
        ping_bucket()
        _known_buckets.add(bucket)


def ping_bucket() -> None:
    """Ask the store for the bucket, and make it if it is missing."""
    if not has_bucket():
        setup_bucket()


def forget_bucket() -> None:
    """Let the next use look again."""
    _known_buckets.clear()


def setup_bucket() -> list[SetupStep]:
    """Bring the bucket to what the settings say. Safe to repeat; raises ``StorageUnavailable``."""
    return [_create_bucket(), *(part.bring() for part in (Policy(), Cors(), Lifecycle()))]


def has_bucket() -> bool:
    """Whether the bucket is there; makes nothing."""
    return _has_bucket(get_client())


def _has_bucket(client: "S3Client") -> bool:
    try:
        with translate_errors({"404": MissingBucket, "NoSuchBucket": MissingBucket}):
            client.head_bucket(Bucket=get_bucket())
    except MissingBucket:
        return False
    return True


def _create_bucket() -> SetupStep:
    client = get_admin()
    if _has_bucket(client):
        return SetupStep(part="bucket", state="unchanged", detail=get_bucket())
    options: Any = {}
    if client.meta.region_name != "us-east-1":  # the one region that CreateBucket must not name
        options["CreateBucketConfiguration"] = {"LocationConstraint": client.meta.region_name}
    # Another process may be faster.
    with translate_errors(), suppress(client.exceptions.BucketAlreadyOwnedByYou):
        client.create_bucket(Bucket=get_bucket(), **options)
    return SetupStep(part="bucket", state="created", detail=get_bucket())


class BucketPart:
    """A list of rules in the bucket, some of them ours."""

    name: str
    id_field = "ID"
    ids: frozenset[str]
    missing_code: str

    @property
    def wanted(self) -> list[Rule]:
        """Our rules, as the settings want them."""
        raise NotImplementedError

    def read(self) -> list[Rule]:
        raise NotImplementedError

    def write(self, rules: list[Rule]) -> None:
        raise NotImplementedError

    def clear(self) -> None:
        raise NotImplementedError

    def describe(self, others: list[Rule]) -> str:
        raise NotImplementedError

    def bring(self) -> SetupStep:
        """Make our rules what is wanted, and look whether the store took them."""
        wanted = self.wanted
        try:
            ours, others = self._load()
            state: State = "unchanged"
            if _normalise(ours) != _normalise(wanted):
                state = "changed" if ours else "created"
                with translate_errors({"NotImplemented": NotSupported}):
                    self.write(others + wanted) if others or wanted else self.clear()
                if _normalise(self._load()[0]) != _normalise(wanted):
                    raise NotSupported
        except NotSupported:
            return SetupStep(part=self.name, state="impossible", detail=self.explain_impossible())
        return SetupStep(part=self.name, state=state, detail=self.describe(others))

    def explain_impossible(self) -> str:
        return _("the store does not take these rules")

    def _load(self) -> tuple[list[Rule], list[Rule]]:
        try:
            with translate_errors(
                {self.missing_code: MissingRules, "NotImplemented": NotSupported}
            ):
                rules = self.read()
        except MissingRules:
            rules = []
        ours = [rule for rule in rules if rule.get(self.id_field) in self.ids]
        return ours, [rule for rule in rules if rule not in ours]


class Policy(BucketPart):
    """Anybody may read ``attachments/*``, and nothing else of ours."""

    name = "policy"
    id_field = "Sid"
    ids = frozenset({"NodusAttachmentsPublicRead"})
    missing_code = "NoSuchBucketPolicy"

    @property
    def wanted(self) -> list[Rule]:
        if not conf.public_read:
            return []
        (sid,) = self.ids
        return [
            {
                "Sid": sid,
                "Effect": "Allow",
                "Principal": {"AWS": ["*"]},
                "Action": ["s3:GetObject"],
                "Resource": [f"arn:aws:s3:::{get_bucket()}/attachments/*"],
            }
        ]

    @cached_property
    def _document(self) -> Rule:
        return {"Version": "2012-10-17"}

    def read(self) -> list[Rule]:
        self._document.update(
            json.loads(get_admin().get_bucket_policy(Bucket=get_bucket())["Policy"])
        )
        return _as_list(self._document["Statement"])

    def write(self, rules: list[Rule]) -> None:
        policy = json.dumps({**self._document, "Statement": rules})
        get_admin().put_bucket_policy(Bucket=get_bucket(), Policy=policy)

    def clear(self) -> None:
        get_admin().delete_bucket_policy(Bucket=get_bucket())

    def describe(self, others: list[Rule]) -> str:
        if any(_opens_pending(statement) for statement in others):
            return _("WARNING: a statement that is not ours lets anybody read pending/")
        if conf.public_read:
            return _("anybody may read attachments/*")
        return _("nothing is public")


class Cors(BucketPart):
    """Browsers of our origins may post and read."""

    name = "CORS"
    ids = frozenset({"nodus-attachments"})
    missing_code = "NoSuchCORSConfiguration"

    @property
    def wanted(self) -> list[Rule]:
        if not conf.cors_allowed_origins:
            return []
        (rule_id,) = self.ids
        return [
            {
                "ID": rule_id,
                "AllowedOrigins": list(conf.cors_allowed_origins),
                "AllowedMethods": ["GET", "HEAD", "POST"],
                "AllowedHeaders": ["*"],
                "ExposeHeaders": ["ETag", "Location"],
                "MaxAgeSeconds": 3600,
            }
        ]

    def read(self) -> list[Rule]:
        rules: list[Any] = get_admin().get_bucket_cors(Bucket=get_bucket())["CORSRules"]
        return rules

    def write(self, rules: list[Rule]) -> None:
        configuration: Any = {"CORSRules": rules}
        get_admin().put_bucket_cors(Bucket=get_bucket(), CORSConfiguration=configuration)

    def clear(self) -> None:
        get_admin().delete_bucket_cors(Bucket=get_bucket())

    def describe(self, others: list[Rule]) -> str:
        return ", ".join(conf.cors_allowed_origins) or _(
            "no origin (CORS_ALLOWED_ORIGINS is empty)"
        )

    def explain_impossible(self) -> str:
        origins = ",".join(conf.cors_allowed_origins)
        return _("no CORS per bucket here; on MinIO set MINIO_API_CORS_ALLOW_ORIGIN=%s") % origins


class Lifecycle(BucketPart):
    """What was never confirmed or never scanned expires, and what is beyond retention."""

    name = "lifecycle"
    missing_code = "NoSuchLifecycleConfiguration"
    ids = frozenset(
        f"nodus-attachments-{prefix}" for prefix in ("pending", "quarantine", "attachments")
    )

    @property
    def days(self) -> dict[str, int]:
        """Days until objects with this prefix expire."""
        # One more than the form lives: a post may begin in its last second.
        pending_days = 1 + ceil(conf.upload_expires_in.total_seconds() / 86400)
        days = {"pending": pending_days, "quarantine": QUARANTINE_DAYS}
        if conf.retention is not None:
            days["attachments"] = conf.retention.days + RETENTION_MARGIN_DAYS
        return days

    @property
    def wanted(self) -> list[Rule]:
        return [
            {
                "ID": f"nodus-attachments-{prefix}",
                "Status": "Enabled",
                "Filter": {"Prefix": f"{prefix}/"},
                "Expiration": {"Days": days},
            }
            for prefix, days in self.days.items()
        ]

    def read(self) -> list[Rule]:
        answer = get_admin().get_bucket_lifecycle_configuration(Bucket=get_bucket())
        rules: list[Any] = answer["Rules"]
        return rules

    def write(self, rules: list[Rule]) -> None:
        configuration: Any = {"Rules": rules}
        get_admin().put_bucket_lifecycle_configuration(
            Bucket=get_bucket(), LifecycleConfiguration=configuration
        )

    def describe(self, others: list[Rule]) -> str:
        return ", ".join(
            ngettext(
                "%(prefix)s/ expires after %(days)s day",
                "%(prefix)s/ expires after %(days)s days",
                days,
            )
            % {"prefix": prefix, "days": days}
            for prefix, days in self.days.items()
        )


def _opens_pending(statement: Rule) -> bool:
    """Whether this policy statement lets anybody read what clients write."""
    resource = f"arn:aws:s3:::{get_bucket()}/pending/x"
    return (
        statement.get("Effect") == "Allow"
        and _normalise(statement.get("Principal")) == "*"
        and any(fnmatchcase("s3:GetObject", item) for item in _as_list(statement.get("Action")))
        and any(fnmatchcase(resource, item) for item in _as_list(statement.get("Resource")))
    )


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _normalise(value: Any) -> Any:
    """Stores spell one value as ``"x"`` or ``["x"]``, and ``{"AWS": "*"}`` as ``"*"``."""
    if isinstance(value, list):
        items = sorted((_normalise(item) for item in value), key=repr)
        return items[0] if len(items) == 1 else items
    if isinstance(value, dict):
        simple = {key: _normalise(item) for key, item in sorted(value.items())}
        return simple["AWS"] if simple.keys() == {"AWS"} else simple
    return value
