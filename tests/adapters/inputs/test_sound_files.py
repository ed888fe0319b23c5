"""Sound files as people have them: MP3 of any kind, files that were cut, files that are something else."""

from __future__ import annotations

import re
import struct
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from m2ib.errors import InputError, M2IBWarning
from m2ib_adapters.inputs.audio import AudioPreparation
from m2ib_adapters.inputs.sound_files import open_sound

RATE = 44100
ID3 = (
    b"ID3\x04\0\0"
    + bytes([0, 1, 0x1D, 0x4C])
    + b"TIT2\0\0\0\x06\0\0\x03hello"
    + b"\0" * (16384 + 29 * 128 + 76 - 16)
)
DELAY = 529  # samples that a decoder is late, and that are taken off where a header stands


def swelling(seconds: float, rate: int = RATE) -> np.ndarray:
    """(samples,) float32: a soft tone, then noise, so that a variable bit rate varies."""
    samples = round(seconds * rate)
    tone = 1e-3 * np.sin(2 * np.pi * 440 * np.arange(samples) / rate)
    noise = 0.2 * np.random.default_rng(0).standard_normal(samples) * (np.arange(samples) > samples / 2)
    return (tone + noise).clip(-1, 1).astype(np.float32)


def mp3(folder: Path, mode: str, rate: int = RATE, seconds: float = 7.27) -> tuple[bytes, bytes]:
    """The header's frame, and the other frames."""
    path = folder / "written.mp3"
    soundfile.write(path, swelling(seconds, rate), rate, bitrate_mode=mode, compression_level=0.5)
    data = path.read_bytes()
    sync = data[:2]
    assert re.search(b"Xing|Info", data[:64])
    # the second frame that begins as the first one does, and has one of its kind behind it
    second = next(
        at
        for at in range(40, 1500)
        if data[at : at + 2] == sync and data[at + 2] & 0x0C == data[2] & 0x0C and data[at + 3] >> 6 == 3
    )
    return data[:second], data[second:]


def fed(frames: bytes) -> np.ndarray:
    """What libsndfile decodes of frames without a header that come through a pipe: it cannot guess then, and reads all."""
    import os
    import threading

    end, begin = os.pipe()

    def feed() -> None:
        with open(begin, "wb") as pipe:
            pipe.write(frames)

    feeding = threading.Thread(target=feed)
    feeding.start()
    with soundfile.SoundFile(end) as file:
        parts = []
        while len(part := file.read(2**16, dtype="float32")):
            parts.append(part)
    feeding.join()
    return np.concatenate(parts)


def heard(path: Path) -> np.ndarray:
    """(samples,)"""
    sound = open_sound(path)
    blocks = list(sound.blocks())
    assert sum(block.shape[1] for block in blocks) == sound.samples
    AudioPreparation().prepare(path)
    return np.concatenate(blocks, axis=1)[0]


LIKE: dict[str, Callable[[bytes, bytes], bytes]] = {
    "streamed": lambda header, frames: frames,
    "tagged": lambda header, frames: ID3 + frames,
    "tagged twice": lambda header, frames: ID3 + ID3[:3] + b"\x03" + ID3[4:] + frames + b"TAG" + b"\0" * 125,
    "with zeros before it": lambda header, frames: b"\0" * 3000 + frames,
    "with an APE tag": lambda header, frames: frames + b"APETAGEX" + np.random.default_rng(0).bytes(50_000),
}


@pytest.mark.parametrize("rate", [44100, 22050, 11025])
@pytest.mark.parametrize("mode", ["CONSTANT", "AVERAGE", "VARIABLE"])
def test_every_frame_of_an_mp3_without_a_header_is_read(tmp_path: Path, mode: str, rate: int) -> None:
    _, frames = mp3(tmp_path, mode, rate)
    path = tmp_path / "a.mp3"
    path.write_bytes(frames)
    whole = fed(frames)
    np.testing.assert_allclose(heard(path), whole[DELAY:], atol=1e-6)
    assert abs(len(whole) / rate - 7.27) < 0.2


@pytest.mark.parametrize("like", LIKE)
def test_what_stands_around_the_frames_does_not_count(tmp_path: Path, like: str) -> None:
    header, frames = mp3(tmp_path, "VARIABLE")
    path = tmp_path / "a.mp3"
    path.write_bytes(LIKE[like](header, frames))
    np.testing.assert_allclose(heard(path), fed(frames)[DELAY:], atol=1e-6)


def test_an_mp3_in_a_wav_is_read_to_its_end(tmp_path: Path) -> None:
    _, frames = mp3(tmp_path, "VARIABLE")
    form = struct.pack("<HHIIHHHHIHHH", 0x55, 1, RATE, 8000, 1, 0, 12, 1, 2, 417, 1, 0)
    chunks = (
        b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(frames)) + frames
    )
    path = tmp_path / "a.wav"
    path.write_bytes(b"RIFF" + struct.pack("<I", len(chunks)) + chunks)
    np.testing.assert_allclose(heard(path), fed(frames)[DELAY:], atol=1e-6)


def test_a_sound_under_a_films_name_is_read(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", swelling(3), RATE, subtype="FLOAT")
    path = (tmp_path / "a.wav").rename(tmp_path / "a.mp4")
    np.testing.assert_array_equal(heard(path), swelling(3))


@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
def test_an_mp3_with_a_header_is_the_sound_that_was_written(tmp_path: Path, mode: str) -> None:
    header, frames = mp3(tmp_path, mode)
    path = tmp_path / "a.mp3"
    path.write_bytes(ID3 + header + frames)
    sound = heard(path)
    assert len(sound) == round(7.27 * RATE)
    assert np.corrcoef(sound, swelling(7.27))[0, 1] > 0.6  # of noise; next to 0 one sample off


def test_two_mp3_files_in_one_are_read_to_the_end(tmp_path: Path) -> None:
    header, frames = mp3(tmp_path, "VARIABLE", seconds=3)
    path = tmp_path / "a.mp3"
    path.write_bytes(header + frames + ID3 + header + frames)
    np.testing.assert_allclose(heard(path), fed(frames + frames)[DELAY:], atol=1e-6)


def test_a_cut_mp3_says_so(tmp_path: Path) -> None:
    header, frames = mp3(tmp_path, "CONSTANT")
    path = tmp_path / "a.mp3"
    path.write_bytes(header + frames[:50_000])
    with pytest.raises(InputError, match=r"is damaged: it ends after 2\.\d+ s of 7\.27 s$"):
        AudioPreparation().prepare(path)
    path.write_bytes(frames[:50_000])
    with pytest.warns(M2IBWarning, match=r"is cut short: after the 2\.\d+ s .*, its end is missing$"):
        AudioPreparation().prepare(path)
    path.write_bytes(frames[:50_000] + b"\xff\xaa" * 3000 + frames[50_000:])
    with pytest.warns(
        M2IBWarning, match=r"is damaged: \d+ bytes between its frames are no sound, and left out$"
    ):
        assert AudioPreparation().prepare(path).view.length == pytest.approx(7.3, abs=0.1)


CUT = [
    ("a.aiff", {}), ("a.aiff", {"subtype": "ULAW"}), ("a.au", {}), ("a.wav", {"format": "W64"}), ("a.wav", {"format": "RF64"}),
    ("a.wav", {"endian": "BIG"}), ("a.svx", {}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "ways"), CUT)
def test_headers_of_all_formats_are_held_to_what_they_promise(
    tmp_path: Path, name: str, ways: dict[str, str]
) -> None:
    path = tmp_path / name
    soundfile.write(path, swelling(5, 16000), 16000, **ways)
    AudioPreparation().prepare(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: round(0.6 * len(whole))])
    with pytest.warns(
        M2IBWarning, match=r"is cut short: its header promises 2\.\d\d s more than the [23]\.\d\d s that are"
    ):
        assert AudioPreparation().prepare(path).view.length == pytest.approx(3, abs=0.05)


@pytest.mark.parametrize("codec", ["VORBIS", "OPUS"])
@pytest.mark.parametrize("left", [0.6, 0.8, 0.99])
def test_a_cut_ogg_says_so(tmp_path: Path, codec: str, left: float) -> None:
    path = tmp_path / "a.ogg"
    soundfile.write(path, swelling(5, 16000), 16000, format="OGG", subtype=codec)
    whole = path.read_bytes()
    path.write_bytes(whole[: round(left * len(whole))])
    with pytest.warns(
        M2IBWarning, match=r"is cut short: after the \d\.\d\d s that are there and read, its end is missing$"
    ):
        item = AudioPreparation().prepare(path)
    assert item.view.length < 5


def test_a_caf_without_its_last_tenth_of_a_second_says_so(tmp_path: Path) -> None:
    """More of it missing is refused by libsndfile."""
    path = tmp_path / "a.caf"
    soundfile.write(path, swelling(5, 16000), 16000)
    AudioPreparation().prepare(path)
    path.write_bytes(path.read_bytes()[:-3200])
    with pytest.warns(M2IBWarning, match=r"is cut short: its header promises 0\.10 s more than the 4\.90 s"):
        AudioPreparation().prepare(path)


def test_an_ogg_behind_an_ogg_is_not_read_in_silence(tmp_path: Path) -> None:
    path = tmp_path / "a.ogg"
    soundfile.write(path, swelling(5, 16000), 16000)
    path.write_bytes(2 * path.read_bytes())
    with pytest.warns(
        M2IBWarning,
        match=r"holds several sounds, one after another, of which the first, of 5\.00 s, is read; ",
    ):
        AudioPreparation().prepare(path)


def test_streams_do_not_promise_anything(tmp_path: Path) -> None:
    path = tmp_path / "a.au"
    soundfile.write(path, swelling(3, 16000), 16000)
    whole = bytearray(path.read_bytes())
    whole[8:12] = b"\xff" * 4
    path.write_bytes(whole)
    AudioPreparation().prepare(path)


M4A = b"\0\0\0\x20ftypM4A \0\0\0\0M4A mp42isom\0\0\0\0" + b"\0" * 2000
ELSE = {
    "M4A": (M4A, "M4A (AAC or ALAC in MPEG-4), not in a sound format"),
    "AAC": (b"\xff\xf1\x50\x80\x2e\x7f\xfc" + b"\x21" * 900, "AAC, not in a sound format"),
    "MP4": (M4A.replace(b"M4A ", b"isom"), "MPEG-4 (as in MP4, M4A, MOV and 3GP), not in a sound format"),
    "WebM": (b"\x1aE\xdf\xa3\x9fB\x86\x81\x01" + b"\0" * 900, "Matroska or WebM, not in a sound format"),
    "WMA": (b"0&\xb2u\x8ef\xcf\x11\xa6\xd9" + b"\0" * 900, "Windows Media (WMA, WMV), not in a sound format"),
    "AMR": (b"#!AMR\n" + b"<" * 900, "AMR, not in a sound format"),
}  # fmt: skip


@pytest.mark.parametrize("kind", ELSE)
@pytest.mark.parametrize("ending", [".mp3", ".wav", ".m4a", ""])
def test_a_file_of_another_kind_is_called_what_it_is(tmp_path: Path, kind: str, ending: str) -> None:
    content, called = ELSE[kind]
    path = tmp_path / f"my sound{ending}"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        open_sound(path)
    assert str(caught.value) == (
        f"audio {str(path)!r} is {called} that can be read; extract its sound first, e.g. with ffmpeg -i 'my sound{ending}' sound.wav"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "is a pointer of Git LFS; fetch the file itself, with git lfs pull"),
        (b"\n<!DOCTYPE html><html>not found</html>", "is a web page, not a sound; fetch the file itself"),
        (b"\xf0\x7e\0\1\0\0", "is a MIDI sample dump (SDS), over which libsndfile writes into the output; convert it to WAV first"),
        (b"MThd\0\0\0\x06\0\x01\0\x02", "is MIDI, notes without a sound; render it to WAV first"),
    ],
)  # fmt: skip
def test_what_is_no_sound_is_called_what_it_is(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.mp3"
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"{re.escape(message)}$"):
        open_sound(path)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bits", [8, 16, 24, 32])
def test_whole_numbers_of_every_size_and_order(tmp_path: Path, order: str, bits: int) -> None:
    """RIFF and RIFX, written by hand."""
    whole = (swelling(1, 16000).astype(np.float64) * (2 ** (bits - 1) - 1)).round().astype(np.int64)
    size = bits // 8
    numbers = whole + 128 if bits == 8 else whole % 2**bits
    data = b"".join(int(number).to_bytes(size, "little" if order == "<" else "big") for number in numbers)
    form = struct.pack(f"{order}HHIIHH", 1, 1, 16000, 16000 * size, size, bits)
    chunks = (
        b"WAVEfmt "
        + struct.pack(f"{order}I", 16)
        + form
        + b"data"
        + struct.pack(f"{order}I", len(data))
        + data
    )
    path = tmp_path / "a.wav"
    path.write_bytes((b"RIFF" if order == "<" else b"RIFX") + struct.pack(f"{order}I", len(chunks)) + chunks)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose(heard(path), whole / 2 ** (bits - 1), atol=1e-6)


def test_samples_of_64_bits_are_not_called_damaged(tmp_path: Path) -> None:
    form = struct.pack("<HHIIHH", 1, 1, 16000, 16000 * 8, 8, 64)
    chunks = b"WAVEfmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", 8000) + b"\0" * 8000
    path = tmp_path / "a.wav"
    path.write_bytes(b"RIFF" + struct.pack("<I", len(chunks)) + chunks)
    with pytest.raises(
        InputError,
        match=r"holds samples in a form that cannot be read; convert it to WAV of 16, 24 or 32 bits$",
    ):
        open_sound(path)
