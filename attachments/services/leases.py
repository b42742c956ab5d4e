"""How long an attempt owns its row, and when a row is free for the next one.

By the clock of the database, as those who compete may run on several machines.
"""

from datetime import timedelta
from typing import Any

from django.db.models import Q
from django.db.models.functions import Now

from attachments.models import Attachment

# A dead attempt keeps others waiting for so long; a living one renews its lease.
LEASE = timedelta(minutes=2)
# While a scanner thinks, nobody renews it.
SCAN_LEASE = timedelta(minutes=5)
# When a worker could not finish, others try after so long: at the second time, the second of these.
RETRY_AFTER = tuple(timedelta(minutes=minutes) for minutes in (1, 2, 4, 8, 15))

MAX_TRIES = 2**15 - 1  # that the column takes

NOW = Now()
LEASE_ENDS = {lease: Now() + lease for lease in (LEASE, SCAN_LEASE)}
_RETRY_TIMES = [Now() + delay for delay in RETRY_AFTER]

_IS_OVER = Q(lease_expires_at__lte=Now())
IS_FREE_FOR_REQUEST = Q(waiting_since=None) & (
    Q(status=Attachment.Status.PENDING) | Q(status=Attachment.Status.VERIFYING) & _IS_OVER
)
IS_FREE_FOR_WORKER = (
    Q(waiting_since__isnull=False)
    & Q(status__in=[Attachment.Status.VERIFYING, Attachment.Status.SCANNING])
    & _IS_OVER
)


def put_off(attachment: Attachment) -> dict[str, Any]:
    """The fields of a row that was tried once more: the next try comes later each time."""
    tries = attachment.tries
    delay = _RETRY_TIMES[min(tries, len(_RETRY_TIMES) - 1)]
    return {"lease_expires_at": delay, "tries": min(tries + 1, MAX_TRIES)}


DONE: dict[str, Any] = {"lease_expires_at": None, "tries": 0}
"""The fields of a row for which a step was done."""
