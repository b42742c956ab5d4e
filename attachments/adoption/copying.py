"""One object that is taken over: copied to a key of ours, and judged."""

from dataclasses import dataclass, field
from typing import Any

from django.db import connections
from django.utils import timezone

from attachments import storage
from attachments.adoption.report import Reason
from attachments.conf import conf
from attachments.errors import NotUploaded, RejectedUpload, UploadExpired, UploadInProgress
from attachments.models import Attachment, ObjectDeletion
from attachments.services.attempts import Attempt
from attachments.services.judging import judge_size, judge_type
from attachments.services.verify import verify_upload


@dataclass(kw_only=True)
class Adoption(Attempt):
    """An attempt to publish what has no row yet: nobody else has its key, and it has no lease."""

    reason: Reason | None = None
    """Why the row is left alone after all."""
    found: dict[str, Any] = field(default_factory=dict)
    """By field of the row."""

    @property
    def is_served(self) -> bool:
        """Whether a row names the copy, and nobody needs the original any more."""
        return self.reason is None and self.attachment.is_ready

    @classmethod
    def begin(cls, attachment: Attachment) -> "Adoption":
        key = attachment.make_quarantine_key() if conf.scanner else attachment.make_key()
        return cls(attachment=attachment, key=key, in_background=True)

    def renew(self) -> None:
        pass

    def check_is_held(self) -> None:
        pass

    def name_upload(self, upload_id: str) -> None:
        """Keep it on the note, for whoever has to abort what a killed run has begun."""
        ObjectDeletion.objects.filter(key=self.key).update(upload_id=upload_id)
        connections.close_all()  # of this thread, which asks for nothing more

    def copy(self) -> "Adoption":
        """Copy and judge. Raises ``StorageUnavailable``, ``DecodingUnavailable``."""
        try:
            self.found = verify_upload(self, in_request=False)
        except (NotUploaded, UploadExpired):
            self.reason = Reason.OBJECT_MISSING
        except UploadInProgress:
            self.reason = Reason.CHANGED_MEANWHILE
        except RejectedUpload as error:
            self.reason = Reason(error.code)
        return self

    def finish(self) -> Attachment:
        """The row that names the copy: it is served, or waits for the scanner."""
        attachment, now = self.attachment, timezone.now()
        fields: dict[str, Any] = {
            "status": Attachment.Status.READY,
            "confirmed_at": now,
            "is_inspected": not attachment.is_inspectable,
        }
        if conf.scanner:
            fields = {
                "status": Attachment.Status.SCANNING,
                "waiting_since": now,
                "lease_expires_at": now,
            }
        for name, value in {**self.found, **fields, "storage_key": self.key}.items():
            setattr(attachment, name, value)
        return attachment


def judge_original(attachment: Attachment) -> Reason | None:
    """What would be said of the copy, from a look at the object where it is."""
    try:
        facts = storage.inspect_object(attachment.key)
        judge_size(attachment, facts.size_bytes)
        judge_type(attachment, facts, key=attachment.key)
    except storage.ObjectNotFound:
        return Reason.OBJECT_MISSING
    except RejectedUpload as error:
        return Reason(error.code)
    return None
