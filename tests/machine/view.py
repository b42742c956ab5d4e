"""All rows, notes and objects as they are at a moment."""

from typing import Any

from attachments.models import Attachment, ObjectDeletion
from tests.machine.clock import Clock


class View:
    def __init__(self, bucket: Any) -> None:
        self.rows = {str(row.pk): row for row in Attachment.objects.all()}
        notes = list(ObjectDeletion.objects.values_list("key", "upload_id"))
        self.notes = {key for key, _ in notes}
        self.objects = {item.key: item.e_tag.strip('"') for item in bucket.objects.all()}
        self.begun = {item["UploadId"] for item in list_begun(bucket)}
        copied = {row.copy_upload_id for row in self.rows.values()}
        self.named_uploads = self.begun & (copied | {upload_id for _, upload_id in notes})

    def is_named(self, key: str) -> bool:
        names = ("key", "copy_key", "thumbnail_key")
        row = self.rows.get(key.split("/")[1])
        return key in self.notes or bool(row and key in [getattr(row, name) for name in names])


def look(bucket: Any, clock: Clock) -> View:
    """What is there grows older from now on."""
    view = View(bucket)
    for identity in (*view.objects.items(), *((upload_id,) for upload_id in view.begun)):
        clock.see(*identity)
    return view


def list_begun(bucket: Any) -> list[dict[str, Any]]:
    """Multipart uploads that were begun and not ended."""
    found = bucket.meta.client.list_multipart_uploads(Bucket=bucket.name)
    return found.get("Uploads", [])
