"""Sounds of any length, rate and number of channels, read block by block; and parts of them resampled.

A part is resampled as if the whole sound had been: it is cut with a margin, at a place where the pattern of
old and new samples repeats.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil, gcd, pi
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from m2ib.errors import InputError
from m2ib.notices import warn
from m2ib_adapters.files import sha256
from m2ib_adapters.inputs.media import called, existing_file, optional
from m2ib_adapters.inputs.options import positive_number
from m2ib_adapters.inputs.tensors import array_of

_BLOCK = 2**20  # samples that are read at a time, over all channels
_COLUMNS = 1000  # of the envelope
_MOST_CHANNELS = 64  # of an array: more is a batch, or an array that wants transposing
_HIGHEST_RATE = 10_000_000
_UNKNOWN = 2**62  # libsndfile says so many samples where a file does not say how many it holds
_LARGEST_FILTER = 2**22  # numbers in the filters of torchaudio's resampling; 32 MiB
_CUT = 0.01  # seconds; headers of whole files are wrong by a few bytes
_STREAMED = 2**31 - 2**16  # bytes and more: programs that write into a pipe do not know the length
_OF_FILMS = (".mp4", ".m4a", ".m4v", ".mkv", ".mka", ".mov", ".webm", ".avi", ".aac", ".wma", ".wmv")
_ZEROS, _ROLLOFF = 6, 0.99  # torchaudio's default filter: zero crossings on each side, cutoff

Range = tuple[int, int]


@dataclass(frozen=True)
class Sound:
    """A sound that can be read from its beginning, as often as needed.

    name      for messages: "audio 'bark.wav'", or "audio"
    rate      samples a second
    channels  how many
    samples   of each channel
    blocks    its samples, in order: arrays (channels, n) float32
    origin    where it came from, JSON-able
    """

    name: str
    rate: int
    channels: int
    samples: int
    blocks: Callable[[], Iterator[np.ndarray]]
    origin: dict[str, Any]

    @property
    def seconds(self) -> float:
        return self.samples / self.rate

    def read(self, ranges: Sequence[Range]) -> Reading:
        """The samples in each of the ranges (zeros where they go beyond the sound), and the whole at a glance.

        Raises :class:`InputError` for a sound that ends early, and for samples that are not finite.
        """
        parts = [np.zeros((self.channels, stop - start), np.float32) for start, stop in ranges]
        edges = np.arange(min(_COLUMNS, self.samples) + 1) * self.samples // min(_COLUMNS, self.samples)
        low, high = np.full(len(edges) - 1, np.inf, np.float32), np.full(len(edges) - 1, -np.inf, np.float32)
        done, bad, first_bad, extremes = 0, 0, 0, [0.0, 0.0]
        for block in self.blocks():  # (channels, n)
            end = done + block.shape[1]
            finite = np.isfinite(block)
            if not finite.all():
                first_bad = first_bad if bad else done + int(finite.all(axis=0).argmin())
                bad += block.size - int(finite.sum())
            extremes = [min(extremes[0], float(block.min())), max(extremes[1], float(block.max()))]
            for part, (start, stop) in zip(parts, ranges, strict=True):
                first, last = max(start, done), min(stop, end)
                if first < last:
                    part[:, first - start : last - start] = block[:, first - done : last - done]
            columns = slice(np.searchsorted(edges, done, "right") - 1, np.searchsorted(edges, end, "left"))
            corners = np.maximum(edges[columns] - done, 0)
            low[columns] = np.minimum(low[columns], np.minimum.reduceat(block[0], corners))
            high[columns] = np.maximum(high[columns], np.maximum.reduceat(block[0], corners))
            done = end
        if done != self.samples:
            raise InputError(
                f"{self.name} is damaged: it ends after {done / self.rate:.2f} s of {self.seconds:.2f} s"
            )
        if bad:
            raise InputError(
                f"{self.name}: NaN or infinite samples ({bad} of {self.samples * self.channels}), the first at "
                f"{first_bad / self.rate:.4f} s; replace them, e.g. by 0, or cut them out"
            )
        tensors = [torch.from_numpy(part) for part in parts]
        return Reading(tensors, np.stack([low, high]), (extremes[0], extremes[1]))


@dataclass(frozen=True, eq=False)
class Reading:
    """What was read of a sound.

    parts     (channels, samples) float32 for each range
    envelope  (2, columns) float32: lowest and highest sample of the first channel in equally long parts
    extremes  lowest and highest sample of all channels, 0 included
    """

    parts: list[Tensor]
    envelope: np.ndarray
    extremes: tuple[float, float]


def open_sound(raw: Any) -> Sound:
    """A path or (waveform, rate) as a :class:`Sound`.

    A waveform is a numpy array or a tensor (samples,) or (channels, samples), floating point in [-1, 1], int16
    or int32. Raises :class:`InputError`; ``AdapterError`` where soundfile is missing.
    """
    if isinstance(raw, (str, PathLike)):
        sound = _open_file(existing_file(raw, "audio"))
    elif isinstance(raw, (tuple, list)) and len(raw) == 2 and isinstance(raw[0], (np.ndarray, Tensor)):
        sound = _open_array(raw[0], raw[1])
    else:
        given = f"({', '.join(type(part).__name__ for part in raw)})" if isinstance(raw, tuple) else None
        raise InputError(
            f"audio: cannot use {given or 'a ' + type(raw).__name__}; give a path, or (waveform, rate) with an "
            "array (samples,) or (channels, samples)"
        )
    if not sound.samples:
        raise InputError(f"{sound.name} holds no samples")
    return sound


def _open_file(path: Path) -> Sound:
    soundfile = optional("soundfile", "imagebind")
    name = called(path, "audio")

    hint = ""
    if path.suffix.lower() in _OF_FILMS:
        hint = f"; extract its sound first, e.g. with ffmpeg -i {shlex.quote(path.name)} sound.wav"

    def failed(error: Any) -> InputError:
        return InputError(f"{name} is damaged and cannot be decoded: {error.error_string}{hint}")

    try:
        with soundfile.SoundFile(str(path)) as file:
            rate, channels, samples = file.samplerate, file.channels, file.frames
            form = f"{file.format} {file.subtype}"
    except soundfile.LibsndfileError as error:
        if error.code == 1:
            raise InputError(
                f"{name} is not in a sound format that can be read{hint or '; WAV, FLAC, OGG, MP3 and AIFF are'}"
            ) from None
        raise failed(error) from None
    except TypeError:  # a name ending in .raw
        raise InputError(f"{name} has no header; read it yourself and give (waveform, rate)") from None
    if samples > _UNKNOWN:
        raise InputError(f"{name} does not say how long it is; convert it to WAV")
    missing = _missing_seconds(path)
    if missing > _CUT:
        warn(
            f"{name} is cut short: its header promises {missing:.2f} s more than the {samples / rate:.2f} s that are "
            "there and read"
        )

    def blocks() -> Iterator[np.ndarray]:
        try:
            with soundfile.SoundFile(str(path)) as file:
                while len(block := file.read(max(1, _BLOCK // channels), dtype="float32", always_2d=True)):
                    yield np.ascontiguousarray(block.T)  # (channels, n)
        except soundfile.LibsndfileError as error:
            raise failed(error) from None

    origin = {"source": str(path), "sha256": sha256(path), "format": form}
    return Sound(name, rate, channels, samples, blocks, origin)


def _missing_seconds(path: Path) -> float:
    """What the header of a WAV file promises beyond its end; 0 of other files, and where it does not say it.

    After "RIFF", a size and "WAVE" come chunks: four letters, the size of what follows, and that, padded to an
    even number of bytes.
    """
    per_second = 0  # bytes
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] != b"RIFF" or head[8:] != b"WAVE":
            return 0.0
        while len(chunk := file.read(8)) == 8:
            size, start = int.from_bytes(chunk[4:], "little"), file.tell()
            if chunk[:4] == b"data":
                known = per_second and size < _STREAMED
                return (start + size - path.stat().st_size) / per_second if known else 0.0
            if chunk[:4] == b"fmt ":
                per_second = int.from_bytes(file.read(12)[8:], "little")
            file.seek(start + size + size % 2)
    return 0.0


def _open_array(waveform: np.ndarray | Tensor, rate: Any) -> Sound:
    number = positive_number(rate, "audio: the rate, in samples a second,")
    if number != int(number) or number > _HIGHEST_RATE:
        raise InputError(f"audio: the rate is a whole number up to {_HIGHEST_RATE:,} a second, not {rate!r}")
    array = array_of(waveform) if isinstance(waveform, Tensor) else waveform
    if array.ndim == 1:
        array = array[None]  # (1, samples)
    if array.ndim != 2:
        raise InputError(
            f"audio: a waveform has the shape (samples,) or (channels, samples), not {tuple(waveform.shape)}"
        )
    channels, samples = array.shape
    if samples and (channels > samples or channels > _MOST_CHANNELS or not channels):
        raise InputError(
            f"audio: a waveform {tuple(array.shape)} would have {channels} channels of {samples} samples; "
            "give one sound as (channels, samples): transpose (samples, channels)"
        )
    if array.dtype.kind == "i" and array.dtype.itemsize in (2, 4):
        scale = 1 / -float(np.iinfo(array.dtype).min)
    elif np.issubdtype(array.dtype, np.floating):
        scale = 1.0
    else:
        raise InputError(f"audio: samples are floating point, int16 or int32, not {array.dtype}")

    def blocks() -> Iterator[np.ndarray]:
        step = max(1, _BLOCK // channels)
        for start in range(0, samples, step):
            with np.errstate(over="ignore"):  # what float32 cannot hold is counted as infinite
                block = array[:, start : start + step].astype(np.float32)  # (channels, n)
            yield block * np.float32(scale)

    return Sound("audio", int(number), channels, samples, blocks, {"source": "array"})


def resampled_length(samples: int, rate: int, target: int) -> int:
    """Samples that torchaudio makes of ``samples``: it rounds the number itself to float32."""
    if rate == target:
        return samples
    old, new = _ratio(rate, target)
    return min(int(torch.ceil(torch.tensor(new * samples / old))), (samples // old + 1) * new)


def source_range(wanted: Range, rate: int, target: int) -> Range:
    """The samples at ``rate`` that the samples ``wanted`` at ``target`` are made of."""
    if rate == target:
        return wanted
    old, new = _ratio(rate, target)
    first = wanted[0] // new - ceil(_width(old, new) / old)
    return first * old, (ceil(wanted[1] / new) + 1) * old + _width(old, new)


def resample(part: Tensor, wanted: Range, rate: int, target: int) -> Tensor:
    """(channels, n) float32: the samples ``wanted`` at ``target``, of ``part``, which is their source range."""
    if rate == target:
        return part
    old, new = _ratio(rate, target)
    if new * (old + 2 * _width(old, new)) > _LARGEST_FILTER:
        return _interpolate(part, wanted, old, new)
    ahead = wanted[0] - source_range(wanted, rate, target)[0] // old * new  # new samples of the margin
    resampled = optional("torchaudio.functional", "imagebind").resample(part, old, new)
    return resampled[:, ahead : ahead + wanted[1] - wanted[0]]


def _ratio(rate: int, target: int) -> tuple[int, int]:
    common = gcd(rate, target)
    return rate // common, target // common


def _width(old: int, new: int) -> int:
    """Old samples on each side of a new one that count."""
    return ceil(_ZEROS * old / (min(old, new) * _ROLLOFF))


def _interpolate(part: Tensor, wanted: Range, old: int, new: int) -> Tensor:
    """What torchaudio computes, without a filter for each of ``new`` phases: for rates with no common factor.

    y[j] = sum_i x[i] h(i / old - j / new), with h a sinc under a Hann window; its phases are float32 as there.
    """
    places = torch.arange(*wanted)  # (n,)
    phase = places % new
    nearest = phase * old // new  # old samples from the start of the pattern
    start = (places // new) * old - source_range(wanted, old, new)[0]  # in `part`
    lag = (-phase / new).double()
    cutoff = min(old, new) * _ROLLOFF
    result = torch.zeros(part.shape[0], len(places))
    for tap in range(-_width(old, new), _width(old, new) + 2):
        at = nearest + tap
        time = ((lag + at.double() / old) * cutoff).clamp(-_ZEROS, _ZEROS)
        weight = torch.sinc(time) * torch.cos(time * pi / (2 * _ZEROS)) ** 2 * cutoff / old
        result += part[:, start + at] * weight.float()  # (channels, n)
    return result
