"""What was never confirmed or never scanned expires, and what is beyond retention."""

from math import ceil
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from attachments.conf import conf
from attachments.storage.client import get_admin, get_bucket
from attachments.storage.parts import BucketPart, Level, SetupStep, State
from attachments.storage.policies import SERVED_PREFIXES
from attachments.storage.state import Reading, Rule, read_lifecycle
from attachments.storage.versions import Versions

# A purge that does not run for so long still finds its objects before the bucket expires them.
RETENTION_MARGIN_DAYS = 30
QUARANTINE_DAYS = 30  # long enough to mend a scanner, short enough not to keep viruses for ever
NONCURRENT_DAYS = 1  # the least that S3 takes: what is deleted should be gone
_PREFIXES = ("pending", "quarantine", *SERVED_PREFIXES)


class Lifecycle(BucketPart):
    """The lifecycle rules of our prefixes."""

    name = "lifecycle"
    ids = frozenset(f"nodus-attachments-{prefix}" for prefix in _PREFIXES)

    def __init__(self, versions: Versions) -> None:
        self._versions = versions

    @property
    def days(self) -> dict[str, int]:
        """Days until objects with this prefix expire."""
        # One more than the form lives: a post may begin in its last second.
        pending_days = 1 + ceil(conf.upload_expires_in.total_seconds() / 86400)
        days = {"pending": pending_days, "quarantine": QUARANTINE_DAYS}
        if conf.retention is not None:
            kept_days = conf.retention.days + RETENTION_MARGIN_DAYS
            days |= dict.fromkeys(SERVED_PREFIXES, kept_days)
        return days

    def get_variants(self) -> list[list[Rule]]:
        plain = [
            _make_rule(prefix, Expiration={"Days": days}) for prefix, days in self.days.items()
        ]
        return [self._expire_versions(), plain] if self._versions.are_kept else [plain]

    def _expire_versions(self) -> list[Rule]:
        """Old versions go too, and the markers that stand for deleted objects."""
        # S3 takes days or this. Days remove markers as well.
        expired: Rule = {"ExpiredObjectDeleteMarker": True}
        return [
            _make_rule(
                prefix,
                Expiration={"Days": self.days[prefix]} if prefix in self.days else expired,
                NoncurrentVersionExpiration={"NoncurrentDays": NONCURRENT_DAYS},
            )
            for prefix in _PREFIXES
        ]

    def read(self) -> Reading:
        return read_lifecycle()

    def write(self, rules: list[Rule]) -> None:
        configuration: Any = {"Rules": rules}
        get_admin().put_bucket_lifecycle_configuration(
            Bucket=get_bucket(), LifecycleConfiguration=configuration
        )

    def describe(self, others: list[Rule]) -> str:
        texts = [
            ngettext(
                "%(prefix)s/ expires after %(days)s day",
                "%(prefix)s/ expires after %(days)s days",
                days,
            )
            % {"prefix": prefix, "days": days}
            for prefix, days in self.days.items()
        ]
        if self._versions.are_kept:
            texts.append(_("old versions a day after they were replaced or deleted"))
        return ", ".join(texts)

    def warn(self, others: list[Rule], *, is_less: bool) -> str:
        return _explain_versions() if is_less else ""

    def settle(self, state: State, words: str) -> SetupStep:
        """``purge_orphans`` removes the same, so that a store without lifecycle will do."""
        level: Level = "warning" if state == "impossible" else "error"
        texts = [words, _("Without these rules purge_orphans alone removes what is over.")]
        if self._versions.are_kept:
            texts.append(_explain_versions())
        return SetupStep(part=self.name, state=state, detail=" ".join(texts), level=level)


def _explain_versions() -> str:
    return _(
        "The bucket keeps every version, and the store takes no rule that removes old ones: what "
        "is deleted stays. Use a bucket without versions."
    )


def _make_rule(prefix: str, **actions: Rule) -> Rule:
    return {
        "ID": f"nodus-attachments-{prefix}",
        "Status": "Enabled",
        "Filter": {"Prefix": f"{prefix}/"},
        **actions,
    }
