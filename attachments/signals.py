"""Objects follow their rows."""

from typing import Any

from django.db import transaction
from django.db.models.signals import post_delete
from django.dispatch import receiver

from attachments.models import Attachment
from attachments.services import delete_objects


@receiver(post_delete, sender=Attachment)
def delete_objects_after_commit(instance: Attachment, using: str, **kwargs: Any) -> None:
    """However the row went: API, admin, cascade or queryset."""
    keys = {instance.pending_key, instance.published_key}
    transaction.on_commit(lambda: delete_objects(keys=keys), using=using)
