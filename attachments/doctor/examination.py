"""The objects of one examination. Their keys tell that they are nobody's files."""

from dataclasses import dataclass, field
from datetime import timedelta

from uuid_utils.compat import uuid7

from attachments import storage
from attachments.rules.keys import PROBE_MARK

PREFIXES = ("pending", "quarantine", "attachments", "thumbnails")
CONTENT_TYPE = "image/png"
# A picture of one pixel.
CONTENT = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c4944415408d763f8ffff3f"
    "0005fe02fea735812e0000000049454e44ae426082"
)
HEADERS = storage.ServedHeaders(
    content_type=CONTENT_TYPE, disposition="inline; filename=check.png", is_public=False
)
FORM_LIFETIME = timedelta(minutes=5)


@dataclass(frozen=True)
class Examination:
    """Names, signs and looks for the objects that the probes make."""

    id: str = field(default_factory=lambda: str(uuid7()))

    @property
    def original(self) -> str:
        """What a form brought, and what all probes of pending/ ask for."""
        return self.name_key("pending", "original")

    @property
    def copy(self) -> str:
        """What is served."""
        return self.name_key("attachments", "copy")

    @property
    def quarantined(self) -> str:
        return self.name_key("quarantine", "copy")

    def name_key(self, prefix: str, purpose: str) -> str:
        return f"{prefix}/{PROBE_MARK}{self.id}/{purpose}"

    def make_copy(self, prefix: str, purpose: str) -> str:
        """An object that a probe may lose; gives its key."""
        key = self.name_key(prefix, purpose)
        storage.copy_object(source=self.original, target=key, headers=HEADERS)
        return key

    def sign_form(
        self,
        purpose: str,
        *,
        checksum_sha256: str = "",
        expires_in: timedelta = FORM_LIFETIME,
    ) -> storage.SignedUpload:
        """A form for our picture and nothing else."""
        return storage.sign_upload(
            key=self.name_key("pending", purpose),
            content_type=CONTENT_TYPE,
            size_range=(len(CONTENT), len(CONTENT)),
            checksum_sha256=checksum_sha256,
            expires_in=expires_in,
        )


def has_object(key: str) -> bool:
    """Whether it is there, by the main key."""
    try:
        storage.inspect_object(key)
    except storage.ObjectNotFound:
        return False
    return True
