"""Whether the bucket keeps what was replaced or deleted."""

from functools import cached_property

from django.utils.translation import gettext as _

from attachments.storage.parts import SetupStep
from attachments.storage.state import Reading, read_object_lock, read_versioning


class Versions:
    """Asked once, when it is needed. Every member raises ``StorageUnavailable``."""

    @cached_property
    def reading(self) -> Reading:
        return read_versioning()

    @property
    def are_kept(self) -> bool:
        return self.reading.state == "found"

    def look(self) -> list[SetupStep]:
        """Warnings of what nobody can delete, or of what the store does not tell."""
        warnings = []
        if self.reading.state == "refused":
            warnings.append(self.reading.words)
        if read_object_lock().state == "found":
            warnings.append(
                _(
                    "object lock is on: the store keeps what is deleted until its retention is "
                    "over. Use a bucket without it."
                )
            )
        return [
            SetupStep(part="versions", state="unchanged", detail=text, level="warning")
            for text in warnings
        ]
