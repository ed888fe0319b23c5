"""Sounds: what the official loader gives, whatever the file; where each patch lies; what is refused."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import torchaudio
from hypothesis import given, settings
from hypothesis import strategies as st

from m2ib.contract.inputs import Item
from m2ib.errors import InputError, M2IBError, M2IBWarning
from m2ib_adapters.inputs.audio import AudioPreparation, mel_edges
from m2ib_adapters.towers.patches import Patches

AUDIO = AudioPreparation()


def noise(seconds: float, rate: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    """(channels, samples) float32: noise under a slow swell, each channel off centre by its own amount."""
    rng = np.random.default_rng(seed)
    samples = round(seconds * rate)
    swell = 0.02 + 0.1 * np.sin(np.arange(samples) / rate) ** 2
    offset = 0.01 * (1 + np.arange(channels))[:, None]
    return (rng.standard_normal((channels, samples)) * swell + offset).astype(np.float32)


# The official order of operations, slowly.


def naive_bands(bins: int, rate: int, points: int) -> np.ndarray:
    """(bins, points // 2) triangular weights on the mel scale."""

    def mel(hertz: float) -> float:
        return 1127 * np.log(1 + hertz / 700)

    low, step = mel(20), (mel(rate / 2) - mel(20)) / (bins + 1)
    weights = np.zeros((bins, points // 2))
    for band in range(bins):
        left, centre, right = (low + (band + n) * step for n in range(3))
        for point in range(points // 2):
            at = mel(point * rate / points)
            if left < at <= centre:
                weights[band, point] = (at - left) / (centre - left)
            elif centre < at < right:
                weights[band, point] = (right - at) / (right - centre)
    return weights


BANDS = naive_bands(128, 16000, 512)


def naive_energies(samples: np.ndarray) -> np.ndarray:
    """(bands, frames) of one channel in float64: 25 ms every 10 ms at 16 kHz."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 399)
    columns = []
    for start in range(0, len(samples) - 400 + 1, 160):
        frame = samples[start : start + 400].astype(np.float64)
        frame = frame - frame.mean()
        frame = frame - 0.97 * np.concatenate([frame[:1], frame[:-1]])
        power = np.abs(np.fft.rfft(frame * window, 512)) ** 2
        columns.append(np.log(np.maximum(BANDS @ power[:256], np.finfo(np.float32).eps)))
    return np.stack(columns, axis=1)


def naive(waveform: np.ndarray, rate: int) -> tuple[np.ndarray, list[tuple[float, float]]]:
    """(3, 1, 128, 204) of the whole sound resampled at once, and where the clips lie."""
    whole = torchaudio.functional.resample(torch.from_numpy(waveform), rate, 16000)
    duration = whole.shape[1] / 16000
    step = Fraction(max(duration - 2, 0)) / 2
    clips, spans = [], []
    for number in range(3):
        start = step * number
        clip = whole[:, int(start * 16000) : int((start + 2) * 16000)]
        clip -= clip.mean()  # in the sound itself
        bands = naive_energies(clip[0].numpy())[:, :204]
        padded = np.zeros((128, 204))
        padded[:, : bands.shape[1]] = bands
        clips.append((padded + 4.268) / 9.138)
        spans.append((float(start), min(float(start) + 2, duration)))
    return np.stack(clips)[:, None], spans


def near(item: Item, waveform: np.ndarray, rate: int) -> None:
    expected, spans = naive(waveform, rate)
    assert item.inputs.dtype == torch.float32
    assert item.inputs.shape == (3, 1, 128, 204)
    np.testing.assert_allclose(item.inputs.numpy(), expected, atol=2e-3)
    np.testing.assert_allclose(item.view.clips, spans, atol=1e-4)
    np.testing.assert_allclose(item.view.spectrogram, expected[:, 0] * 9.138 - 4.268, atol=2e-2)


@settings(max_examples=25)
@given(
    rate=st.sampled_from([8000, 11025, 16000, 22050, 24000, 44100, 48000, 96000]),
    channels=st.integers(1, 3),
    seconds=st.floats(0.55, 7),
)
def test_every_sound_is_prepared_as_the_official_loader_does(
    rate: int, channels: int, seconds: float
) -> None:
    waveform = noise(seconds, rate, channels)
    near(AUDIO.prepare((waveform, rate)), waveform, rate)


@pytest.mark.parametrize(
    ("name", "rate", "channels", "ways"),
    [
        ("pcm.wav", 44100, 2, {}),
        ("deep.wav", 96000, 8, {"subtype": "PCM_24"}),
        ("float.wav", 22050, 1, {"subtype": "FLOAT"}),
        ("sound.flac", 48000, 2, {}),
        ("sound.ogg", 44100, 2, {}),
        ("sound.mp3", 32000, 1, {}),
        ("speech.opus", 16000, 1, {"format": "OGG", "subtype": "OPUS"}),
    ],
)
def test_every_format(tmp_path: Path, name: str, rate: int, channels: int, ways: dict[str, str]) -> None:
    path = tmp_path / name
    soundfile.write(path, noise(5, rate, channels).T, rate, **ways)
    decoded = soundfile.read(path, dtype="float32", always_2d=True)[0].T.copy()
    item = AUDIO.prepare(path)
    near(item, decoded, rate)
    assert item.origin["rate"] == rate
    assert item.origin["channels"] == channels
    assert len(item.origin["sha256"]) == 64
    json.dumps(dict(item.origin))


@pytest.mark.parametrize(
    ("rate", "seconds"), [(44100, 47.3), (48000, 40), (16000, 31), (8000, 33.21), (44056, 31)]
)
def test_clips_of_a_long_file_equal_those_of_the_whole(tmp_path: Path, rate: int, seconds: float) -> None:
    """44,056 and 16,000 have a small common factor: there the interpolation is our own, torchaudio's filters have
    11 million weights, and its float32 sums are the less exact ones."""
    path = tmp_path / "long.wav"
    waveform = noise(seconds, rate, 2)
    soundfile.write(path, waveform.T, rate, subtype="FLOAT")
    item = AUDIO.prepare(path)
    whole = torchaudio.functional.resample(torch.from_numpy(waveform), rate, 16000)
    places = [round(start * 16000) for start, _ in item.view.clips]
    heard = torch.cat([whole[0, place : place + 32000] for place in places])
    np.testing.assert_allclose(item.view.waveform, heard, atol=1e-5 if rate != 44056 else 5e-5)
    near(item, waveform, rate)
    assert item.view.played == item.view.clips
    assert item.view.clips[2][1] == pytest.approx(seconds, abs=1e-4)


def test_a_long_file_is_never_in_memory(tmp_path: Path) -> None:
    """10 minutes are 106 MB as float32; blocks of 4 MB are read."""
    path = tmp_path / "long.wav"
    minute = noise(60, 44100)[0]
    with soundfile.SoundFile(path, "w", 44100, 1) as file:
        for _ in range(10):
            file.write(minute)
    code = (
        "import resource, sys; from m2ib_adapters.inputs.audio import AudioPreparation as Audio\n"
        "import numpy as np; Audio().prepare((np.random.rand(5 * 44100), 44100))\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = peak(); item = Audio().prepare(sys.argv[1]); print(peak() - before, item.view.length)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True, env=os.environ
    )
    grown, length = done.stdout.split()
    assert float(length) == 600
    assert int(grown) < 40_000  # KiB


# What is given as an array.


def test_arrays_tensors_and_integers_are_one_sound() -> None:
    whole = (noise(3, 44100, 2) * 32767).astype(np.int16)
    reference = AUDIO.prepare((whole, 44100)).inputs
    scaled = whole / np.float32(32768)
    given = [
        (torch.from_numpy(whole), 44100),
        (torch.from_numpy(scaled), 44100.0),
        (scaled.astype(np.float64), np.int64(44100)),
        (whole.astype(np.int32) * 65536, 44100),
        (whole.astype(">i2"), 44100),
        (np.asfortranarray(scaled), 44100),
    ]
    for raw in given:
        torch.testing.assert_close(AUDIO.prepare(raw).inputs, reference, atol=1e-5, rtol=0)
    half = AUDIO.prepare((torch.from_numpy(scaled).bfloat16(), 44100)).inputs
    torch.testing.assert_close(half, reference, atol=0.2, rtol=0)


def test_one_axis_is_one_channel_and_the_array_is_left_alone() -> None:
    waveform = noise(3, 16000)
    before = waveform.copy()
    one = AUDIO.prepare((waveform[0], 16000)).inputs
    assert torch.equal(one, AUDIO.prepare((waveform, 16000)).inputs)
    assert np.array_equal(waveform, before)


def test_a_preparation_with_other_values(tmp_path: Path) -> None:
    other = AudioPreparation(
        clips=1, seconds=1.0, frames=100, mean=0.0, std=1.0, patches=Patches((16, 10), (16, 10))
    )
    waveform = noise(3, 16000)
    item = other.prepare((waveform, 16000))
    assert item.inputs.shape == (1, 1, 128, 100)
    assert item.layout.grid == (1, 8, 10)
    first = waveform[:, :16000] - waveform[:, :16000].mean()
    np.testing.assert_allclose(item.inputs[0, 0, :, :98], naive_energies(first[0]), atol=2e-2)
    assert not item.inputs[0, 0, :, 98:].any()


# Where things lie.


def test_clips_lie_at_the_start_the_middle_and_the_end() -> None:
    item = AUDIO.prepare((noise(12, 16000), 16000))
    assert item.view.clips == ((0, 2), (5, 7), (10, 12))
    assert item.layout.axes[0].spans == ((0, 2), (5, 7), (10, 12))
    short = AUDIO.prepare((noise(1, 16000), 16000))
    assert short.view.clips == ((0, 1),) * 3
    torch.testing.assert_close(short.inputs[0], short.inputs[2], atol=1e-4, rtol=0)
    assert short.view.frames == (98, 98, 98)


def test_axes_say_where_each_patch_lies() -> None:
    layout = AUDIO.prepare((noise(3, 16000), 16000)).layout
    assert layout.grid == (3, 12, 19)
    assert layout.index is not None
    assert layout.index[:2] == (1, 2)
    assert layout.index[228] == 230  # after the first clip's cells comes the second one's class token
    assert [(axis.name, axis.unit, len(axis.spans)) for axis in layout.axes] == [
        ("clip", "s", 3),
        ("frequency", "Hz", 12),
        ("time", "s", 19),
    ]
    heard = layout.axes[1].spans
    assert heard[0][0] == pytest.approx(20)
    assert heard[-1][1] < 8000
    reached = [np.flatnonzero(BANDS[low : low + 16].any(0)) * 16000 / 512 for low in range(0, 120, 10)]
    for (low, high), points in zip(heard, reached, strict=True):
        assert low < points.min() <= low + 40  # points are 31.25 Hz apart
        assert high - 40 <= points.max() < high
    assert layout.axes[2].spans[0] == (0.0, 0.175)
    assert layout.axes[2].spans[18] == pytest.approx((1.8, 1.975))


def test_bands_are_kaldis() -> None:
    _, centres = torchaudio.compliance.kaldi.get_mel_banks(128, 512, 16000.0, 20.0, 0.0, 100.0, -500.0, 1.0)
    np.testing.assert_allclose(mel_edges(128, 16000)[1:-1], centres[:, 0], rtol=1e-5)
    assert mel_edges(128, 16000)[[0, -1]] == pytest.approx([20, 8000])


def test_a_tone_is_where_its_frequency_and_time_are() -> None:
    samples = np.zeros(10 * 16000, np.float32)
    samples[9 * 16000 : 9 * 16000 + 3200] = np.sin(2 * np.pi * 3000 * np.arange(3200) / 16000)
    item = AUDIO.prepare((samples, 16000))
    assert item.view.clips[2] == (8, 10)
    energy = item.view.spectrogram[2]
    band, frame = np.unravel_index(energy.argmax(), energy.shape)
    assert item.view.hertz[band] == pytest.approx(3000, rel=0.03)
    assert 1.0 <= frame * item.view.step + 0.0125 <= 1.2
    grid = item.inputs[2, 0].unfold(0, 16, 10).unfold(1, 16, 10).mean((-1, -2))  # (12, 19)
    row, column = np.unravel_index(int(grid.argmax()), grid.shape)
    low, high = item.layout.axes[1].spans[row]
    assert low < 3000 < high
    start, end = item.layout.axes[2].spans[column]
    assert start < 1.1 < end


# What is shown and played.


@pytest.mark.parametrize("seconds", [0.6, 12.34, 29.9, 40])
def test_the_envelope_is_the_lowest_and_highest_of_each_part(seconds: float) -> None:
    waveform = noise(seconds, 44100, 2)
    envelope = AUDIO.prepare((waveform, 44100)).view.envelope
    count, samples = 1000, waveform.shape[1]
    parts = [waveform[0, part * samples // count : (part + 1) * samples // count] for part in range(count)]
    expected = np.array([[part.min() for part in parts], [part.max() for part in parts]])
    assert envelope.dtype == np.float32
    np.testing.assert_array_equal(envelope, expected)


def test_what_is_played_is_the_first_channel() -> None:
    waveform = noise(3, 48000, 2)
    view = AUDIO.prepare((waveform, 48000)).view
    expected = torchaudio.functional.resample(torch.from_numpy(waveform[0]), 48000, 16000)
    np.testing.assert_allclose(view.waveform, expected, atol=1e-6)
    assert view.rate == 16000
    assert view.played == ((0, 3),)
    assert view.length == 3
    assert view.waveform.dtype == view.spectrogram.dtype == np.float32


# Preprocessed tensors.


def test_tensors_describe_themselves() -> None:
    item = AUDIO.prepare((noise(1.2, 16000), 16000))
    clips = AUDIO.describe(item.inputs)
    assert torch.equal(clips.inputs, item.inputs)
    assert clips.layout.grid == (3, 12, 19)
    assert clips.layout.index == item.layout.index
    assert clips.layout.axes[1:] == item.layout.axes[1:]
    assert clips.layout.axes[0].unit == "clips"
    assert clips.view.frames == item.view.frames == (118,) * 3
    np.testing.assert_allclose(clips.view.spectrogram, item.view.spectrogram, atol=1e-5)
    one = AUDIO.describe(item.inputs[1])
    assert one.layout.grid == (12, 19)
    assert [axis.name for axis in one.layout.axes] == ["frequency", "time"]
    assert one.layout.index == tuple(range(1, 229))
    assert one.view.spectrogram.shape == (1, 128, 204)
    assert one.view.envelope.shape == (2, 0)
    json.dumps(dict(one.origin))


@pytest.mark.parametrize(
    "tensor",
    [torch.zeros(128, 204), torch.zeros(1, 128, 200), torch.zeros(0, 1, 128, 204), torch.zeros(2, 128, 204)],
)
def test_other_tensors_are_refused(tensor: torch.Tensor) -> None:
    with pytest.raises(InputError, match=r"shape \(1, 128, 204\), or \(clips, 1, 128, 204\), not \("):
        AUDIO.describe(tensor)
    with pytest.raises(InputError, match=r"floating-point type, not torch\.int64"):
        AUDIO.describe(torch.zeros(1, 128, 204, dtype=torch.int64))


# What cannot be used.


def written(folder: Path, name: str) -> bytes:
    soundfile.write(folder / name, noise(3, 16000).T, 16000)
    return (folder / name).read_bytes()


FILES: dict[str, tuple[str, Callable[[Path], bytes], str]] = {
    "empty": (
        "a.wav",
        lambda folder: b"",
        "is empty: the file holds 0 bytes",
    ),
    "film": (
        "my dog.mp4",
        lambda folder: b"\0\0\0\x18ftypisom\0\0\2\0isomiso2" * 20,
        "is MPEG-4 (as in MP4, M4A, MOV and 3GP), not in a sound format that can be read; extract its sound first, e.g. with ffmpeg -i 'my dog.mp4' sound.wav",
    ),
    "text": ("a.wav", lambda folder: b"a dog barks", "is not in a sound format that can be read; WAV"),
    "header": (
        "a.wav",
        lambda folder: written(folder, "b.wav")[:30],
        "is damaged and cannot be decoded: Error in WAV",
    ),
    "cut": (
        "a.flac",
        lambda folder: written(folder, "b.flac")[:20_000],
        "is damaged and cannot be decoded: ",
    ),
    "short": ("a.mp3", lambda folder: written(folder, "b.mp3")[:4_000], "is damaged: it ends after 0."),
    "raw": (
        "a.raw",
        lambda folder: b"\0" * 64000,
        "has no header; read it yourself and give (waveform, rate)",
    ),
    "no end": (
        "a.flac",
        lambda folder: (
            (whole := written(folder, "b.flac"))[:21] + bytes([whole[21] & 0xF0, 0, 0, 0, 0]) + whole[26:]
        ),
        "does not say how long it is; convert it to WAV",
    ),
}


@pytest.mark.parametrize("case", FILES)
def test_files_that_cannot_be_read(tmp_path: Path, case: str) -> None:
    name, content, message = FILES[case]
    path = tmp_path / name
    path.write_bytes(content(tmp_path))
    with pytest.raises(InputError) as caught:
        AUDIO.prepare(path)
    assert str(caught.value).startswith(f"audio {str(path)!r} {message}")
    assert "\n" not in str(caught.value)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    assert refused(tmp_path / "no.wav") == f"audio '{tmp_path}/no.wav' does not exist; check the path"
    assert refused(str(tmp_path)) == f"audio '{tmp_path}' is a folder; name a file"
    assert refused("") == "audio '' is empty; give a path"
    assert refused("a\0b.wav").startswith("audio 'a\\x00b.wav' cannot be read: ")
    path = tmp_path / "mine.wav"
    soundfile.write(path, noise(3, 16000).T, 16000)
    path.chmod(0)
    if not os.access(path, os.R_OK):
        assert refused(path) == f"audio {str(path)!r} cannot be read: permission denied"


def refused(raw: Any) -> str:
    with pytest.raises(M2IBError) as caught:
        AUDIO.prepare(raw)
    assert type(caught.value) is InputError
    return str(caught.value)


SOUND = noise(3, 16000)[0]
SHAPES = "give one sound as (channels, samples): transpose (samples, channels)"


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (SOUND, "audio: cannot use a ndarray; give a path, or (waveform, rate) with an array (samples,) or "),
        ((16000, SOUND), "audio: cannot use (int, ndarray); give a path, or (waveform, rate) with an array "),
        (None, "audio: cannot use a NoneType; "),
        ((SOUND, 0), "audio: the rate, in samples a second, is a positive number, not 0"),
        ((SOUND, -16000), "audio: the rate, in samples a second, is a positive number, not -16000"),
        ((SOUND, float("nan")), "audio: the rate, in samples a second, is a positive number, not nan"),
        ((SOUND, "16000"), "audio: the rate, in samples a second, is a positive number, not '16000'"),
        ((SOUND, True), "audio: the rate, in samples a second, is a positive number, not True"),
        ((SOUND, 11025.5), "audio: the rate is a whole number up to 10,000,000 a second, not 11025.5"),
        ((SOUND, 10**9), "audio: the rate is a whole number up to 10,000,000 a second, not 1000000000"),
        ((SOUND[:, None], 16000), f"audio: a waveform (48000, 1) would have 48000 channels of 1 samples; {SHAPES}"),
        ((SOUND.reshape(100, -1), 16000), f"audio: a waveform (100, 480) would have 100 channels of 480 samples; {SHAPES}"),
        ((SOUND[None, None], 16000), "audio: a waveform has the shape (samples,) or (channels, samples), not (1, 1, 48000)"),
        ((SOUND.astype(complex), 16000), "audio: samples are floating point, int16 or int32, not complex128"),
        ((SOUND > 0, 16000), "audio: samples are floating point, int16 or int32, not bool"),
        ((SOUND.astype(np.uint8), 16000), "audio: samples are floating point, int16 or int32, not uint8"),
        ((SOUND[:0], 16000), "audio holds no samples"),
        ((SOUND[:399], 16000), "audio lasts 0.0249 s, less than the 25 ms window of the model's spectrogram; give a longer one"),
        ((np.where(np.arange(48000) % 16000 == 7, np.nan, SOUND), 16000), "audio: NaN or infinite samples (3 of 48000), the first at 0.0004 s; replace them, e.g. by 0, or cut them out"),
        ((np.where(np.arange(48000) == 36000, np.inf, np.stack([SOUND] * 40)), 16000), "audio: NaN or infinite samples (40 of 1920000), the first at 2.2500 s; "),
        ((np.where(np.arange(48000) == 7, 1e300, SOUND.astype(np.float64)), 16000), "audio: NaN or infinite samples (1 of 48000), the first at 0.0004 s; "),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused_in_one_line(raw: Any, message: str) -> None:
    assert refused(raw).startswith(message)


def test_options() -> None:
    assert AudioPreparation.of({"clips": 5}, frames=112) == AudioPreparation(clips=5, frames=112)
    for seconds in (2.0, 2.055):
        assert AudioPreparation.of({"seconds": seconds}).seconds == seconds
    longest = AudioPreparation.of({"seconds": 2.055}).prepare((noise(5, 16000), 16000))
    assert longest.view.frames == (204,) * 3


@pytest.mark.parametrize("length", [0.4, 1.5, 12, 40])
def test_clips_end_where_the_frames_end(length: float) -> None:
    """56 frames, as small models have: 0.575 s of each clip's 2 s."""
    small = AudioPreparation(frames=56)
    waveform = noise(length, 16000)
    item = small.prepare((waveform, 16000))
    starts = [n * max(length - 2, 0) / 2 for n in range(3)]
    spans = [(start, min(start + 0.575, length)) for start in starts]
    np.testing.assert_allclose(item.view.clips, spans, atol=1e-9)
    np.testing.assert_allclose(item.layout.axes[0].spans, spans, atol=1e-9)
    np.testing.assert_allclose(item.origin["clips"], spans, atol=1e-5)
    played = spans if length > 30 else [(0, length)]
    np.testing.assert_allclose(item.view.played, played, atol=1e-9)
    assert len(item.view.waveform) == round(sum(stop - start for start, stop in played) * 16000)
    expected, _ = naive(waveform.copy(), 16000)
    np.testing.assert_allclose(item.inputs.numpy(), expected[..., :56], atol=2e-3)
    assert small.describe(item.inputs).view.clips[1] == (0.575, 1.15)


def test_an_empty_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "empty.wav"
    soundfile.write(path, np.zeros((0, 2)), 16000)
    assert refused(path) == f"audio {str(path)!r} holds no samples"


# What is used, with a word about it.


def test_a_silent_sound_warns() -> None:
    with pytest.warns(
        M2IBWarning, match="^audio: the sound is silent in all clips; the map shows nothing about sound$"
    ):
        item = AUDIO.prepare((np.full(48000, 0.25), 16000))
    assert np.isfinite(item.inputs.numpy()).all()
    left = np.stack([np.zeros(48000, np.float32), SOUND])
    with pytest.warns(
        M2IBWarning, match="its first channel, the only one that the model reads, is silent in all clips"
    ):
        AUDIO.prepare((left, 16000))


def test_a_very_short_sound_says_how_much_is_padding() -> None:
    with pytest.warns(
        M2IBWarning,
        match=r"^audio: its 0\.050 s fill 3 of 204 frames; 99% of what the model reads is padding$",
    ):
        item = AUDIO.prepare((SOUND[:800], 16000))
    expected, _ = naive(SOUND[None, :800].copy(), 16000)
    np.testing.assert_allclose(item.inputs.numpy(), expected, atol=2e-3)
    assert item.view.frames == (3, 3, 3)


def test_samples_that_were_not_scaled_warn() -> None:
    loud = np.round(SOUND * 32767)
    with pytest.warns(
        M2IBWarning, match=r"its samples lie in \[-\d+, \d+\], where the model was made for \[-1, 1\]; scale"
    ):
        view = AUDIO.prepare((loud, 16000)).view
    assert abs(view.waveform).max() <= 1
    assert abs(view.envelope).max() == 1
    assert view.envelope.dtype == view.waveform.dtype == np.float32
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        AUDIO.prepare((SOUND * 3, 16000))  # a little over 1, as decoders of MP3 give it


def test_packages_are_imported_in_use_only() -> None:
    code = (
        "import sys, m2ib_adapters.inputs.audio, m2ib_adapters.inputs.video\n"
        "print(sorted({'soundfile', 'torchaudio', 'av'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_missing_package_is_named(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['soundfile'] = None\n"
        "from m2ib_adapters.inputs.audio import AudioPreparation\n"
        "try: AudioPreparation().prepare(sys.argv[1])\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    path = tmp_path / "a.wav"
    soundfile.write(path, SOUND, 16000)
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert (
        done.stdout.strip()
        == "AdapterError soundfile is needed here, and missing: pip install 'm2ib[imagebind]'"
    )


def test_a_wav_file_that_is_cut_short_says_how_much_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "cut.wav"
    soundfile.write(path, noise(5, 44100, 2).T, 44100)
    whole = path.read_bytes()
    path.write_bytes(whole[: 44 + 3 * 44100 * 4])
    message = f"audio {str(path)!r} is cut short: its header promises 2.00 s more than the 3.00 s that are there and read"
    with pytest.warns(M2IBWarning, match=f"^{re.escape(message)}$"):
        assert AUDIO.prepare(path).view.length == 3
    path.write_bytes(whole + b"LIST")  # another chunk, cut: no sound is missing
    AUDIO.prepare(path)


@pytest.mark.parametrize("size", [2**32 - 1, 2**31 - 1, 2**31 - 4096])
def test_a_wav_file_that_was_streamed_does_not_promise_anything(tmp_path: Path, size: int) -> None:
    path = tmp_path / "pipe.wav"
    soundfile.write(path, noise(3, 16000).T, 16000)
    whole = bytearray(path.read_bytes())
    place = whole.index(b"data")
    whole[place + 4 : place + 8] = size.to_bytes(4, "little")
    path.write_bytes(whole)
    assert AUDIO.prepare(path).view.length == 3


@pytest.mark.parametrize("ways", [{"subtype": "IMA_ADPCM"}, {"subtype": "PCM_24"}, {"format": "WAVEX"}])
def test_whole_wav_files_are_not_called_short(tmp_path: Path, ways: dict[str, str]) -> None:
    path = tmp_path / "whole.wav"
    soundfile.write(path, noise(3, 16000)[0, :47999], 16000, **ways)
    AUDIO.prepare(path)


def test_of_several_channels_the_first_is_heard() -> None:
    origin = AUDIO.prepare((noise(3, 16000, 8), 16000)).origin
    assert (origin["heard"], origin["channel"], origin["channels"]) == ("first of 8 channels", 0, 8)
    assert "heard" not in AUDIO.prepare((noise(3, 16000), 16000)).origin


def test_what_is_recorded_is_rounded() -> None:
    origin = AUDIO.prepare((noise(3, 44100)[0, :100_001], 44100)).origin
    assert origin["seconds"] == 2.26760
    moments = [moment for clip in origin["clips"] for moment in clip]
    assert moments == [float(f"{moment:.6g}") for moment in moments]
