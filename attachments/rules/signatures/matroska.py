"""Matroska and WebM, its part for browsers: RFC 8794 (EBML) and RFC 9559."""

_EBML = b"\x1a\x45\xdf\xa3"
_DOC_TYPE = b"\x42\x82"
_TRACKS = b"\x16\x54\xae\x6b"
_VIDEO_TRACK = b"\x83\x81\x01"  # TrackType, a length of one byte, video


def is_webm(head: bytes) -> bool:
    return _read_doc_type(head) == b"webm"


def is_webm_audio(head: bytes) -> bool:
    """A WebM that shows no film in its first bytes."""
    return is_webm(head) and _VIDEO_TRACK not in _read_element(head, _TRACKS)


def is_matroska(head: bytes) -> bool:
    return _read_doc_type(head) == b"matroska"


def _read_doc_type(head: bytes) -> bytes:
    """The DocType of the header. It may be padded with NULs: RFC 8794, section 13."""
    if not head.startswith(_EBML):
        return b""
    return _read_element(_read_element(head, _EBML), _DOC_TYPE).rstrip(b"\0")


def _read_element(data: bytes, element_id: bytes) -> bytes:
    """What the first element with this id holds, as far as it is here."""
    rest = data.partition(element_id)[2]
    if not rest:
        return b""
    # A length of n bytes has n-1 zero bits before its first one bit: RFC 8794, section 4.
    size_bytes = 9 - rest[0].bit_length()
    size = int.from_bytes(rest[:size_bytes], "big") & (1 << 7 * size_bytes) - 1
    return rest[size_bytes : size_bytes + size]
