"""Objects follow their rows: the database notes them (``triggers``), the commit carries it out."""

from typing import Any

from django.db import transaction
from django.db.models.signals import post_delete
from django.dispatch import receiver

from attachments.models import Attachment
from attachments.services import carry_out_after_commit


@receiver(post_delete, sender=Attachment)
def delete_objects_after_commit(using: str, **kwargs: Any) -> None:
    """Once a transaction, however many rows go: API, admin, cascade or queryset."""
    waiting = transaction.get_connection(using).run_on_commit
    if not any(function is carry_out_after_commit for _, function, *_ in waiting):
        transaction.on_commit(carry_out_after_commit, using=using)
