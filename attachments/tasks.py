"""Tasks for a background worker, in Django's own tasks framework."""

from dataclasses import asdict
from uuid import UUID

from attachments import services
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
def process_attachments(attachment_ids: list[str]) -> None:
    """What is left to do for these. Any number of such tasks, at any time, do no harm."""
    failures = []
    for attachment_id in attachment_ids:
        if error := services.try_to_process(UUID(attachment_id)):
            failures.append(error)
            if isinstance(error, OUTAGES):
                later = services.find_retry_time(UUID(attachment_id))
                process_attachments.using(run_after=later).enqueue([attachment_id])
    if failures:
        raise failures[0]


@task()
def carry_out_deletions() -> int:
    """Delete the objects that wait to be deleted, too many for a request; give how many went."""
    return services.carry_out_deletions()
