"""Raw sounds made ready for a CLAP: what goes in, what lies where in it, and what is shown and played."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from math import log
from typing import Any

import numpy as np
import torch
from torch import Tensor

import m2ib
from m2ib.renderers import SoundView
from m2ib_adapters.kit import Sound, open_sound, resampled_length, sound_at
from m2ib_clap.degradation import FEATURES, FRAMES
from m2ib_clap.folding import Tower, under
from m2ib_clap.spectrograms import SILENCE, LogMel, Spectrograms

LONGEST = 600
"""Seconds that a model with fusion is given at once; it hears a longer sound hardly at all, shrunk 60 times."""

_PLAYED_WHOLE = 40  # seconds; of a longer sound the three parts are played
_QUIET = 1e-4  # peak to peak; two or three steps of 16 bits
_LOUD = 2.0  # beyond it samples were not scaled to [-1, 1]
_NATURAL = log(10) / 10  # dB -> natural log of the energy


@dataclass(frozen=True, eq=False)
class SoundPreparation:
    """Sounds for one checkpoint.

    mel    how it makes spectrograms
    tower  whose stem's grid the axes are of
    """

    mel: LogMel
    tower: Tower

    def prepare(self, raw: Any, *, truncate: bool = False) -> m2ib.Item:
        """A path or (waveform, rate) as an :class:`m2ib.Item`; see ``m2ib_adapters.kit.open_sound``.

        The mean of all channels is resampled (torchaudio's filter) and becomes log-mel spectrograms. Inputs: without
        fusion (1, frames, bands) float32 in dB; with it these by name (:mod:`m2ib_clap.degradation`), four views.

        Axes: "frequency", Hz, from the lower edge of a cell's first band to the upper edge of its last, the lowest
        first; "time", seconds of what the model hears: a short sound is repeated, and its second time follows the first.

        Raises :class:`m2ib.InputError`, also for a sound longer than the model hears unless ``truncate``, which takes
        its beginning; warns of silence, and of samples far outside [-1, 1].
        """
        mel = self.mel
        most, takes = (LONGEST * mel.rate, "is given at once") if mel.fused else (mel.samples, "hears")
        sound, reading, mono, begun = sound_at(raw, mel.rate, most, truncate, takes)
        waveform = mono.numpy()  # (samples,)
        _warn(sound, waveform, reading.extremes)
        heard = mel.spectrograms(waveform)
        cut = f"the first {most / mel.rate:g} s of {sound.seconds:.6g} s" if begun else ""
        count = len(heard.waveform)
        frames = mel.frames if count > mel.samples else count // mel.hop + 1
        view = self._view(heard, frames, count / mel.rate)
        view = replace(view, shown=cut or self._shown(sound, heard), **self._played(heard))
        return self._item(heard, view, sound.origin | self._origin(sound, heard, cut))

    def describe(self, inputs: m2ib.Inputs) -> m2ib.Item:
        """Preprocessed inputs as an :class:`m2ib.Item`: (views, frames, bands) in dB, as transformers' extractor gives.

        With fusion the four views have to be equal, as of a short sound, unless the inputs come from :meth:`prepare`:
        else nobody can tell where in the sound they are. Raises :class:`m2ib.InputError`.
        """
        mel = self.mel
        features = inputs[FEATURES] if isinstance(inputs, dict) and FEATURES in inputs else inputs
        wanted = (mel.views, mel.frames, mel.bands)
        if not isinstance(features, Tensor) or features.shape != wanted or not features.is_floating_point():
            given = f"{tuple(features.shape)} {features.dtype}" if isinstance(features, Tensor) else "none"
            raise m2ib.InputError(
                f"audio: a preprocessed tensor of this model has the shape {wanted}, floating point, not {given}"
            )
        total, starts = mel.frames, [0, 0, 0]
        if isinstance(inputs, dict) and FRAMES in inputs:
            total, *starts = inputs[FRAMES].tolist()
        elif not torch.equal(features, features[:1].expand_as(features)):
            raise m2ib.InputError(
                "audio: the four views of this preprocessed tensor differ, as of a long sound, and where they are in it "
                "is not known; give the sound itself"
            )
        heard = Spectrograms(features, total, tuple(starts), np.zeros(0, np.float32), 1)
        sounding = (features[0] > SILENCE).any(1).nonzero()  # (frames with sound, 1)
        frames = int(sounding.max()) + 1 if len(sounding) else 0
        view = self._view(heard, frames, total * mel.hop / mel.rate)
        return self._item(heard, view, {"source": "tensor", "shape": list(features.shape)})

    def _item(self, heard: Spectrograms, view: SoundView, origin: dict[str, Any]) -> m2ib.Item:
        """Every layer has its own grid; the axes are those of the stem's, the finest."""
        inputs: m2ib.Inputs = heard.spectrograms
        if self.mel.fused:
            inputs = {FEATURES: heard.spectrograms, FRAMES: torch.tensor([heard.total, *heard.starts])}
        return m2ib.Item(
            inputs, m2ib.Layout(axes=(self._frequencies, self._times(heard.total))), view, origin
        )

    @cached_property
    def _frequencies(self) -> m2ib.Axis:
        edges, tower = self.mel.hertz(), self.tower
        bands = under(tower.grid[0], tower.stride[0], tower.bands, self.mel.bands)
        low, high = (np.array(ends) for ends in zip(*bands, strict=True))  # (cells,) in bands
        numbers = np.arange(len(edges))
        spans = zip(
            np.interp(low + 0.5, numbers, edges).tolist(),
            np.interp(high + 1.5, numbers, edges).tolist(),
            strict=True,
        )
        return m2ib.Axis("frequency", "Hz", tuple(spans))

    def _times(self, total: int) -> m2ib.Axis:
        """Of a whole sound of ``total`` frames, whose frame n has its centre at n * hop samples."""
        mel, tower = self.mel, self.tower
        shrunk = total / mel.frames
        end = (total - 1) * mel.hop / mel.rate  # the last frame's centre
        spans = []
        for cell in under(tower.grid[1], tower.stride[1], tower.frames, mel.frames):
            start, stop = (((place + 0.5) * shrunk - 0.5) * mel.hop / mel.rate for place in cell)
            spans.append((max(0.0, start), min(stop, end)))
        return m2ib.Axis("time", "s", tuple(spans))

    def _shown(self, sound: Sound, heard: Spectrograms) -> str:
        """In words, what the view's seconds are those of."""
        if heard.repeats == 1:
            return "the whole sound"
        whole = heard.repeats * resampled_length(sound.samples, sound.rate, self.mel.rate) <= self.mel.samples
        often = f"{heard.repeats} times" if whole else f"{heard.repeats - 1} times and a part of it"
        return f"a sound of {sound.seconds:.4g} s, {often} in a row"

    def _view(self, heard: Spectrograms, frames: int, seconds: float) -> SoundView:
        """The whole sound's spectrogram, of which ``frames`` are not silence at its end; without anything to play."""
        mel, nothing = self.mel, np.zeros((2, 0), np.float32)
        decibels = heard.spectrograms[:1].detach().cpu().float().transpose(1, 2).numpy()  # (1, bands, frames)
        energies, hertz = decibels * np.float32(_NATURAL), mel.hertz()[1:-1]
        step = heard.total / mel.frames * mel.hop / mel.rate
        return SoundView(
            energies, hertz, ((0.0, seconds),), step, (frames,), seconds, nothing, nothing[0], mel.rate, played=()
        )  # fmt: skip

    def _played(self, heard: Spectrograms) -> dict[str, Any]:
        """Of a view: what is heard is played, of a long sound its three parts, and its waveform drawn."""
        mel, waveform = self.mel, heard.waveform
        scaled = waveform / max(1.0, float(np.abs(waveform).max()))
        parts = [(0, len(waveform))]
        if len(waveform) > _PLAYED_WHOLE * mel.rate:
            parts = [(start * mel.hop, start * mel.hop + mel.samples) for start in heard.starts]
        return {
            "envelope": open_sound((scaled, mel.rate)).read(()).envelope,
            "waveform": np.concatenate([scaled[start:stop] for start, stop in parts]),
            "played": tuple((start / mel.rate, stop / mel.rate) for start, stop in parts),
        }

    def _origin(self, sound: Sound, heard: Spectrograms, cut: str) -> dict[str, Any]:
        """What was done, JSON-able; "heard" is a line for the page.

        cut  the part that is heard, in words; "": all
        """
        mel = self.mel
        held = mel.samples / mel.rate
        told = [f"the mean of {sound.channels} channels"] if sound.channels > 1 else []
        told += [cut] if cut else []
        told += [f"{heard.repeats} times in a row"] if heard.repeats > 1 else []
        parts = [round(start * mel.hop / mel.rate, 6) for start in heard.starts]
        long = heard.total > mel.frames
        if long:
            told.append(
                f"shrunk to {held:g} s, and mixed into that three parts of {held:g} s, from "
                f"{', '.join(f'{part:.2f}' for part in parts)} s on: the map's times are those of the shrunk whole"
            )
        return {
            "rate": sound.rate,
            "channels": sound.channels,
            **({"heard": "; ".join(told)} if told else {}),
            "seconds": round(sound.seconds, 6),
            "truncated": bool(cut),
            "repeats": heard.repeats,
            "resampled_to": mel.rate,
            "bands": mel.bands,
            "frames": mel.frames,
            "mel_scale": mel.scale,
            "padding": str(mel.extractor.padding),
            **({"parts": [[part, round(part + held, 6)] for part in parts]} if long else {}),
        }


def _warn(sound: Sound, waveform: np.ndarray, extremes: tuple[float, float]) -> None:
    low, high = extremes
    if max(-low, high) > _LOUD:
        m2ib.warn(
            f"{sound.name}: its samples lie in [{low:g}, {high:g}], where the model was made for [-1, 1]; scale them, or "
            "give int16 or int32"
        )
    if float(waveform.max() - waveform.min()) < _QUIET:
        silent = "is silent" if sound.channels == 1 else "is silent once its channels are averaged"
        m2ib.warn(f"{sound.name} {silent}; the map shows nothing about sound")
