"""Django's tasks framework: Django's own from 6.0 on, and its backport before."""

from importlib.util import find_spec

if find_spec("django.tasks"):
    from django.tasks import Task, TaskResult, task, task_backends
    from django.tasks.backends.immediate import ImmediateBackend
    from django.tasks.exceptions import TaskResultDoesNotExist, TaskResultMismatch
    from django.tasks.signals import task_enqueued, task_started
else:
    from django_tasks import (  # type: ignore[assignment,no-redef]
        TaskResult,
        task,
        task_backends,
    )
    from django_tasks.backends.immediate import ImmediateBackend  # type: ignore[assignment]
    from django_tasks.base import Task  # type: ignore[assignment]
    from django_tasks.exceptions import (  # type: ignore[assignment]
        TaskResultDoesNotExist,
        TaskResultMismatch,
    )
    from django_tasks.signals import task_enqueued, task_started

__all__ = [
    "ImmediateBackend",
    "TaskResult",
    "find_result",
    "task",
    "task_enqueued",
    "task_started",
    "works_in_requests",
]


def works_in_requests(task: Task | None = None) -> bool:
    """Whether the backend of this task, or of all tasks, has no workers: who asks has to wait."""
    backend = task.get_backend() if task else task_backends["default"]
    return isinstance(backend, ImmediateBackend)


def find_result(task: Task, result_id: str) -> TaskResult | None:
    """The result of this task with this id; None if there is none, or the backend keeps none."""
    if not task.get_backend().supports_get_result:
        return None
    try:
        return task.get_result(result_id)
    except (TaskResultDoesNotExist, TaskResultMismatch):
        return None
