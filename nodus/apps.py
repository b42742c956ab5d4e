from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _
from django_tasks_db.apps import TasksAppConfig


class NodusConfig(AppConfig):
    """Before django-tasks-db, whose ``db_worker`` nodus replaces."""

    name = "nodus"


class BackgroundWorkConfig(TasksAppConfig):
    """django-tasks-db, under a name that staff understand."""

    verbose_name = _("Background work")  # type: ignore[assignment]
