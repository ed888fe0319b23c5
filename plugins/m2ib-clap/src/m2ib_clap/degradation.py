"""Parts of a sound taken out of a model with fusion, whose four views show the same moment in several places."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

import m2ib
from m2ib_clap.spectrograms import SILENCE

FEATURES, FRAMES = "input_features", "frames"
"""Names of the inputs: (N, 4, frames, bands) in dB, and (N, 4) whole numbers, frames of the whole sound and where
the three parts begin in it."""


@dataclass(frozen=True)
class FadingViews(m2ib.Degradation):
    """The decibels of all four views fade to silence, -100 dB: what is taken out of the whole is out of the parts too.

    Positions are (bands, frames) of the whole sound's view. Frame i of a part that begins at frame s lies in the
    frame of that view which shrunk s + i, of ``total`` frames.
    """

    gradual: bool = True

    def positions(self, inputs: m2ib.Inputs, grid: tuple[int, ...]) -> tuple[int, ...]:
        features = _both(inputs)[0]
        frames, bands = features.shape[2:]
        if len(grid) != 2 or grid[0] > bands or grid[1] > frames:
            raise m2ib.InputError(
                f"degradation: a sound of {bands} bands and {frames} frames does not fit a map of {grid} cells"
            )
        return bands, frames

    def apply(self, inputs: m2ib.Inputs, keep: Tensor, layout: m2ib.Layout) -> m2ib.Inputs:
        """(1, 4, frames, bands) and ``keep`` (K, bands, frames) -> (K, 4, frames, bands)."""
        features, places = _both(inputs)
        count = features.shape[2]
        total, *starts = places[0].tolist()
        own = torch.arange(count, device="cpu")
        shown = [own, *((2 * (start + own) + 1) * count // (2 * total) for start in starts)]
        at = torch.stack(shown).clamp(max=count - 1).to(keep.device)  # (4, frames) of the whole sound's view
        # (K, bands, 4, frames) -> (K, 4, frames, bands)
        weights = keep.to(features)[:, :, at].permute(0, 2, 3, 1)
        faded = SILENCE + (features - SILENCE) * weights
        return {FEATURES: faded, FRAMES: places.expand(len(keep), -1)}


def _both(inputs: m2ib.Inputs) -> tuple[Tensor, Tensor]:
    if not isinstance(inputs, dict) or {FEATURES, FRAMES} - set(inputs):
        raise m2ib.InputError(f"degradation: an input of CLAP with fusion holds {FEATURES!r} and {FRAMES!r}")
    return inputs[FEATURES], inputs[FRAMES]
