"""What is shown of a sound, and heard."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from m2ib.contract.regions import Region
from m2ib.contract.schema import MOST, check_array, require


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

    def __post_init__(self) -> None:
        who = "SoundView: "
        check_array(f"{who}spectrogram", self.spectrogram, (None, None, None), "f")
        clips, bands, frames = self.spectrogram.shape
        size = self.spectrogram.size * clips  # a panel for each clip, on one scale for all
        require(
            0 < size <= MOST,
            f"{who}the spectrogram's shape",
            (clips, bands, frames),
            "above 0, and small enough to draw",
        )
        for name in ("envelope", "waveform"):
            require(
                getattr(self, name).size <= MOST,
                f"{who}{name}",
                getattr(self, name).shape,
                f"of {MOST:,} samples at most",
            )
        check_array(f"{who}hertz", self.hertz, (bands,))
        rising = self.hertz[0] >= 0 and bool((np.diff(self.hertz) > 0).all())
        require(rising, f"{who}hertz", self.hertz.tolist(), "0 or more, and rising")
        check_array(f"{who}envelope", self.envelope, (2, None), "f")
        check_array(f"{who}waveform", self.waveform, (None,), "f")
        for name, least in (("step", 1e-9), ("length", 1e-9), ("rate", 1)):
            value = getattr(self, name)
            require(least <= value <= _LONGEST, f"{who}{name}", value, f"from {least:g} to {_LONGEST:g}")
        require(
            frames * self.step <= _LONGEST, f"{who}step", self.step, f"for {frames} frames in {_LONGEST:g} s"
        )
        require(len(self.clips) == clips, f"{who}clips", self.clips, f"{clips}, as the spectrogram has")
        fits = bool(self.played) or not self.waveform.size
        require(fits, f"{who}played", self.played, "one part or more of the sound that has this waveform")
        for name in ("clips", "played"):
            for span in getattr(self, name):
                ok = len(span) == 2 and -_LONGEST <= span[0] <= span[1] <= _LONGEST
                require(ok, f"{who}{name}", span, "(start, end) in seconds")
        heard = len(self.frames) == clips and all(0 <= held <= frames for held in self.frames)
        require(heard, f"{who}frames", self.frames, f"for each clip, from 0 to {frames}")


_LONGEST = 1e9  # seconds, and samples a second
