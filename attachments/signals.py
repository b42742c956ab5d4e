"""What happens after a deletion or a confirm: objects are deleted, and workers are told of work.

What workers are asked, and that they begin it, tells whether one lives. The signals that hosts
listen to come from ``attachments.events``: ``attachment_ready``, ``attachment_refused``,
``attachment_deleted``.
"""

from typing import Any
from uuid import UUID

from django.core.signals import request_finished, request_started
from django.db import transaction
from django.db.models.signals import post_delete
from django.dispatch import receiver

from attachments import events, tasks
from attachments.events import attachment_deleted, attachment_ready, attachment_refused
from attachments.models import Attachment
from attachments.services import OwnNotes, note_question, note_sign, tell_deleted
from attachments.storage import in_request
from attachments.task_framework import (
    TaskResult,
    task_enqueued,
    task_started,
    works_in_requests,
)

MAX_IN_TASK = 10  # a worker may take seconds for a picture: others share the rest

__all__ = ["attachment_deleted", "attachment_ready", "attachment_refused"]


@receiver(post_delete, sender=Attachment)
def delete_objects_after_commit(instance: Attachment, using: str, **kwargs: Any) -> None:
    """Delete the objects of the rows of this transaction once, after its commit."""
    tell_deleted(instance, using=using)
    own = OwnNotes.find(using)
    if own:
        own.add(instance.owned_keys)
    else:
        transaction.on_commit(own := OwnNotes(instance.owned_keys), using=using)
    own.count(instance.pk)


@receiver(events.published)
def tell_host_of_ready(attachment_id: UUID, user_id: Any, message_id: Any, **facts: Any) -> None:
    attachment_ready.send_robust(
        Attachment, attachment_id=attachment_id, user_id=user_id, message_id=message_id
    )


@receiver(events.refused)
def tell_host_of_refused(
    attachment_id: UUID, user_id: Any, message_id: Any, code: str, **facts: Any
) -> None:
    attachment_refused.send_robust(
        Attachment, attachment_id=attachment_id, user_id=user_id, message_id=message_id, code=code
    )


@receiver(request_started)
def enter_request(**kwargs: Any) -> None:
    in_request.set(True)


@receiver(request_finished)
def leave_request(**kwargs: Any) -> None:
    in_request.set(False)


@receiver(events.work_left)
def nudge_workers(attachment_ids: list[str], request_ids: list[str], **kwargs: Any) -> None:
    """Tell workers, if there are any: not a backend that would do the work in this request."""
    if works_in_requests(tasks.process_attachments):
        return
    for first in range(0, len(attachment_ids), MAX_IN_TASK):
        share = slice(first, first + MAX_IN_TASK)
        tasks.process_attachments.enqueue(attachment_ids[share], request_ids[share])


@receiver(events.deletions_left)
def nudge_deletions(**kwargs: Any) -> None:
    """The same for objects that wait to be deleted."""
    if not works_in_requests(tasks.carry_out_deletions):
        tasks.carry_out_deletions.enqueue()


@receiver(task_enqueued)
def note_task_enqueued(task_result: TaskResult, **kwargs: Any) -> None:
    """Expect a worker soon after the commit, if this is for one of ours and not for later.

    Before the commit no worker sees the task, and who wrote would let others wait for the row.
    """
    task = task_result.task
    if _is_ours(task_result) and task.run_after is None and not works_in_requests(task):
        transaction.on_commit(note_question, robust=True)


@receiver(task_started)
def note_task_started(task_result: TaskResult, **kwargs: Any) -> None:
    if _is_ours(task_result):
        note_sign()


def _is_ours(task_result: TaskResult) -> bool:
    return task_result.task.module_path.startswith(f"{tasks.__name__}.")
