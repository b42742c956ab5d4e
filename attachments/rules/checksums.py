"""SHA-256 digests as S3 spells them: base64 of 32 bytes."""

import base64
import binascii
import hashlib

from attachments.errors import InvalidChecksum


def clean_checksum(value: str) -> str:
    """Give the canonical base64 of a SHA-256 digest, or raise ``InvalidChecksum``."""
    try:
        digest = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidChecksum(attr="checksum_sha256") from error
    if len(digest) != hashlib.sha256().digest_size:
        raise InvalidChecksum(attr="checksum_sha256")
    return spell_digest(digest)


def compute_checksum(content: bytes) -> str:
    return spell_digest(hashlib.sha256(content).digest())


def spell_digest(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def to_hex(checksum: str) -> str:
    """Spell the digest as ``sha256sum`` does."""
    return base64.b64decode(checksum).hex()


def to_base64(digest: str) -> str:
    return spell_digest(bytes.fromhex(digest))
