"""A sound of any length, rate and number of channels, read block by block; and arrays as one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from m2ib.errors import InputError
from m2ib_adapters.bounds import HELD
from m2ib_adapters.inputs.options import positive_number
from m2ib_adapters.inputs.resampling import Range
from m2ib_adapters.inputs.tensors import array_of

BLOCK = 2**20  # samples that are read at a time, over all channels
_COLUMNS = 1000  # of the envelope
_MOST_CHANNELS = 64  # of an array: more is a batch, or an array that wants transposing
HIGHEST_RATE = 10_000_000


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
        HELD.check(self.name, self.channels * sum(stop - start for start, stop in ranges))
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


def sound_of_array(waveform: np.ndarray | Tensor, rate: Any) -> Sound:
    """(samples,) or (channels, samples), floating point in [-1, 1], int16 or int32. Raises :class:`InputError`."""
    number = positive_number(rate, "audio: the rate, in samples a second,")
    if number != int(number) or number > HIGHEST_RATE:
        raise InputError(f"audio: the rate is a whole number up to {HIGHEST_RATE:,} a second, not {rate!r}")
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
        step = max(1, BLOCK // channels)
        for start in range(0, samples, step):
            with np.errstate(over="ignore"):  # what float32 cannot hold is counted as infinite
                block = array[:, start : start + step].astype(np.float32)  # (channels, n)
            yield block * np.float32(scale)

    return Sound("audio", int(number), channels, samples, blocks, {"source": "array"})
