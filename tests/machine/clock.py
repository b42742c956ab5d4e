"""Time that goes by: for the rows, and for the store's objects as the app sees them."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps
from django.db import connection, models, transaction

from attachments import storage


class Clock:
    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        self._elapsed = timedelta()
        self._born: dict[Any, timedelta] = {}
        """How late it was when an object was first seen, by key and ETag."""

    def see(self, *identity: Any) -> None:
        """It grows older from now on."""
        self._born.setdefault(identity, self._elapsed)

    def wait(self, time: timedelta) -> None:
        self._elapsed += time
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL session_replication_role = replica")
            for model in apps.get_models():
                columns = [
                    f'"{item.column}" = "{item.column}" - %(time)s'
                    for item in model._meta.local_concrete_fields
                    if isinstance(item, models.DateTimeField)
                ]
                if columns and model._meta.app_label in ("attachments", "django_tasks_database"):
                    table = model._meta.db_table
                    cursor.execute(f'UPDATE "{table}" SET {", ".join(columns)}', {"time": time})

    def let_objects_age(self, patch: pytest.MonkeyPatch) -> None:
        """The store's clock cannot be set: let the app read older times there."""
        list_objects, list_copies = storage.list_objects, storage.list_copies

        def list_aged(prefix: str) -> Any:
            return (
                self._age(x, "modified_at", x.key, x.etag.strip('"')) for x in list_objects(prefix)
            )

        def list_begun(prefix: str) -> Any:
            return (self._age(x, "begun_at", x.upload_id) for x in list_copies(prefix))

        patch.setattr(storage, "list_objects", list_aged)
        patch.setattr(storage, "list_copies", list_begun)

    def _age(self, item: Any, moment: str, *identity: Any) -> Any:
        born = self._born.get(identity, self._elapsed)
        return replace(item, **{moment: getattr(item, moment) - (self._elapsed - born)})
