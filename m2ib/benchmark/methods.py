"""What can be benchmarked, by name. A method makes a map for each input of a batch.

To add one: a function of a :class:`Batch`, and a row in :data:`METHODS`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor

from m2ib.benchmark.erasing import Eraser
from m2ib.benchmark.rise import rise
from m2ib.contract.inputs import Inputs, Item
from m2ib.contract.layout import Axis, axes_at
from m2ib.contract.model import Model
from m2ib.methods.rise import CELLS
from m2ib.pipeline import explain_side, plan_of


@dataclass(frozen=True)
class Batch:
    """N inputs of one modality, each with what it is to be explained against.

    items    ready inputs
    inputs   the same as one batch, on the model's device
    targets  (N, D) embeddings, of length 1
    seed     of whatever a method draws for all inputs
    scenes   their own seeds, for what it draws for each
    truth    the true mask's mean in each cell of the model's own grid, for each input
    axes     of these cells; () for words
    eraser   hides positions of the inputs; None where they cannot be hidden
    """

    model: Model
    modality: str
    items: Sequence[Item]
    inputs: Inputs
    targets: Tensor
    seed: int
    scenes: Sequence[int]
    truth: Sequence[np.ndarray]
    axes: tuple[Axis, ...]
    eraser: Eraser | None


@dataclass(frozen=True)
class Maps:
    """A map for each input, and the axes of their cells; () for the grid's own where the model tells none."""

    grids: Sequence[np.ndarray]
    axes: tuple[Axis, ...]

    def facts(self, number: int) -> dict[str, float]:
        """What is kept of a map whatever it is compared with."""
        grid = self.grids[number]
        return {"total": float(grid.sum()), "peak": float(grid.max())}


@dataclass(frozen=True)
class Method:
    """One way to make maps.

    summary   one line for the page
    make      the maps of a batch
    explains  the model, so that it is run on the controls too (an absent object, random weights)
    given     for the bottleneck: the settings that it is given, as ``m2ib.explain`` takes them
    hides     positions, so that it needs the batch's ``eraser``
    """

    summary: str
    make: Callable[[Batch], Maps]
    explains: bool = False
    hides: bool = False
    given: Mapping[str, Any] | None = None

    def timed(self, batch: Batch) -> tuple[Maps, float]:
        """The maps, and how many seconds each of them took."""
        began = time.perf_counter()
        maps = self.make(batch)
        return maps, (time.perf_counter() - began) / len(batch.items)


def fitted(summary: str, **given: Any) -> Method:
    """The bottleneck with these settings."""
    return Method(summary, partial(bottleneck, **given), explains=True, given=given)


def bottleneck(batch: Batch, *, reference: Any = None, **given: object) -> Maps:
    """The maps of ``m2ib.explain`` with the settings ``given``."""
    plan = plan_of("m2ib", {"seed": batch.seed, **given}, reference=reference)
    found = explain_side(batch.model, batch.modality, batch.items, batch.inputs, batch.targets, plan)
    grids = [each.grid for each in found]
    return Maps(grids, axes_at(batch.items[0].layout.axes, grids[0].shape))


def coarse_cells(batch: Batch) -> list[int]:
    """RISE's cells along each axis of the positions: the paper's 7, or half of the model's own where that is more."""
    assert batch.eraser is not None
    axes = batch.axes[-len(batch.eraser.samples.axes) :]
    return [max(CELLS, round(len(axis.spans) / 2)) for axis in axes]


def _rise(batch: Batch) -> Maps:
    assert batch.eraser is not None
    maps = rise(batch.eraser, coarse_cells(batch), seed=batch.seed)
    return Maps(list(maps.cpu().numpy()), batch.eraser.samples.axes)


def _random(batch: Batch) -> Maps:
    drawn = [np.random.default_rng((batch.seed, scene)) for scene in batch.scenes]
    grids = [random.random(truth.shape) for random, truth in zip(drawn, batch.truth, strict=True)]
    return Maps(grids, batch.axes)


def _uniform(batch: Batch) -> Maps:
    return Maps([np.ones_like(truth) for truth in batch.truth], batch.axes)


def _oracle(batch: Batch) -> Maps:
    return Maps(batch.truth, batch.axes)


METHODS: Mapping[str, Method] = {
    "m2ib": fitted("the bottleneck at the adapter's defaults"),
    "sharp": fitted('the same with preset="sharp"', preset="sharp"),
    "rise": Method("RISE with 256 masks, divided by their coverage: is the model sound?", _rise, hides=True),
    "random": Method("uniform noise on the model's grid", _random),
    "uniform": Method("the same value everywhere", _uniform),
    "oracle": Method("the true mask on the model's grid: what its cells allow", _oracle),
}
