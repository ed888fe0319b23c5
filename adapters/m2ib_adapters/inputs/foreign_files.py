"""Files that are something else than their name says, known by their first bytes."""

from __future__ import annotations

import shlex
from pathlib import Path

_KINDS: tuple[tuple[int, bytes | tuple[bytes, ...], str], ...] = (  # (where, what stands there, what it is)
    (4, b"ftypM4A", "M4A (AAC or ALAC in MPEG-4)"),
    (4, b"ftyp", "MPEG-4 (as in MP4, M4A, MOV and 3GP)"),
    (4, (b"moov", b"mdat", b"wide"), "a QuickTime film (MOV)"),
    (0, b"\x1aE\xdf\xa3", "Matroska or WebM"),
    (0, b"0&\xb2u\x8ef\xcf\x11", "Windows Media (WMA, WMV)"),
    (8, b"AVI ", "a film (AVI)"),
    (0, b"FLV\x01", "a Flash film (FLV)"),
    (0, b"ADIF", "AAC"),
    (0, b"#!AMR", "AMR"),
    (0, b"MAC ", "Monkey's Audio (APE)"),
    (0, b"wvpk", "WavPack"),
    (0, b"TTA1", "True Audio (TTA)"),
    (0, (b"MPCK", b"MP+"), "Musepack"),
    (0, b"DSD ", "DSD (DSF)"),
    (0, b"FRM8", "DSD (DSDIFF)"),
    (0, b"\x0b\x77", "AC-3"),
)
_NO_MEDIA = (
    (b"MThd", "MIDI, notes without a sound; render it to WAV first"),
    (
        b"\xf0\x7e",
        "a MIDI sample dump (SDS), over which libsndfile writes into the output; convert it to WAV first",
    ),
    (b"version https://git-lfs", "a pointer of Git LFS; fetch the file itself, with git lfs pull"),
    (b"<!doctype", "a web page, not a sound; fetch the file itself"),
    (b"<html", "a web page, not a sound; fetch the file itself"),
    (b"PK\x03\x04", "a ZIP archive; unpack it first"),
    (b"\x1f\x8b", "a gzip archive; unpack it first"),
)
_BEGINNING = 64  # bytes


def no_sound(path: Path) -> str:
    """What is said of a file that a tool can convert."""
    return f"not in a sound format that can be read; extract its sound first, e.g. with ffmpeg -i {shlex.quote(path.name)} sound.wav"


def foreign(path: Path) -> str | None:
    """What the file is by its first bytes, and the way out; None for what is none of these."""
    with path.open("rb") as file:
        head = file.read(_BEGINNING)
    for at, word, kind in _KINDS:
        if head.startswith(word, at):
            return f"{kind}, {no_sound(path)}"
    if head[:1] == b"\xff" and head[1:2] and head[1] & 0xF6 == 0xF0:  # a frame of ADTS, whose layer is 0
        return f"AAC, {no_sound(path)}"
    for word, kind in _NO_MEDIA:
        if head.lstrip().lower().startswith(word.lower()):
            return kind
    return None
