from importlib.util import find_spec

from django.apps import AppConfig
from django.core import checks
from django.db.models.signals import post_migrate, pre_migrate
from django.utils.translation import gettext_lazy as _


class AttachmentsConfig(AppConfig):
    name = "attachments"
    default_auto_field = "django.db.models.BigAutoField"
    verbose_name = _("Attachments")

    def ready(self) -> None:
        from attachments import checks as ours
        from attachments import (
            event_log,
            signals,  # noqa: F401 (connects the receivers)
        )
        from attachments.name_clashes import check_names, stop_at_clashes
        from attachments.triggers import ensure_triggers

        event_log.listen()
        if find_spec("prometheus_client"):
            from attachments import metrics

            metrics.listen()
        pre_migrate.connect(stop_at_clashes, sender=self)
        post_migrate.connect(ensure_triggers, sender=self)
        for check in (ours.check_settings, ours.check_storage, ours.check_time_zones):
            checks.register(check)
        checks.register(ours.check_tasks)
        checks.register(ours.check_rates)
        checks.register(ours.check_isolation)
        checks.register(ours.check_access_keys, deploy=True)
        checks.register(check_names, checks.Tags.database)
