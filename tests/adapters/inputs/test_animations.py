"""Animated images as videos, and films of which the frames do not lie one in a packet."""

from __future__ import annotations

import re
import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from m2ib.errors import InputError, M2IBWarning
from m2ib_adapters.inputs.films import Film, open_film
from m2ib_adapters.inputs.video import VideoPreparation

ROWS, COLUMNS, COUNT = 48, 64, 30
LENGTHS = [40, 300, 60] * (COUNT // 3)  # milliseconds


def picture(number: int) -> np.ndarray:
    """(ROWS, COLUMNS, 3) uint8: a bar that moves."""
    pixels = np.full((ROWS, COLUMNS, 3), 40, np.uint8)
    pixels[..., 1] = np.arange(COLUMNS) * 2
    pixels[8:40, number * 2 : number * 2 + 4] = (255, 8 * number, 0)
    return pixels


PICTURES = np.stack([picture(number) for number in range(COUNT)])


def seen(film: Film, numbers: list[int]) -> list[int]:
    """Which of the pictures each of these frames is."""
    found = []
    for _, frame in film.pictures(numbers):
        off = np.abs(PICTURES.astype(int) - frame).mean((1, 2, 3))  # (COUNT,)
        assert off.min() < 12
        found.append(int(off.argmin()))
    return found


def animated(path: Path, lengths: int | list[int], alpha: np.ndarray | None = None) -> Path:
    images = [Image.fromarray(each) for each in PICTURES]
    if alpha is not None:
        images = [Image.fromarray(np.dstack([each, alpha])) for each in PICTURES]
    how: dict[str, Any] = {"lossless": True} if path.suffix == ".webp" else {}
    images[0].save(path, save_all=True, append_images=images[1:], duration=lengths, **how)
    return path


ENDINGS = [
    "webp",
    "gif",
    "png",
    *(["avif"] if "AVIF" in Image.SAVE_ALL or ".avif" in Image.registered_extensions() else []),
]


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_animated_image_is_a_video(tmp_path: Path, ending: str) -> None:
    film = open_film(animated(tmp_path / f"a.{ending}", LENGTHS))
    np.testing.assert_allclose(film.times, (np.cumsum(LENGTHS) - LENGTHS) / 1000, atol=1e-6)
    assert film.duration == pytest.approx(sum(LENGTHS) / 1000)
    assert seen(film, list(range(COUNT))) == list(range(COUNT))
    assert seen(film, [4, 17]) == [4, 17]


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_kind_of_animation_is_prepared_alike(tmp_path: Path, ending: str) -> None:
    prepared = VideoPreparation(size=56)
    item = prepared.prepare(animated(tmp_path / f"a.{ending}", 100))
    assert item.origin["chosen"] == prepared.prepare((PICTURES, 10)).origin["chosen"]
    assert (item.origin["frames"], item.origin["rate"], item.origin["seconds"]) == (COUNT, 10, 3)


@pytest.mark.parametrize("ending", ["webp", "png", "gif"])
def test_what_is_transparent_is_laid_on_white(tmp_path: Path, ending: str) -> None:
    alpha = np.where(np.arange(COLUMNS) < 32, 0, 255).astype(np.uint8)[None].repeat(ROWS, 0)
    film = open_film(animated(tmp_path / f"a.{ending}", 100, alpha))
    ((_, frame),) = film.pictures([len(film.times) - 1])
    assert (frame[:, :32] == 255).all()
    assert np.abs(frame[:, 32:].astype(int) - PICTURES[-1][:, 32:]).mean() < 8


def test_pages_without_times_are_refused(tmp_path: Path) -> None:
    images = [Image.fromarray(each) for each in PICTURES[:3]]
    images[0].save(tmp_path / "a.tiff", save_all=True, append_images=images[1:])
    message = f"video {str(tmp_path / 'a.tiff')!r} holds 3 pages, and not when they are shown; give (list of images, frames a second)"
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        open_film(tmp_path / "a.tiff")


def test_a_cut_animation_is_refused_in_one_line(tmp_path: Path) -> None:
    path = animated(tmp_path / "a.webp", 100)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(InputError, match=r"^video '.*a\.webp' is damaged[^\n]*$"):
        VideoPreparation().prepare(path)


# MPEG-4 as DivX and XviD packed it into AVI.

VOP = b"\0\0\1\xb6"


def kind(packet: bytes) -> str:
    return "IPBS"[packet[packet.index(VOP) + 4] >> 6]


def encoded(between: int) -> list[bytes]:
    """Packets in the order of decoding, with so many frames ``between`` that look both ways."""
    codec: Any = av.CodecContext.create("mpeg4", "w")
    codec.width, codec.height, codec.pix_fmt = COLUMNS, ROWS, "yuv420p"
    codec.time_base, codec.framerate = Fraction(1, 25), Fraction(25)
    codec.max_b_frames, codec.gop_size, codec.bit_rate = between, 12, 4_000_000
    packets = []
    for number, pixels in enumerate(PICTURES):
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        frame.pts, frame.time_base = number, codec.time_base
        packets += codec.encode(frame)
    return [bytes(packet) for packet in [*packets, *codec.encode(None)]]


def packed(packets: list[bytes], stand_in: bytes | None) -> list[bytes]:
    """Each frame that looks both ways behind the one before it in the same packet, and ``stand_in`` where it was."""
    result: list[bytes] = []
    waiting = False
    for packet in packets:
        if kind(packet) == "B" and kind(result[-1]) != "B" and not waiting:
            result[-1] += packet
            waiting = True
        elif kind(packet) == "B":
            result.append(packet)
        else:
            result += [stand_in] if waiting and stand_in is not None else []
            waiting = False
            result.append(packet)
    result += [stand_in] if waiting and stand_in is not None else []
    header, picture_ = result[0].split(VOP, 1)
    result[0] = header + b"\0\0\1\xb2DivX503b1393p" + VOP + picture_
    return result


def chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def avi(packets: list[bytes]) -> bytes:
    """One chunk for each packet, as programs of that time wrote it."""
    main = struct.pack("<14I", 40_000, 0, 0, 0x10, len(packets), 0, 1, 0, COLUMNS, ROWS, 0, 0, 0, 0)
    stream = b"vidsXVID" + struct.pack(
        "<I2H8I4H", 0, 0, 0, 0, 1, 25, 0, len(packets), 0, 2**32 - 1, 0, 0, 0, COLUMNS, ROWS
    )
    form = struct.pack("<I2i2H4s5I", 40, COLUMNS, ROWS, 1, 24, b"XVID", COLUMNS * ROWS * 3, 0, 0, 0, 0)
    index, frames = b"", b"movi"
    for packet in packets:
        is_key = VOP in packet and kind(packet) == "I"
        index += b"00dc" + struct.pack("<3I", 0x10 * is_key, len(frames), len(packet))
        frames += chunk(b"00dc", packet)
    streams = chunk(b"LIST", b"strl" + chunk(b"strh", stream) + chunk(b"strf", form))
    header = chunk(b"LIST", b"hdrl" + chunk(b"avih", main) + streams)
    return chunk(b"RIFF", b"AVI " + header + chunk(b"LIST", frames) + chunk(b"idx1", index))


@pytest.mark.parametrize("between", [1, 2])
@pytest.mark.parametrize("stand_in", [VOP + b"\x51\x9f", b"\x7f", b"", None])
def test_every_frame_of_a_packed_film_is_found(tmp_path: Path, between: int, stand_in: bytes | None) -> None:
    path = tmp_path / "a.avi"
    path.write_bytes(avi(packed(encoded(between), stand_in)))
    film = open_film(path)
    np.testing.assert_allclose(film.times, np.arange(COUNT) / 25)
    assert seen(film, list(range(COUNT))) == list(range(COUNT))
    assert seen(film, [3, 11, 29]) == [3, 11, 29]


def test_a_title_that_is_not_utf8_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "a.avi"
    title = chunk(b"LIST", b"INFO" + chunk(b"INAM", "Vögel im März".encode("latin-1") + b"\0"))
    whole = avi(encoded(0))
    at = whole.index(b"LIST", whole.index(b"strf"))  # before the frames
    path.write_bytes(chunk(b"RIFF", whole[8:at] + title + whole[at:]))
    assert seen(open_film(path), [0, 29]) == [0, 29]


@pytest.mark.parametrize("between", [0, 1, 2])
def test_a_film_that_is_not_packed(tmp_path: Path, between: int) -> None:
    path = tmp_path / "a.avi"
    path.write_bytes(avi(encoded(between)))
    assert seen(open_film(path), list(range(COUNT))) == list(range(COUNT))


@pytest.mark.parametrize("pack", [False, True])
def test_a_film_that_ends_before_its_header_says_so(tmp_path: Path, pack: bool) -> None:
    path = tmp_path / "a.avi"
    packets = encoded(1)
    path.write_bytes(avi(packed(packets, b"") if pack else packets)[:-2500])
    with pytest.warns(
        M2IBWarning, match=r"is cut short: its header promises \d+ frames, of which \d+ are there and read$"
    ):
        film = open_film(path)
    assert 10 < len(film.times) < COUNT
    assert seen(film, list(range(10))) == list(range(10))


def test_a_damaged_avif(tmp_path: Path) -> None:
    """Over which Pillow raises what is no OSError."""
    Image.new("RGB", (16, 16)).save(tmp_path / "x.avif")
    content = (tmp_path / "x.avif").read_bytes().replace(b"pitm", b"none")
    (tmp_path / "x.avif").write_bytes(content)
    with pytest.raises(InputError, match=r"^video '.*x.avif' is damaged and cannot be decoded: "):
        open_film(tmp_path / "x.avif")
