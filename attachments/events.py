"""What happens to attachments, told once by the services; others listen.

Each ``Event`` names one kind of thing. Services tell it, after the commit where there is one; the
log, the metrics and the signals of hosts listen. What a listener raises is logged, and stops
nothing. An event that nobody listens to costs next to nothing.

Hosts take the three signals from ``attachments.signals``. Each is sent once for each change, after
its commit, with ``attachment_id``, ``user_id`` and ``message_id`` (or None). A process that dies
between the commit and the call sends none: what must not be missed is looked up in the table.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from django.dispatch import Signal

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""The request that is the reason for what happens now; empty if there is none, or no id of it."""


@contextmanager
def acting_for(request: str) -> Iterator[None]:
    """What happens inside happens for this request."""
    token = request_id.set(request)
    try:
        yield
    finally:
        request_id.reset(token)


EVENTS: dict[str, "Event"] = {}
"""All events by name."""


class Event(Signal):
    """One kind of thing that happens, and the names of the facts that it is told with."""

    def __init__(self, name: str, *facts: str, level: int = logging.INFO) -> None:
        super().__init__(use_caching=True)
        self.name, self.facts, self.level = name, facts, level
        EVENTS[name] = self

    def tell(self, **facts: Any) -> None:
        """Say that it happened. No fact opens a file: no key, no token, no signature."""
        if self.receivers:
            self.send_robust(type(self), **facts)


# What clients do. Times are seconds, sizes are bytes.

presigned = Event(
    "presigned",
    *("attachment_id", "user_id", "content_type", "size_bytes", "filename", "is_replayed"),
)
"""A form was given; the size is the declared one, or None."""

batch_presigned = Event("batch_presigned", "attachment_ids", "user_id", "count", "replayed_count")
"""Forms were given to a batch: one line for all of them."""

presign_refused = Event("presign_refused", "user_id", "code")

confirmed = Event(
    "confirmed", "attachment_id", "user_id", "result", "content_type", "size_bytes", "seconds"
)
"""A confirm was answered; the result is the status of the attachment, or the code of an error."""

throttled = Event("throttled", "scope", "who", level=logging.WARNING)
"""A rate was passed, by this user or from this address."""

linked = Event("linked", "message_id", "user_id", "count")

# What becomes of files

published = Event(
    "published",
    *("attachment_id", "user_id", "message_id", "content_type", "size_bytes", "seconds"),
)
"""It is served from now on, so many seconds after its presign."""

refused = Event(
    "refused", "attachment_id", "user_id", "message_id", "code", "content_type", "size_bytes"
)
"""It was rejected or found infected, perhaps after it was ready."""

deleted = Event("deleted", "attachment_id", "count")
"""Rows are gone. The id is there if it was one alone."""

# What workers and commands do

processed = Event("processed", "attachment_id", "step", "seconds")
"""A worker did one step for it."""

scanned = Event("scanned", "attachment_id", "outcome", "reason", "scanner", "size_bytes", "seconds")
"""A scanner was asked; the outcome is ``unavailable``, for this reason, if it gave no verdict."""

lease_taken_over = Event("lease_taken_over", "attachment_id", level=logging.WARNING)
"""An attempt to publish it died, or is slower than its lease."""

objects_deleted = Event("objects_deleted", "count", "refused_count")

purged = Event(
    "purged", "expired", "orphans", "stale", "refused", "swept", "protected", "size_bytes"
)
"""A purge came to its end."""

job_ended = Event("job_ended", "job", "is_done", "seconds")
"""A periodic job ran; what was left undone is tried again."""

# The store

store_called = Event("store_called", "operation", "outcome", "seconds", level=logging.DEBUG)
"""A call ended: ``ok``, ``missing``, ``refused``, ``failed``, or ``unreachable``."""

store_failed = Event("store_failed", "reason", level=logging.WARNING)
"""A call is given up, with what the store said or what happened on the way to it."""

store_busy = Event("store_busy", level=logging.DEBUG)
"""A request was turned away, as too many others wait for the store already."""

# The signals of hosts, and hints to workers

attachment_ready = Signal()
"""It is served from now on."""

attachment_refused = Signal()
"""It was rejected or found infected, perhaps after it was ready; ``code`` is that of its error."""

attachment_deleted = Signal()
"""Its row is gone. Rows that raw SQL or the database itself deletes are not told."""

work_left = Signal()
"""Attachments wait for background work; ``attachment_ids`` are their ids, as text, and
``request_ids`` in the same order the requests that left it, as far as they are known.

Only a hint that makes it quick: each row says what there is to do, and
``services.process_waiting`` finds it without.
"""

deletions_left = Signal()
"""Objects wait to be deleted, more than a request may delete.

Only a hint, too: the next ``purge_orphans`` deletes them without.
"""
