"""What taking over did, or would do, and why it left what it left."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _

MAX_EXAMPLES = 10


class Reason(TextChoices):
    """Why a row is left alone. Those that the API has too have its codes."""

    INVALID_ID = "invalid_id", _("the id is no UUID, or that of another row")
    UNKNOWN_USER = "unknown_user", _("its user does not exist here")
    UNKNOWN_MESSAGE = "unknown_message", _("its message does not exist here")
    INVALID_FILENAME = "invalid_filename", _("the filename cannot be used")
    CONTENT_TYPE_NOT_ALLOWED = "content_type_not_allowed", _("the content type is not allowed")
    INVALID_METADATA = "invalid_metadata", _("the metadata cannot be used")
    OBJECT_MISSING = "object_missing", _("its object is missing")
    SIZE_MISMATCH = "size_mismatch", _("the object has another size")
    CONTENT_MISMATCH = "content_mismatch", _("the object is of another type")
    METADATA_NOT_REMOVABLE = (
        "metadata_not_removable",
        _("metadata cannot be removed from the picture"),
    )
    NOT_TAKEN_OVER = "not_taken_over", _("it was not taken over, or was deleted here since")
    CHANGED_MEANWHILE = "changed_meanwhile", _("something changed meanwhile: run it again")


class LeftAlone(Exception):
    """The row is not taken over."""

    def __init__(self, reason: Reason) -> None:
        self.reason = reason
        super().__init__(reason)


@dataclass(kw_only=True)
class AdoptionReport:
    rows: int = 0
    """In the table that is taken over."""
    adopted: int = 0
    """By this run; in a dry run, those that it would take over."""
    adopted_bytes: int = 0
    unlinked: int = 0
    """Of the adopted ones, those that hang on no message."""
    known: int = 0
    """Adopted before."""
    left: dict[str, int] = field(default_factory=dict)
    """By reason."""
    examples: dict[str, list[str]] = field(default_factory=dict)
    """The first ids of the rows that were left, by reason."""
    strays: int = 0
    """Objects that no row names."""
    first_strays: list[str] = field(default_factory=list)
    originals: int = 0
    """Objects that were copied, and that nothing here needs any more."""
    originals_bytes: int = 0
    deleted: int = 0
    """Of the originals."""

    @property
    def is_clean(self) -> bool:
        return not self.left and not self.strays

    def leave(self, reason: Reason, row_id: str) -> None:
        self.left[reason.value] = self.left.get(reason.value, 0) + 1
        examples = self.examples.setdefault(reason.value, [])
        if len(examples) < MAX_EXAMPLES:
            examples.append(row_id)

    def add_strays(self, keys: Iterable[str]) -> None:
        for key in keys:
            self.strays += 1
            if len(self.first_strays) < MAX_EXAMPLES:
                self.first_strays.append(key)
