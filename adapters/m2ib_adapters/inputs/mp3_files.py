"""MP3 files that do not say how long they are: their frames are counted, and a header that says it is put before them.

Where a file has no Xing or Info header, as of streams, libsndfile takes the first frame's size for that of all: it ends too
soon, or promises what is not there. It also looks for the first frame at the file's beginning alone.

A frame begins with 32 bits: 11 ones, two of the version, two of the layer, one for a checksum, four for the bit rate, two for the
rate, one for an additional byte, and eight of which two say how many channels there are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

_KBITS = (
    (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),  # MPEG 2 and 2.5
    (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),  # MPEG 1
)
_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}  # by version
_SAME = 0xFFFE0C00  # bits that do not change within a file: version, layer, rate
_SEARCHED = 2**20  # bytes in which a frame has to follow
_TAGS = (b"ID3", b"TAG", b"APETAGEX", b"LYRICSBEGIN")


@dataclass(frozen=True)
class Mp3:
    """The sound in an MP3 file.

    content  its frames, without what lies between them; before them a header that says how many there are: the file's own one where
             it can be right, for that may also say what the encoder added to the sound
    samples  of each channel, in one frame
    strange  bytes between frames that are no tag
    cut      whether it ends within a frame
    """

    content: bytes
    samples: int
    strange: int
    cut: bool


def scan(data: bytes) -> Mp3 | None:
    """The frames of layer III in ``data``; None where there are none, or those of a free bit rate."""
    sound = bytearray()
    own, cut = b"", False  # the first header that says how many frames there are
    frames = promised = strange = samples = end = 0
    for start, stop in _walk(data):
        if end and start > end and not data.startswith(_TAGS, end):
            strange += start - end
        end = stop
        said = _promised(data, start)
        if said is not None:  # files that were joined have several
            own, promised = own or data[start:stop], promised + said
        elif stop > len(data):
            cut = True
        else:
            sound += data[start:stop]
            frames, samples = frames + 1, _frame(data, start)[1]
    if not frames:
        return None
    fits = own and _promised(own, 0) == promised >= frames
    return Mp3((own if fits else _header(sound, frames)) + sound, samples, strange, cut)


def _walk(data: bytes) -> Iterator[tuple[int, int]]:
    """Where frames begin and end, all of the first one's kind; the last may end beyond ``data``."""
    at = _next(data, 0)
    kind = None if at is None else data[at : at + 4]
    while at is not None and at < len(data):
        size = _frame(data, at)[0] if _alike(data, at, kind) else 0
        if size:
            yield at, at + size
            at += size
        else:  # a tag, or damage
            at = _next(data, at, kind)


def _next(data: bytes, at: int, kind: bytes | None = None) -> int | None:
    """The first place from ``at`` on where a frame is followed by another one of its kind, or by the end."""
    while data[at : at + 3] == b"ID3":  # its size in four times seven bits, and perhaps ten bytes of a footer
        size = sum(
            (byte & 127) << shift for byte, shift in zip(data[at + 6 : at + 10], (21, 14, 7, 0), strict=False)
        )
        at += 10 + size + (10 if data[at + 5 : at + 6] > b"\x0f" else 0)
    end = at + _SEARCHED
    while (at := data.find(b"\xff", at, end)) >= 0:
        size = _frame(data, at)[0] if kind is None or _alike(data, at, kind) else 0
        beyond = at + size
        if size and (
            beyond == len(data) or (_alike(data, beyond, data[at : at + 4]) and _frame(data, beyond)[0])
        ):
            return at
        at += 1
    return None


def _bits(data: bytes | bytearray, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "big")


def _alike(data: bytes, at: int, kind: bytes | None) -> bool:
    return kind is not None and not (_bits(data, at) ^ _bits(kind, 0)) & _SAME


def _frame(data: bytes, at: int) -> tuple[int, int]:
    """The bytes and samples of the frame that begins there; 0 where none does."""
    bits = _bits(data, at)
    version, layer, kbits, rate = bits >> 19 & 3, bits >> 17 & 3, bits >> 12 & 15, bits >> 10 & 3
    if bits >> 21 != 0x7FF or version == 1 or layer != 1 or kbits in (0, 15) or rate == 3:
        return 0, 0
    samples = 1152 if version == 3 else 576
    size = samples // 8 * _KBITS[version == 3][kbits - 1] * 1000 // _RATES[version][rate]
    return size + (bits >> 9 & 1), samples


def _side(bits: int) -> int:
    """Bytes of a frame before its sound, or before the header's word."""
    mono = bits >> 6 & 3 == 3
    return 4 + ((17 if mono else 32) if bits >> 19 & 3 == 3 else (9 if mono else 17))


def _promised(data: bytes, at: int) -> int | None:
    """The frames that a Xing or Info header says there are; None of a frame that is none, or does not say it."""
    at += _side(_bits(data, at))
    if data[at : at + 4] not in (b"Xing", b"Info") or not _bits(data, at + 4) & 1:
        return None
    return _bits(data, at + 8)


def _header(first: bytes | bytearray, frames: int) -> bytes:
    """A frame to stand before ``first``, which says how many follow."""
    bits = _bits(first, 0) & ~0xF200 | 0x15000  # no checksum, the fifth bit rate, no additional byte
    head = bits.to_bytes(4, "big")
    said = head.ljust(_side(bits), b"\0") + b"Xing" + (1).to_bytes(4, "big") + frames.to_bytes(4, "big")
    return said.ljust(_frame(head, 0)[0], b"\0")
