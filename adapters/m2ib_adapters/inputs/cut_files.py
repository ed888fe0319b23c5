"""Sound files that end earlier than they say, or hold more than is read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from m2ib.notices import warn

_CUT = 0.01  # seconds; headers of whole files are wrong by a few bytes
_STREAMED = range(2**31 - 2**16, 2**32)  # bytes: programs that write into a pipe do not know the length
_UNKNOWN = 2**62  # bytes; likewise, in 64 bits
# What libsndfile's log says of a file that was cut: AIFF, SVX, AU and CAF; W64 and RF64; MAT, VOC and WVE.
_SIZES = re.compile(r"(?:SSND|BODY|data|Data Size|riff|Riff size) *: (\d+) \(should be (\d+)\)")
_ENDED = re.compile(r"truncated|Data length \d+ should be")
_FIRST, _LAST = 2, 4  # flags of a page of Ogg, the first or last one of a stream


def warn_if_cut(path: Path, name: str, log: str, seconds: float) -> None:
    """log  what libsndfile wrote of the header of this sound, of so many ``seconds``"""
    missing = _missing_seconds(path)
    for promised, there in _SIZES.findall(log):
        if int(promised) not in _STREAMED and int(promised) < _UNKNOWN:
            missing = max(missing, (int(promised) / max(int(there), 1) - 1) * seconds)
    cut, joined = _ogg(path)
    if missing > _CUT:
        warn(
            f"{name} is cut short: its header promises {missing:.2f} s more than the {seconds:.2f} s that are there and read"
        )
    elif cut or _ENDED.search(log):
        warn_of_no_end(name, seconds)
    if joined:
        warn(
            f"{name} holds several sounds, one after another, of which the first, of {seconds:.2f} s, is read; convert the file to "
            "WAV to have them all"
        )


def warn_of_no_end(name: str, seconds: float) -> None:
    """Of a sound of which nobody knows how much is missing."""
    warn(f"{name} is cut short: after the {seconds:.2f} s that are there and read, its end is missing")


def _missing_seconds(path: Path) -> float:
    """What the header of a WAV file promises beyond its end; 0 of other files, and where it does not say it.

    After "RIFF" (or "RIFX", numbers the other way round), a size and "WAVE" come chunks: four letters, the size of what follows,
    and that, padded to an even number of bytes.
    """
    per_second = 0  # bytes
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] not in (b"RIFF", b"RIFX") or head[8:] != b"WAVE":
            return 0.0
        order: Literal["big", "little"] = "big" if head[:4] == b"RIFX" else "little"
        while len(chunk := file.read(8)) == 8:
            size, start = int.from_bytes(chunk[4:], order), file.tell()
            if chunk[:4] == b"data":
                known = per_second and size not in _STREAMED
                return (start + size - path.stat().st_size) / per_second if known else 0.0
            if chunk[:4] == b"fmt ":
                per_second = int.from_bytes(file.read(12)[8:], order)
            file.seek(start + size + size % 2)
    return 0.0


def _ogg(path: Path) -> tuple[bool, bool]:
    """Whether a file of Ogg's pages ends before its stream does, and whether another stream follows.

    A page is "OggS", a version, flags, 20 bytes, the number of its pieces, their sizes, and the pieces.
    """
    size, flags, sounding, joined = path.stat().st_size, _LAST, False, False
    with path.open("rb") as file:
        while (head := file.read(27))[:4] == b"OggS":
            if len(head) < 27:
                return True, joined
            flags = head[5]
            joined |= sounding and bool(flags & _FIRST)
            sounding |= not flags & _FIRST
            file.seek(sum(file.read(head[26])), 1)
            if file.tell() > size:
                return True, joined
    return not flags & _LAST, joined
