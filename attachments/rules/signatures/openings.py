"""What the first bytes of other formats are, for formats that may begin later in the file."""

import re

_MAGICS = (
    rb"(?:\xef\xbb\xbf|\s)*<[!?/a-zA-Z]",  # HTML, SVG, PHP
    rb"#!",
    rb"MZ",
    rb"\x7fELF",
    rb"\xca\xfe\xba\xbe|[\xcf\xce]\xfa\xed\xfe",  # Java, Mach-O
    rb"PK[\x03\x05\x07]|\x1f\x8b\x08|Rar!|7z\xbc\xaf",
    rb"\xd0\xcf\x11\xe0",
    # The first zeros of an MP4's size may have been skipped.
    rb"GIF8|\x89PNG|\xff\xd8\xff|RIFF|OggS|fLaC|\x1a\x45\xdf\xa3|.{1,4}ftyp|%PDF-",
)
_OPENING = re.compile(b"|".join(_MAGICS), re.DOTALL)


def opens_as_another(head: bytes) -> bool:
    """Whether a program that looks at byte 0 would take this for a format of its own.

    PDF and MP3 may begin behind other bytes. A file that is also a web page, an archive or a
    program is neither.
    """
    return bool(_OPENING.match(head))
