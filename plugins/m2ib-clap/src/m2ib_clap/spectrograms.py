"""What a CLAP hears of a sound: the log-mel spectrograms that transformers' extractor makes, without its dice.

Up to ``max_length_s`` (10 s) the extractor is called as it is. A longer sound it cuts at random; here

- a model without fusion hears the beginning, and that only where the caller agrees,
- a model with fusion hears the whole, shrunk to 10 s, and three parts of 10 s: of each third of all places where a
  part could begin, as the extractor divides them, the middle one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

SILENCE = -100.0
"""dB. Of a sample 0: the extractor takes 10 log10 of the energy in each band, and of 1e-10 where there is less."""


@dataclass(frozen=True, eq=False)
class Spectrograms:
    """One sound as the model hears it.

    spectrograms  (views, frames, bands) float32 in dB: one view, or with fusion four, the whole one first
    total         frames of the whole sound, before it was shrunk
    starts        with fusion, the frame of the whole sound at which each of the other three begins
    waveform      (samples,) float32: what is in the whole one, a short sound as often as it is repeated
    repeats       how often
    """

    spectrograms: Tensor
    total: int
    starts: tuple[int, ...]
    waveform: np.ndarray
    repeats: int


class LogMel:
    """How a checkpoint makes its spectrograms.

    extractor  its ``ClapFeatureExtractor``
    fused      whether the model takes four ``views``
    rate       samples a second
    samples    of a sound that is heard as it is; a longer one is cut or shrunk
    hop        samples from one frame to the next
    frames     of each view. Frame n has its centre at sample n * hop
    bands      of mel, on a ``scale``: the extractor's two filter banks differ
    """

    def __init__(self, extractor: Any, fused: bool) -> None:
        self.extractor, self.fused, self.views = extractor, fused, 4 if fused else 1
        self.rate, self.samples = int(extractor.sampling_rate), int(extractor.nb_max_samples)
        self.hop, self.bands = int(extractor.hop_length), int(extractor.feature_size)
        self.frames = self.samples // self.hop + 1
        self.scale = "htk" if fused else "slaney"

    def spectrograms(self, waveform: np.ndarray) -> Spectrograms:
        """(samples,) float32 at ``rate``, at most ``samples`` of them where there is no fusion."""
        length = len(waveform)
        if length <= self.samples:
            often = {"repeatpad": self.samples // length, "repeat": -(-self.samples // length)}
            repeats = often.get(self.extractor.padding, 1)  # the last time it may be cut off; silence follows
            repeated = np.tile(waveform, repeats)[: self.samples]
            return Spectrograms(self._features(waveform), self.frames, (0, 0, 0), repeated, repeats)
        whole = self._features(waveform, max_length=length)[0]  # (total, bands)
        total = len(whole)
        if total == self.frames:  # longer by less than a frame: heard as it is
            return Spectrograms(whole.expand(4, -1, -1).clone(), total, (0, 0, 0), waveform, 1)
        # the middle of each third of the frames at which a part can begin; 0 of an empty third
        thirds = np.array_split(np.arange(total - self.frames + 1), 3)
        starts = tuple(int(third[len(third) // 2]) if len(third) else 0 for third in thirds)
        size = (self.frames, self.bands)
        # (frames, bands)
        shrunk = interpolate(whole[None, None], size, mode="bilinear", align_corners=False)[0, 0]
        parts = [whole[start : start + self.frames] for start in starts]
        return Spectrograms(torch.stack([shrunk, *parts]), total, starts, waveform, 1)

    def hertz(self) -> np.ndarray:
        """(bands + 2,) band b rises from edge b to its centre at b + 1 and falls to b + 2."""
        from transformers.audio_utils import hertz_to_mel, mel_to_hertz

        ends = np.array([self.extractor.frequency_min, self.extractor.frequency_max], np.float64)
        low, high = hertz_to_mel(ends, self.scale)
        return np.asarray(mel_to_hertz(np.linspace(low, high, self.bands + 2), self.scale))

    def _features(self, waveform: np.ndarray, **options: Any) -> Tensor:
        """(samples,) -> (views, frames, bands)."""
        given = self.extractor(waveform, sampling_rate=self.rate, return_tensors="pt", **options)
        features: Tensor = given["input_features"][0]
        return features.float()
