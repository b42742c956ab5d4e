"""Thumbnails are in no backup: a worker makes them again, in less time than they take to copy.

A restored row that had one names none, and has still to be looked into. What may be there in the
bucket from before is noted, so that it goes.
"""

from collections.abc import Iterable
from typing import Any

from attachments.backups.row_dump import ATTACHMENT
from attachments.models import Attachment
from attachments.services import note_deletions

Record = dict[str, Any]


def without_thumbnail(record: Record) -> Record:
    """The serialised row as it is compared and restored."""
    if record["model"] != ATTACHMENT or not record["fields"].get("thumbnail_key"):
        return record
    return {
        **record,
        "fields": {**record["fields"], "thumbnail_key": "", "is_inspected": False},
    }


def drop_thumbnails(
    given: Iterable[Record], *, new: Iterable[Record], overwritten: Iterable[Record]
) -> None:
    """Note the thumbnails that rows had, those in the snapshot and those that are overwritten."""
    new_ids = {record["pk"] for record in new if record["model"] == ATTACHMENT}
    overwritten_ids = [record["pk"] for record in overwritten if record["model"] == ATTACHMENT]
    keys = {
        key
        for record in given
        if record["pk"] in new_ids and (key := record["fields"].get("thumbnail_key"))
    }
    if overwritten_ids:
        rows = Attachment.objects.with_thumbnail().filter(pk__in=overwritten_ids)
        keys.update(rows.values_list("thumbnail_key", flat=True))
    note_deletions(sorted(keys))
