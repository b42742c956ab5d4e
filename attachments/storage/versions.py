"""Whether the bucket keeps what was replaced or deleted."""

from functools import cached_property

from django.utils.translation import gettext as _

from attachments.storage.parts import SetupStep, State
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
        steps = []
        if self.reading.state == "refused":
            steps.append(_warn("refused", self.reading.words))
        if read_object_lock().state == "found":
            text = _(
                "object lock is on: the store keeps what is deleted until its retention is over. "
                "Use a bucket without it."
            )
            steps.append(_warn("unchanged", text))
        return steps


def _warn(state: State, text: str) -> SetupStep:
    return SetupStep(part="versions", state=state, detail=text, level="warning")
