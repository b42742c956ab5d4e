"""Work for a background worker, by Django's own tasks framework."""

from dataclasses import asdict

from django_tasks import task

from attachments import services


@task()
def purge_orphans() -> dict[str, int]:
    """What ``manage.py purge_orphans`` does; gives its report."""
    return asdict(services.purge_attachments())
