"""What each key may do, spelled for each store. Pure: no settings, no call to a store.

Every upload form shows the access key that signed it, and every private link too. Open-source MinIO
takes an unsigned PUT of whoever knows such a key (GHSA-9c4q-hq6p-c237), MinIO and Ceph take an
unsigned copy source on a presigned PUT. So the keys that clients see may do one thing each.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Role = Literal["main", "signer", "reader", "admin"]
Policy = dict[str, Any]

SERVED_PREFIXES = ("attachments", "thumbnails")
# How nodus names the keys: S3_ACCESS_KEY, S3_SIGNER_ACCESS_KEY ...
VARIABLES: dict[Role, str] = {
    "main": "S3",
    "signer": "S3_SIGNER",
    "reader": "S3_READER",
    "admin": "S3_ADMIN",
}

_OBJECT_ACTIONS = (
    "AbortMultipartUpload",
    "DeleteObject",
    "GetObject",
    "ListMultipartUploadParts",
    "PutObject",
)
_SETUP_ACTIONS = (
    "CreateBucket",
    "DeleteBucketPolicy",
    "GetBucketObjectLockConfiguration",
    "GetBucketPolicy",
    "GetBucketVersioning",
    "GetLifecycleConfiguration",
    "ListBucket",
    "PutBucketPolicy",
    "PutLifecycleConfiguration",
)
# MinIO refuses a policy with an action whose spelling it does not know.
_CORS_ACTIONS = ("DeleteBucketCors", "GetBucketCors", "PutBucketCors")
_AWS_CORS_ACTIONS = ("GetBucketCORS", "PutBucketCORS")


@dataclass(frozen=True, kw_only=True)
class Key:
    """An access key and its secret."""

    access_key: str
    secret_key: str


def build_policies(bucket: str) -> dict[str, Any]:
    """What the keys may do in each store.

    For SeaweedFS and versitygw, the names of the variables stand in place of the keys.
    """
    names = {
        role: Key(access_key=f"{prefix}_ACCESS_KEY", secret_key=f"{prefix}_SECRET_KEY")
        for role, prefix in VARIABLES.items()
    }
    return {
        "minio": build_minio_policies(bucket),
        "aws": build_aws_policies(bucket),
        "seaweedfs": build_seaweedfs_identities(bucket, keys=names),
        "versitygw": build_versitygw_policy(bucket, keys=names),
    }


def build_minio_policies(*buckets: str) -> dict[Role, Policy]:
    """The policy of each role's user, for ``mc admin policy create``."""
    return _build_policies(buckets, _CORS_ACTIONS)


def build_aws_policies(*buckets: str) -> dict[Role, Policy]:
    """The IAM policy of each role's user, or of the role that the servers have."""
    return _build_policies(buckets, _AWS_CORS_ACTIONS)


def build_seaweedfs_identities(*buckets: str, keys: Mapping[Role, Key]) -> dict[str, Any]:
    """The file for ``weed s3 -config``: an identity for each key, and their policies.

    A bucket may be a pattern in which ``?`` is any character.
    """
    policies = _build_policies(buckets, _CORS_ACTIONS)
    return {
        "identities": [
            {
                "name": role,
                "credentials": [{"accessKey": key.access_key, "secretKey": key.secret_key}],
                "actions": _build_post_actions(buckets) if role in ("main", "signer") else [],
                "policyNames": [role],
            }
            for role, key in keys.items()
        ],
        "policies": [{"name": role, "content": json.dumps(policies[role])} for role in keys],
    }


def build_versitygw_policy(bucket: str, *, keys: Mapping[Role, Key]) -> Policy:
    """The policy of the bucket, which alone says what each account may do there.

    Before versitygw takes a form, it asks whether the account may put to the bucket, without a key.
    The bucket's name is for that, and matches no object.
    """
    statements = []
    for role, policy in build_aws_policies(bucket).items():
        for statement in policy["Statement"]:
            if "s3:PutObject" in statement["Action"]:
                statement["Resource"].append(f"arn:aws:s3:::{bucket}")
            statements.append({**statement, "Principal": {"AWS": [keys[role].access_key]}})
    return _build_policy(*statements)


def _build_post_actions(buckets: tuple[str, ...]) -> list[str]:
    """What SeaweedFS wants beside the policy before it takes a form.

    It asks whether the identity may write to the bucket, without a key. A pattern matches just
    that; a name without a wildcard would match every object in the bucket too.
    """
    return [f"Write:{name if '?' in name else f'{name[:-1]}?'}" for name in buckets]


def _build_policies(buckets: tuple[str, ...], cors_actions: tuple[str, ...]) -> dict[Role, Policy]:
    objects = [f"{bucket}/*" for bucket in buckets]
    return {
        "main": _build_policy(
            _allow(("GetBucketLocation", "ListBucket", "ListBucketMultipartUploads"), buckets),
            _allow(_OBJECT_ACTIONS, objects),
        ),
        "signer": _build_policy(
            _allow(("PutObject",), [f"{bucket}/pending/*" for bucket in buckets])
        ),
        "reader": _build_policy(
            _allow(
                ("GetObject",),
                [f"{bucket}/{prefix}/*" for bucket in buckets for prefix in SERVED_PREFIXES],
            )
        ),
        "admin": _build_policy(_allow(sorted({*_SETUP_ACTIONS, *cors_actions}), buckets)),
    }


def _build_policy(*statements: dict[str, Any]) -> Policy:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def _allow(actions: Any, paths: Any) -> dict[str, Any]:
    return {
        "Effect": "Allow",
        "Action": [f"s3:{action}" for action in actions],
        "Resource": [f"arn:aws:s3:::{path}" for path in paths],
    }
