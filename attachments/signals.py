"""What happens after a deletion or a confirm: objects are deleted, and workers are told of work."""

from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models.signals import post_delete
from django.dispatch import receiver
from django_tasks.backends.immediate import ImmediateBackend

from attachments import events, tasks
from attachments.models import Attachment
from attachments.services import OwnNotes


@receiver(post_delete, sender=Attachment)
def delete_objects_after_commit(instance: Attachment, using: str, **kwargs: Any) -> None:
    """Delete the objects of the rows of this transaction once, after its commit."""
    keys = [instance.key, instance.pending_key]
    if own := OwnNotes.find(using):
        own.add(keys)
    else:
        transaction.on_commit(OwnNotes(keys), using=using)


@receiver(events.work_left)
def nudge_worker(attachment_id: UUID, **kwargs: Any) -> None:
    """Tell a worker, if there is one: not a backend that would do the work in this request."""
    if not isinstance(tasks.process_attachment.get_backend(), ImmediateBackend):
        tasks.process_attachment.enqueue(str(attachment_id))


@receiver(events.deletions_left)
def nudge_deletions(**kwargs: Any) -> None:
    """The same for objects that wait to be deleted."""
    if not isinstance(tasks.carry_out_deletions.get_backend(), ImmediateBackend):
        tasks.carry_out_deletions.enqueue()
