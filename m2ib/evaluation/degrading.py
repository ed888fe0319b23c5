"""What a map does to the similarity when its input is degraded by it.

For one input x with target e, o = cos(e, f(x)), and a map on the grid:

confidence   s = cos(e, f(x degraded by the map)). Where a position can be kept in part (pictures, sounds, depth, motion),
             the map is enlarged to the input, min-max scaled to [0, 1] and multiplied with it; tokens stay where
             their score is above the median of those that are not special, the others become padding (Section 4)
deletion     cosines while the cells are taken out, highest first (Petsiuk et al. 2018)
insertion    cosines while they are put into an input that has nothing else

Cells of equal value go in a random order, the same for every method. All cosines are absolute.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from m2ib.contract.degradation import Degradation, fill_cells, spread
from m2ib.contract.inputs import Inputs, Item
from m2ib.contract.model import Model
from m2ib.contract.targets import Targets
from m2ib.evaluation.truth import Truth
from m2ib.methods.base import degradation_of
from m2ib.methods.hiding import hidden_similarities
from m2ib.metrics import above_median, order, scaled


@dataclass(frozen=True)
class Effect:
    """What one map does.

    original, degraded   cosines
    fractions            (K,) of cells taken out, or put in, from 0 to 1; () where curves were not asked for
    deletion, insertion  (K,) cosines
    """

    original: float
    degraded: float
    fractions: np.ndarray
    deletion: np.ndarray
    insertion: np.ndarray


@dataclass(frozen=True)
class Degraded:
    """One input of a model, to be degraded by maps.

    inputs  the item as a batch of one, on the model's device
    target  what it is explained against
    """

    model: Model
    modality: str
    item: Item
    inputs: Inputs
    target: Targets

    def effect(self, grid: np.ndarray, *, curves: int = 0, confidence: bool = True, seed: int = 0) -> Effect:
        """Of one map. ``curves``: so many steps of deletion and insertion; ``seed``: of the order of equal cells."""
        degradation = degradation_of(self.model.encoder(self.modality))
        shape = degradation.positions(self.inputs, grid.shape)
        kept = [torch.ones(1, *shape, device="cpu")]
        if confidence:
            kept.append(self._kept_by(degradation, grid, shape))
        fractions = np.zeros(0)
        if curves:
            fractions, out = self._without(degradation, grid, curves, np.random.default_rng(seed))
            kept += [fill_cells(~out, shape).float(), fill_cells(out, shape).float()]
        cosines = self._similarities(torch.cat(kept))
        first = 1 + int(confidence)
        degraded = cosines[1] if confidence else float("nan")
        if confidence and bool((kept[1] == 1).all()):  # nothing is taken out: what differs is rounding
            degraded = cosines[0]
        deletion, insertion = np.split(cosines[first:], 2) if curves else (fractions, fractions)
        return Effect(float(cosines[0]), float(degraded), fractions, deletion, insertion)

    def worth(
        self, chosen: Sequence[np.ndarray], shape: tuple[int, ...], truth: Truth
    ) -> tuple[np.ndarray, np.ndarray]:
        """Of K sets of places (*raster): the cosine that is lost without each, and that each alone wins over nothing.

        shape  of a map of the input
        """
        encoder = self.model.encoder(self.modality)
        positions = degradation_of(encoder).positions(self.inputs, shape)
        keep = np.stack([truth.positions(places, positions, encoder) for places in chosen])  # (K, *positions)
        ends = np.stack([np.ones_like(keep[0]), np.zeros_like(keep[0])])
        cosines = self._similarities(torch.from_numpy(np.concatenate([ends, ~keep, keep])).float())
        without, alone = np.split(cosines[2:], 2)
        return cosines[0] - without, alone - cosines[1]

    def _kept_by(self, degradation: Degradation, grid: np.ndarray, shape: tuple[int, ...]) -> Tensor:
        """(1, *positions) what the map keeps."""
        if degradation.gradual:
            if grid.min() == grid.max():  # before rounding makes differences of it
                return torch.from_numpy(np.broadcast_to(scaled(grid).flat[0], (1, *shape)).copy())
            wide = spread(torch.from_numpy(grid.astype(np.float64))[None], shape)
            return torch.from_numpy(scaled(wide[0].numpy()))[None]
        hideable = degradation.hideable(self.item.layout, grid.shape).numpy()
        kept = np.ones(grid.shape, bool)
        kept[hideable] = above_median(grid[hideable])
        return fill_cells(torch.from_numpy(kept)[None], shape).float()

    def _without(
        self, degradation: Degradation, grid: np.ndarray, steps: int, random: np.random.Generator
    ) -> tuple[np.ndarray, Tensor]:
        """Fractions (K,) and (K, *grid) bool: the highest cells, more and more of them."""
        hideable = degradation.hideable(self.item.layout, grid.shape).numpy().reshape(-1)
        cells = np.flatnonzero(hideable)
        if not len(cells):
            return np.zeros(0), torch.zeros(0, *grid.shape, dtype=torch.bool)
        ranked = cells[order(grid.reshape(-1)[cells], random)]
        counts = np.unique(np.round(np.linspace(0, len(cells), min(steps, len(cells)) + 1)).astype(int))
        out = np.zeros((len(counts), grid.size), bool)
        for number, count in enumerate(counts):
            out[number, ranked[:count]] = True
        return counts / len(cells), torch.from_numpy(out).reshape(-1, *grid.shape)

    def _similarities(self, keep: Tensor) -> np.ndarray:
        """(K,) float64."""
        device = self.model.device
        found = hidden_similarities(
            self.model.encoder(self.modality),
            self.inputs,
            keep.to(device),
            self.item.layout,
            self.target,
        )
        values: np.ndarray = found.cpu().numpy().astype(np.float64)
        return values


def shuffled(grid: np.ndarray, hideable: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The control that has the map's own values, and so its mass, in places that know nothing.

    hideable  (*grid) bool: special tokens stay where they are
    """
    values = grid.copy()
    values[hideable] = random.permutation(grid[hideable])
    return values


def hideable_cells(model: Model, modality: str, item: Item, shape: Sequence[int]) -> np.ndarray:
    """(*grid) bool."""
    return degradation_of(model.encoder(modality)).hideable(item.layout, tuple(shape)).numpy()
