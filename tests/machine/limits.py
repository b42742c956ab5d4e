"""How often and how much: what was asked for and given, counted beside the app."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, F, Q, Sum
from django.db.models.functions import Coalesce
from django.utils import timezone

from attachments.conf import conf
from attachments.models import Attachment

Status = Attachment.Status
WINDOW_SECONDS = 60


@dataclass
class _Asked:
    moment: float
    is_let_in: bool | None = None
    """None if the server or the process failed, or nobody knows who asked: it may count, or not."""

    def tell(self, status: int) -> None:
        self.is_let_in = None if status == 401 or status >= 500 else status != 429


class Limits:
    def __init__(self) -> None:
        self._asked: dict[Any, list[_Asked]] = defaultdict(list)
        self.is_restored = False
        """A restore brings back what does not fit any more."""

    @contextmanager
    def watch(self, user_pk: Any, path: str) -> Iterator["_Asked"]:
        """A call of the API, whose answer is to be told to what this gives."""
        asked = _Asked(time.monotonic())
        if "/presigned" in path:
            self._asked[user_pk].append(asked)
        yield asked
        since = time.monotonic() - WINDOW_SECONDS
        recent = [one.is_let_in for one in self._asked[user_pk] if one.moment > since]
        most = int((conf.presign_rate or "").partition("/")[0])
        assert recent.count(True) <= most, "more forms were given than the rate allows"
        is_full = len(recent) - recent.count(False) >= most
        assert asked.is_let_in is not False or is_full, "a request was refused that fits the rate"

    def check_quotas(self) -> None:
        if self.is_restored:
            return
        works = Q(expires_at__gt=timezone.now())
        unconfirmed = works & (
            Q(status=Status.PENDING) | Q(status=Status.VERIFYING, waiting_since=None)
        )
        rows = Attachment.objects.order_by().filter(unconfirmed).values("user")
        for row in rows.annotate(uploads=Count("pk")):
            assert row["uploads"] <= (conf.max_unconfirmed or 0), "too many uploads are under way"
        kept = Q(status__in=[Status.READY, Status.SCANNING, Status.VERIFYING])
        begun = works & Q(status=Status.PENDING)
        allowed = Sum(Coalesce(F("size_bytes"), F("max_size_bytes")))
        rows = Attachment.objects.order_by().filter(kept | begun).values("user")
        for row in rows.annotate(taken_bytes=allowed):
            assert row["taken_bytes"] <= (conf.quota_bytes or 0), "a quota is exceeded"
