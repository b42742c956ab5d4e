"""What follows of itself: objects are deleted after their rows, and workers are told of work."""

from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models.signals import post_delete
from django.dispatch import receiver
from django_tasks.backends.immediate import ImmediateBackend

from attachments import events, tasks
from attachments.models import Attachment
from attachments.services import carry_out_after_commit


@receiver(post_delete, sender=Attachment)
def delete_objects_after_commit(using: str, **kwargs: Any) -> None:
    """Carry out the notes once after the transaction, however many rows it deletes."""
    waiting = transaction.get_connection(using).run_on_commit
    if not any(function is carry_out_after_commit for _, function, *_ in waiting):
        transaction.on_commit(carry_out_after_commit, using=using)


@receiver(events.work_left)
def nudge_worker(attachment_id: UUID, **kwargs: Any) -> None:
    """Tell a worker, if there is one: not a backend that would do the work in this request."""
    if not isinstance(tasks.process_attachment.get_backend(), ImmediateBackend):
        tasks.process_attachment.enqueue(str(attachment_id))
