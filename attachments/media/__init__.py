"""What is in a file: measured, and made small, by a process of its own that may die of it."""

from attachments.decoding.kinds import can_strip, is_inspectable, is_picture
from attachments.media.inspection import Inspection, inspect_file, strip_file
from attachments.media.sandbox import MAX_FILE_BYTES, translate_host_errors

__all__ = [
    "MAX_FILE_BYTES",
    "Inspection",
    "can_strip",
    "inspect_file",
    "is_inspectable",
    "is_picture",
    "strip_file",
    "translate_host_errors",
]
