"""Tasks for a background worker, in Django's own tasks framework."""

from collections.abc import Sequence
from dataclasses import asdict
from itertools import zip_longest
from uuid import UUID

from attachments import events, services
from attachments.errors import OUTAGES
from attachments.task_framework import task


@task()
def purge_orphans() -> dict[str, int]:
    """Do what ``manage.py purge_orphans`` does; give its report."""
    report = services.purge_attachments()
    services.refresh_usage()
    return asdict(report)


@task()
def refresh_usage() -> None:
    """Count the figures of the admin's usage page anew."""
    services.refresh_usage()


@task()
def process_attachments(attachment_ids: list[str], request_ids: Sequence[str] = ()) -> None:
    """What is left to do for these. Any number of such tasks, at any time, do no harm.

    ``request_ids`` are those of the requests that left it, in the same order.
    """
    failures = []
    for attachment_id, request_id in zip_longest(attachment_ids, request_ids, fillvalue=""):
        with events.acting_for(request_id):
            if error := services.try_to_process(UUID(attachment_id)):
                failures.append(error)
                if isinstance(error, OUTAGES):
                    _ask_again(attachment_id, request_id)
    if failures:
        raise failures[0]


def _ask_again(attachment_id: str, request_id: str) -> None:
    """When it is due, if the backend knows of times; else the schedule finds the row."""
    if process_attachments.get_backend().supports_defer:
        later = services.find_retry_time(UUID(attachment_id))
        process_attachments.using(run_after=later).enqueue([attachment_id], [request_id])


@task()
def carry_out_deletions() -> int:
    """Delete the objects that wait to be deleted, too many for a request; give how many went."""
    return services.carry_out_deletions()
