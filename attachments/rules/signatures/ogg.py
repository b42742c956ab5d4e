"""Ogg (RFC 3533): the first page of each stream has its codec's header."""

from collections.abc import Iterator

_AUDIO = (b"\x01vorbis", b"OpusHead", b"\x7fFLAC", b"Speex   ")
_VIDEO = (b"\x80theora", b"BBCD\0", b"\x01video\0\0\0", b"OVP80")


def is_ogg_audio(head: bytes) -> bool:
    packets = list(_read_first_packets(head))
    has_audio = any(packet.startswith(_AUDIO) for packet in packets)
    return has_audio and not any(packet.startswith(_VIDEO) for packet in packets)


def is_ogg_video(head: bytes) -> bool:
    return any(packet.startswith(_VIDEO) for packet in _read_first_packets(head))


def is_opus(head: bytes) -> bool:
    return is_ogg_audio(head) and any(
        packet.startswith(b"OpusHead") for packet in _read_first_packets(head)
    )


def _read_first_packets(head: bytes) -> Iterator[bytes]:
    """The first packet of each stream; these pages come before all others."""
    at = 0
    while head[at : at + 5] == b"OggS\x00" and len(head) > at + 27 and head[at + 5] & 2:
        segments = head[at + 27 : at + 27 + head[at + 26]]
        start = at + 27 + head[at + 26]
        at = start + sum(segments)
        yield head[start:at]
