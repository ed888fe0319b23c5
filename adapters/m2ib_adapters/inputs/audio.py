"""Raw sound -> clips -> log-mel spectrograms, as ImageBind's official loader makes them, and what lies where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from m2ib.contract.inputs import Item
from m2ib.contract.layout import Axis
from m2ib.errors import InputError, SettingError
from m2ib.notices import warn
from m2ib.renderers import SoundView
from m2ib_adapters.inputs.media import clip_starts, counted_clips, optional, rounded
from m2ib_adapters.inputs.options import WithOptions, check_count, check_number, check_positive, is_number
from m2ib_adapters.inputs.resampling import Range, resample, resampled_length, source_range
from m2ib_adapters.inputs.sound_files import open_sound
from m2ib_adapters.inputs.sounds import Reading, Sound
from m2ib_adapters.towers.patches import Patches

_WINDOW, _STEP = 0.025, 0.01  # seconds of a spectrogram's frame, and to the next one
_LOWEST = 20.0  # Hz, where the first band begins
_PLAYED_WHOLE = 30  # seconds; of a longer sound the clips are played
_SILENCE = 1e-4  # peak to peak; two or three steps of 16 bits
_LOUD = 2.0  # beyond it samples were not scaled to [-1, 1]
_MOSTLY_PADDING = 0.75
_PATCHES = Patches((16, 16), (10, 10))


@dataclass(frozen=True)
class AudioPreparation(WithOptions):
    """How a model wants its sounds: a few clips, each a log-mel spectrogram, cut into patches.

    rate       samples a second that it is resampled to
    bins       mel bands from 20 Hz to half the rate
    frames     of a clip, one every 10 ms; zeros follow where the clip has fewer
    mean, std  of the log energies: (x - mean) / std
    clips      how many, spread evenly; they overlap in short sounds
    seconds    of one clip, at most what its frames hold
    patches    the windows over (bands, frames) that become tokens
    """

    rate: int = 16000
    bins: int = 128
    frames: int = 204
    mean: float = -4.268
    std: float = 9.138
    clips: int = 3
    seconds: float = 2.0
    patches: Patches = _PATCHES

    MODALITY: ClassVar[str] = "audio"
    OPTIONS: ClassVar[tuple[str, ...]] = ("clips", "seconds", "mean", "std")

    @classmethod
    def of(cls, options: Mapping[str, Any], **fixed: Any) -> Self:
        """With a user's options, those named in ``OPTIONS``. Raises :class:`SettingError`."""
        made = super().of(options, **fixed)
        if "seconds" in options and made.seconds > made.held:
            raise SettingError(
                f"audio: seconds={made.seconds:g} is more than the {made.held:g} s that the model's {made.frames} "
                f"frames hold; give {made.held:g} or less"
            )
        return made

    def __post_init__(self) -> None:
        check_count(self.clips, "clips", "audio")
        check_positive(self.std, "std", "audio")
        check_number(self.mean, "mean", "audio")
        if not is_number(self.seconds) or self.seconds < _WINDOW:
            raise SettingError(f"audio: seconds is a number, {_WINDOW:g} or more, not {self.seconds!r}")

    @property
    def held(self) -> float:
        """Seconds of a clip that the frames hold: no more is read, shown or played."""
        return round((self.frames - 1) * _STEP + _WINDOW, 6)

    def prepare(self, raw: Any) -> Item:
        """A path or (waveform, rate) as an :class:`Item` with (clips, 1, bands, frames) float32.

        All channels are resampled and the mean over all of them is subtracted; only the first one is turned
        into a spectrogram, so only the first is shown and played. See :func:`open_sound` for what can be given.

        Grid: (clips, bands, times) in patches. Its axes: "clip", seconds of the sound; "frequency", Hz from the
        lower edge of the patch's first band to the upper edge of its last; "time", seconds **from the start
        of the clip**, to the end of the patch's last 25 ms window.

        Raises :class:`InputError`; warns of silence, of little sound, and of samples far outside [-1, 1].
        """
        sound = open_sound(raw)
        length = resampled_length(sound.samples, sound.rate, self.rate)
        window = int(self.rate * _WINDOW)
        if length < window:
            raise InputError(
                f"{sound.name} lasts {sound.seconds:.4f} s, less than the {_WINDOW * 1000:g} ms window of the "
                "model's spectrogram; give a longer one"
            )
        clips = self._clips(length)
        whole = length <= max(_PLAYED_WHOLE, self.clips * self.seconds) * self.rate
        wanted: list[Range] = [(0, length)] if whole else clips
        reading = sound.read([source_range(part, sound.rate, self.rate) for part in wanted])
        parts = [
            resample(part, place, sound.rate, self.rate)  # (channels, n)
            for part, place in zip(reading.parts, wanted, strict=True)
        ]
        played = torch.cat([part[0] for part in parts])  # (samples,)
        heard = [parts[0][:, start:stop] for start, stop in clips] if whole else parts
        filled = tuple(
            min(self.frames, 1 + (clip.shape[1] - window) // int(self.rate * _STEP)) for clip in heard
        )
        self._warn(sound, reading, heard, filled)
        energies = torch.stack([self._energies(clip) for clip in heard])  # (clips, bands, frames)
        spans = tuple((start / self.rate, min(stop / self.rate, sound.seconds)) for start, stop in clips)
        view = replace(
            self._view(energies, spans, filled, sound.seconds),
            envelope=reading.envelope / max(1.0, *map(abs, reading.extremes)),
            waveform=(played / max(1.0, float(played.abs().max()))).numpy(),
            played=((0.0, sound.seconds),) if whole else spans,
        )
        origin = sound.origin | {
            "rate": sound.rate,
            "channels": sound.channels,
            "channel": 0,
            **({"heard": f"first of {sound.channels} channels"} if sound.channels > 1 else {}),
            "seconds": rounded(sound.seconds),
            "clips": [[rounded(moment) for moment in span] for span in spans],
            "resampled_to": self.rate,
            "bands": self.bins,
            "frames": self.frames,
            "mean": self.mean,
            "std": self.std,
        }
        layout = self.patches.layout(
            (self.bins, self.frames), clips=len(spans), axes=(Axis("clip", "s", spans), *self._axes())
        )
        inputs = ((energies - self.mean) / self.std)[:, None]  # (clips, 1, bands, frames)
        return Item(inputs, layout, view, origin)

    def describe(self, inputs: Tensor) -> Item:
        """A preprocessed tensor as an :class:`Item`: (1, bands, frames), or (clips, 1, bands, frames).

        The first has the grid (bands, times), the second (clips, bands, times), in patches. Where the clips
        lie in a sound is not known: the axis "clip" counts them, and they are shown one after another.
        Raises :class:`InputError`.
        """
        if inputs.ndim not in (3, 4) or inputs.shape[-3:] != (1, self.bins, self.frames) or not len(inputs):
            raise InputError(
                f"audio: a preprocessed tensor has the shape (1, {self.bins}, {self.frames}), or "
                f"(clips, 1, {self.bins}, {self.frames}), not {tuple(inputs.shape)}"
            )
        if not inputs.is_floating_point():
            raise InputError(f"audio: a preprocessed tensor has a floating-point type, not {inputs.dtype}")
        shown = inputs.detach().cpu().float().reshape(-1, self.bins, self.frames)  # (clips, bands, frames)
        energies = shown * self.std + self.mean
        sounding = (energies.abs() > 1e-3).any(1)  # (clips, frames); padding is 0
        filled = tuple(int(row.nonzero().max()) + 1 if row.any() else 0 for row in sounding)
        count, seconds = len(shown), min(self.seconds, self.held)
        spans = tuple((clip * seconds, (clip + 1) * seconds) for clip in range(count))
        view = self._view(energies, spans, filled, count * seconds)
        several = inputs.ndim == 4
        counted = (counted_clips(count),) if several else ()
        layout = self.patches.layout(
            (self.bins, self.frames), clips=count if several else None, axes=(*counted, *self._axes())
        )
        return Item(inputs, layout, view, {"source": "tensor", "shape": list(inputs.shape)})

    def _view(
        self, energies: Tensor, clips: tuple[tuple[float, float], ...], frames: tuple[int, ...], length: float
    ) -> SoundView:
        """Of (clips, bands, frames), without anything to play."""
        nothing = np.zeros((2, 0), np.float32)
        hertz = mel_edges(self.bins, self.rate)[1:-1]
        return SoundView(
            energies.numpy(), hertz, clips, _STEP, frames, length, nothing, nothing[0], self.rate, played=()
        )

    def _clips(self, length: int) -> list[Range]:
        """[start, stop) of each clip, in samples at the model's rate, of a sound with ``length`` of them."""
        most = int(self.rate * _WINDOW) + (self.frames - 1) * int(self.rate * _STEP)  # samples in the frames
        clips = []
        for start in clip_starts(length / self.rate, self.seconds, self.clips):
            first, stop = int(start * self.rate), int((start + Fraction(self.seconds)) * self.rate)
            clips.append((first, min(stop, first + most, length)))
        return clips

    def _energies(self, clip: Tensor) -> Tensor:
        """(channels, samples) -> (bands, frames): log energies of the first channel, then zeros.

        The mean is subtracted in place, as the official loader does it: where clips overlap, the later one
        finds what they share already without the earlier one's mean.
        """
        clip -= clip.mean()
        bands = self.log_mel(clip).T  # (bands, n)
        return pad(bands[:, : self.frames], (0, max(0, self.frames - bands.shape[1])))

    def log_mel(self, wave: Tensor) -> Tensor:
        """(channels, samples) -> (frames, bands): log energies of the first channel."""
        fbank = optional("torchaudio.compliance.kaldi", "imagebind").fbank
        return fbank(
            wave,
            num_mel_bins=self.bins,
            sample_frequency=self.rate,
            window_type="hanning",
            frame_length=_WINDOW * 1000,
            frame_shift=_STEP * 1000,
            htk_compat=True,
            use_energy=False,
            dither=0.0,
        )

    def _axes(self) -> tuple[Axis, Axis]:
        """Frequency and time of each patch."""
        edges = mel_edges(self.bins, self.rate)
        bands, times = (self.patches.spans(axis, size) for axis, size in enumerate((self.bins, self.frames)))
        hertz = tuple((float(edges[low]), float(edges[high + 1])) for low, high in bands)
        seconds = tuple((start * _STEP, round((stop - 1) * _STEP + _WINDOW, 6)) for start, stop in times)
        return Axis("frequency", "Hz", hertz), Axis("time", "s", seconds)

    def _warn(self, sound: Sound, reading: Reading, heard: list[Tensor], filled: tuple[int, ...]) -> None:
        low, high = reading.extremes
        if max(-low, high) > _LOUD:
            warn(
                f"{sound.name}: its samples lie in [{low:g}, {high:g}], where the model was made for [-1, 1]; "
                "scale them, or give int16 or int32"
            )
        if max(float(clip[0].max() - clip[0].min()) for clip in heard) < _SILENCE:
            others = any(float(clip.max() - clip.min()) >= _SILENCE for clip in heard)
            what = "its first channel, the only one that the model reads," if others else "the sound"
            warn(f"{sound.name}: {what} is silent in all clips; the map shows nothing about sound")
        if max(filled) < (1 - _MOSTLY_PADDING) * self.frames:
            padding = 1 - max(filled) / self.frames
            warn(
                f"{sound.name}: its {sound.seconds:.3f} s fill {max(filled)} of {self.frames} frames; "
                f"{padding:.0%} of what the model reads is padding"
            )


def mel_edges(bins: int, rate: int) -> np.ndarray:
    """(bins + 2,) Hz: band b rises from edge b to its centre at b + 1 and falls to b + 2, as Kaldi has it.

    Evenly spaced on the scale mel(f) = 1127 ln(1 + f / 700), from 20 Hz to half the rate.
    """
    low, high = 1127 * np.log1p(np.array([_LOWEST, rate / 2]) / 700)
    return 700 * np.expm1(np.linspace(low, high, bins + 2) / 1127)
