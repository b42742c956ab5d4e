"""MPEG audio, layers II and III: ISO/IEC 11172-3 and 13818-3; and FLAC and WAV.

Players find the first frame of MPEG audio wherever it is. Files begin with tags, with zeros, or
with the end of a frame that was cut.
"""

import re

from attachments.rules.signatures.openings import opens_as_another

# Kilobits per second by (is MPEG-1, layer).
_BIT_RATES = {
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_SAMPLE_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_SYNC = re.compile(rb"\xff[\xe0-\xff]")
_LONGEST_FRAME = 1729  # layer II, 384 kbit/s at 32 kHz, padded


def skip_tags(data: bytes) -> int:
    """How many bytes the tag or the zeros that begin here take."""
    if re.match(rb"ID3[\x02-\x04][^\xff].[\x00-\x7f]{4}", data, re.DOTALL):
        # A size of four seven-bit bytes, and perhaps a footer: https://id3.org/id3v2.4.0-structure
        size = sum(byte << shift for byte, shift in zip(data[6:10], (21, 14, 7, 0), strict=True))
        return 10 + size + (10 if data[3] == 4 and data[5] & 0x10 else 0)
    if data.startswith(b"APETAGEX"):
        # The size is without this header: https://wiki.hydrogenaud.io/?title=APE_Tags_Header
        return 32 + int.from_bytes(data[12:16], "little")
    return len(data) - len(data.lstrip(b"\0"))


def is_mpeg_audio(data: bytes) -> bool:
    """Two frames follow each other: the 11 bits of a sync word may be there by chance."""
    return not opens_as_another(data) and any(
        _is_followed_by_another(data[sync.start() :])
        for sync in _SYNC.finditer(data, 0, _LONGEST_FRAME)
    )


def is_flac(data: bytes) -> bool:
    # STREAMINFO comes first: RFC 9639, section 8.
    return len(data) >= 42 and bool(re.match(rb"fLaC[\x00\x80]\x00\x00\x22", data))


def is_wav(head: bytes) -> bool:
    return head.startswith((b"RIFF", b"RF64")) and head[8:12] == b"WAVE" and len(head) > 20


def _is_followed_by_another(data: bytes) -> bool:
    length = _measure_frame(data)
    if length is None or _measure_frame(data[length:]) is None:
        return False
    # Version, layer and sample rate hold for the whole stream.
    return data[1] & 0xFE == data[length + 1] & 0xFE and data[2] & 0x0C == data[length + 2] & 0x0C


def _measure_frame(data: bytes) -> int | None:
    """Give the length in bytes of the frame that starts here, or None if none does."""
    if len(data) < 4 or not _SYNC.match(data):
        return None
    version, layer = data[1] >> 3 & 3, 4 - (data[1] >> 1 & 3)
    bit_rate_index, sample_rate_index = data[2] >> 4, data[2] >> 2 & 3
    if version == 1 or layer not in (2, 3) or sample_rate_index == 3 or not 0 < bit_rate_index < 15:
        return None
    bit_rate = _BIT_RATES[version == 3, layer][bit_rate_index - 1] * 1000
    sample_rate = _SAMPLE_RATES[version][sample_rate_index]
    padding = data[2] >> 1 & 1
    bytes_per_sample = 72 if version != 3 and layer == 3 else 144
    return bytes_per_sample * bit_rate // sample_rate + padding
