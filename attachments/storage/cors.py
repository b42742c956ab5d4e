"""CORS: browsers of our origins may post and read."""

from contextlib import suppress
from typing import Any

from django.utils.translation import gettext as _

from attachments.conf import conf
from attachments.errors import StorageUnavailable
from attachments.storage.client import get_admin, get_bucket, get_unsigned_client
from attachments.storage.objects import spell_url
from attachments.storage.parts import BucketPart, SetupStep, State
from attachments.storage.state import Reading, Rule, read_cors
from attachments.storage.wire import Reply, send


class Cors(BucketPart):
    """The CORS rules of the bucket."""

    name = "CORS"
    ids = frozenset({"nodus-attachments"})

    def get_variants(self) -> list[list[Rule]]:
        if not conf.cors_allowed_origins:
            return [[]]
        (rule_id,) = self.ids
        return [
            [
                {
                    "ID": rule_id,
                    "AllowedOrigins": list(conf.cors_allowed_origins),
                    "AllowedMethods": ["GET", "HEAD", "POST"],
                    "AllowedHeaders": ["*"],
                    "ExposeHeaders": ["ETag", "Location"],
                    "MaxAgeSeconds": 3600,
                }
            ]
        ]

    def read(self) -> Reading:
        return read_cors()

    def write(self, rules: list[Rule]) -> None:
        configuration: Any = {"CORSRules": rules}
        get_admin().put_bucket_cors(Bucket=get_bucket(), CORSConfiguration=configuration)

    def clear(self) -> None:
        get_admin().delete_bucket_cors(Bucket=get_bucket())

    def describe(self, others: list[Rule]) -> str:
        return ", ".join(conf.cors_allowed_origins) or _(
            "no origin (CORS_ALLOWED_ORIGINS is empty)"
        )

    def is_obeyed(self) -> bool:
        """SeaweedFS keeps rules, and its command line decides."""
        return not find_blocked_origins()

    def settle(self, state: State, words: str) -> SetupStep:
        """Ask as a browser does: MinIO has no CORS per bucket, and yet lets browsers in."""
        if blocked := find_blocked_origins():
            text = _(
                "the store lets no browser of %(origins)s in: %(words)s On MinIO set "
                "MINIO_API_CORS_ALLOW_ORIGIN=%(all)s, on SeaweedFS -s3.allowedOrigins=%(all)s."
            ) % {
                "origins": ", ".join(blocked),
                "words": words,
                "all": ",".join(conf.cors_allowed_origins),
            }
            return SetupStep(part=self.name, state=state, detail=text, level="error")
        if state == "impossible" or not conf.cors_allowed_origins:
            return SetupStep(part=self.name, state="unchanged", detail=self.describe([]))
        text = _("browsers of all origins are let in. %s") % words
        return SetupStep(part=self.name, state=state, detail=text, level="warning")


def find_blocked_origins() -> list[str]:
    """The origins of the settings whose browsers the store does not let post.

    A proxy at its public address may let them in too. Raises ``StorageUnavailable``.
    """
    origins = conf.cors_allowed_origins
    blocked = [name for name in origins if not lets_in(ask_preflight(name), origin=name)]
    if not conf.public_endpoint_url:
        return blocked
    with suppress(StorageUnavailable):  # Django need not reach it
        return [
            name
            for name in blocked
            if not lets_in(ask_preflight(name, is_public=True), origin=name)
        ]
    return blocked


def ask_preflight(origin: str, *, method: str = "POST", is_public: bool = False) -> Reply:
    """What a browser asks before it posts a form with progress; raises ``StorageUnavailable``.

    The store is asked as Django reaches it, or at its public address.
    """
    url = spell_url(get_unsigned_client(is_public=is_public), "").rstrip("/")
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "content-type",
    }
    return send("OPTIONS", url, headers=headers)


def lets_in(reply: Reply, *, origin: str) -> bool:
    """Whether a browser goes on after this answer to its preflight."""
    return reply.is_success and reply.headers.get("Access-Control-Allow-Origin") in ("*", origin)
