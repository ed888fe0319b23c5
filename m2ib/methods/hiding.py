"""Inputs of which parts are hidden, and what the model makes of them: for the methods that only look from outside."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from m2ib.contract.degradation import Degradation, fill_cells, gather
from m2ib.contract.encoder import Encoder
from m2ib.contract.inputs import Inputs
from m2ib.contract.layout import Layout
from m2ib.contract.similarity import joined
from m2ib.contract.targets import Targets
from m2ib.errors import InputError
from m2ib.execution.half_precision import or_in_float32
from m2ib.methods.base import Batch, Map, degradation_of

AT_ONCE = 64  # hidden versions of an input in one forward pass, at most
CACHED = 1_000_000  # numbers of inputs in one pass on a processor; more is slower, as they leave its caches


def passes(masks: int) -> int:
    """Forward passes for ``masks`` versions of an input."""
    return -(-masks // AT_ONCE)


def parts(masks: int) -> Iterator[slice]:
    """Which versions run in each pass."""
    for start in range(0, masks, AT_ONCE):
        yield slice(start, min(start + AT_ONCE, masks))


def hidden_similarities(
    encoder: Encoder, inputs: Inputs, keep: Tensor, layout: Layout, target: Targets
) -> Tensor:
    """(K,) to the target of one input, where only ``keep`` (K, *positions) of one input (1, ...) is left."""
    return torch.cat([target(part) for part in hidden_embeddings(encoder, inputs, keep, layout)])


def hidden_embeddings(encoder: Encoder, inputs: Inputs, keep: Tensor, layout: Layout) -> Iterator[Tensor]:
    """The embeddings (k, ...) of one input (1, ...), where only ``keep`` (K, *positions) is left, pass by pass."""
    degradation = degradation_of(encoder)
    for part in keep.split(at_once(inputs)):
        with torch.no_grad():
            yield encoder.embed(degradation.apply(inputs, part, layout))


def at_once(inputs: Inputs) -> int:
    """How many versions of an input (1, ...) run in one pass."""
    tensors = [inputs] if isinstance(inputs, Tensor) else list(inputs.values())
    if tensors[0].device.type != "cpu":
        return AT_ONCE
    return min(AT_ONCE, max(1, CACHED // max(1, sum(tensor.numel() for tensor in tensors))))


@dataclass(frozen=True)
class Hidden:
    """One input, parts of which can be hidden: cells of its map, or the segments that a user wants to be one each.

    batch      this input alone
    grid       the shape of its map
    positions  the shape of what can be kept or hidden
    hideable   (*grid) bool
    segments   (*positions) int, which segment each is in, counted from 1; 0 where none is. None: there are none
    """

    batch: Batch
    grid: tuple[int, ...]
    positions: tuple[int, ...]
    hideable: np.ndarray
    segments: np.ndarray | None = None

    @classmethod
    def each(cls, batch: Batch, layer: int) -> list[Hidden]:
        """Of all inputs of a batch. Raises :class:`InputError` for inputs that cannot be hidden."""
        degradation, found = degradation_of(batch.encoder), []
        for single, grid in zip(batch.singles(), batch.grids(layer), strict=True):
            hideable = degradation.hideable(single.layouts[0], grid).cpu().numpy()
            positions = degradation.positions(single.inputs, grid)
            placed = single.items[0].segments
            segments = None
            if placed is not None:
                can = fill_cells(torch.from_numpy(hideable)[None], positions)[0].numpy()  # (*positions)
                segments = np.where(can, placed.at(positions), 0).astype(np.int64)
            found.append(cls(single, grid, positions, hideable, segments))
        return found

    @property
    def players(self) -> int:
        """How many parts can be hidden, each by itself."""
        placed = self.batch.items[0].segments
        return int(self.hideable.sum()) if placed is None else placed.count

    @property
    def degradation(self) -> Degradation:
        return degradation_of(self.batch.encoder)

    def shown(self, keep: Tensor) -> Tensor:
        """``keep`` (K, *positions) with 1 at what cannot be hidden, on the model's device."""
        if self.hideable.all():
            return keep.to(self.batch.model.device)
        fixed = fill_cells(torch.from_numpy(~self.hideable)[None], self.positions)  # (1, *positions)
        return torch.where(fixed.to(keep.device), 1, keep).to(self.batch.model.device)

    def by_player(self, keep: np.ndarray) -> Tensor:
        """(K, players) -> (K, *positions) float32, on the model's device."""
        if self.segments is None:
            return self.by_cell(keep)
        whole = np.ones((len(keep), 1 + self.players), np.float32)  # what is in none stays
        whole[:, 1:] = keep
        device = self.batch.model.device
        return torch.from_numpy(whole).to(device)[:, torch.from_numpy(self.segments).to(device)]

    def by_cell(self, keep: np.ndarray) -> Tensor:
        """(K, hideable cells) -> (K, *positions) float32, on the model's device."""
        cells = np.ones((len(keep), *self.grid), np.float32)
        cells[:, self.hideable] = keep
        return fill_cells(torch.from_numpy(cells).to(self.batch.model.device), self.positions)

    def map(self, values: np.ndarray, rest: float = 0.0) -> Map:
        """Of values (players,): each cell has its own, or the mean over its positions of their segments' values.

        rest  of what is never hidden
        """
        if self.segments is None:
            grid = np.full(self.grid, rest)
            grid[self.hideable] = values
            return Map(grid)
        placed = torch.from_numpy(np.concatenate([[rest], values])[self.segments])  # (*positions)
        return Map(gather(placed[None], self.grid)[0].numpy(), segments=values)

    def embeddings(self, keep: Tensor) -> Tensor:
        """(K, ...) where only ``keep`` (K, *positions) is left."""
        batch = self.batch
        return joined([*hidden_embeddings(batch.encoder, batch.inputs, keep, batch.layouts[0])])

    def similarities(self, keep: Tensor, target: Targets) -> Tensor:
        """(K,) to the target, where only ``keep`` (K, *positions) is left; on the model's device."""
        batch = self.batch
        found = hidden_similarities(batch.encoder, batch.inputs, keep, batch.layouts[0], target)
        if not torch.isfinite(found).all():
            raise InputError(
                f"{batch.modality}: the model gives NaN or infinite values in {batch.model.dtype} for an "
                f"input with parts hidden; check the input{or_in_float32(batch.model.dtype)}"
            )
        return found
