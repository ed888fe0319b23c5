"""What is shown of a sound, and heard."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from m2ib.contract.regions import Region


@dataclass(frozen=True, eq=False)
class SoundView:
    """What is shown of a sound, and heard.

    spectrogram  (clips, bands, frames) float32: natural log of the energy, as the model reads it before it
                 is normalised; the lowest band first
    hertz        (bands,) centre frequency of each band
    clips        (start, end) in seconds of the sound, one for each clip; clips may overlap or be equal
    step         seconds from one frame of the spectrogram to the next
    frames       for each clip, how many of its frames hold sound; the others are padding
    length       seconds of what is shown: usually the whole sound
    envelope     (2, columns) float32 in [-1, 1]: lowest and highest sample in each of equally long parts of
                 what is shown; (2, 0) where only a spectrogram was given
    waveform     (samples,) float32 in [-1, 1], one channel: what is played; (0,) where there is none
    rate         samples a second of ``waveform``
    played       (start, end) in seconds of the sound, the parts that ``waveform`` joins: all that is shown, or
                 parts of a long sound
    regions      outlined: which frequencies, and when in the sound
    shown        what is shown, in words, where it is not the whole sound, once: "the first 10 s of 14.2 s"
    """

    spectrogram: np.ndarray
    hertz: np.ndarray
    clips: tuple[tuple[float, float], ...]
    step: float
    frames: tuple[int, ...]
    length: float
    envelope: np.ndarray
    waveform: np.ndarray
    rate: int
    played: tuple[tuple[float, float], ...]
    regions: tuple[Region, ...] = ()
    shown: str = "the whole sound"
