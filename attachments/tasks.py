"""Tasks for a background worker, in Django's own tasks framework."""

from dataclasses import asdict
from uuid import UUID

from django_tasks import task

from attachments import services


@task()
def purge_orphans() -> dict[str, int]:
    """Do what ``manage.py purge_orphans`` does; give its report."""
    return asdict(services.purge_attachments())


@task()
def process_attachment(attachment_id: str) -> None:
    """What is left to do for one attachment. Any number of them, at any time, do no harm."""
    services.process_attachment(attachment_id=UUID(attachment_id))


@task()
def carry_out_deletions() -> int:
    """Delete the objects that wait to be deleted, too many for a request; give how many went."""
    return services.carry_out_deletions()
