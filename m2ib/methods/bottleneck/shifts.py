"""Sub-cell shifts of an input, and the finer grid that their maps make together.

A grid of patches cannot say where inside a patch the evidence lies. Seen through the same grid, an input that is
moved by a part of a patch says it differently, and the mean over such shifts is a map of finer cells.

Along one axis, with cells ``step`` samples apart and n shifts, the content moves by::

    o_i = round(i * step / n)        i = -floor((n - 1) / 2) .. floor(n / 2)

whole samples, one of them 0 (halves are rounded to even numbers). What moves in from outside repeats the outermost
sample. Every cell is split in n. The edges of whole cells, moved back, then lie on the edges of fine ones, up to
rounding; so under each shift a fine cell lies inside one whole cell, and around it as far on one side as on the
other on average. (Offsets like -step/4 and step/4, with 0 in their middle, would put edges through the middle of
fine cells, and their map half a fine cell aside.)

A fine cell takes the mean, over the shifts, of the whole cell that covers its centre then; a shift that leaves no
cell there does not count. Nats are divided by n for each axis, so that fine cells add up to what whole ones would.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod

import numpy as np
import torch
from torch import Tensor

from m2ib.contract.inputs import Inputs
from m2ib.contract.layout import Layout


def offsets(step: int, count: int) -> tuple[int, ...]:
    """By how many samples the content moves along an axis, one for each of ``count`` shifts; 0 is among them."""
    first = -((count - 1) // 2)
    return tuple(round(number * step / count) for number in range(first, first + count))


@dataclass(frozen=True)
class Shifts:
    """Shifts along the last axes of an input.

    counts  how many along each of them; () for an input that stays where it is
    stride  how many samples the grid's cells are apart along each of them
    """

    counts: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()

    @property
    def number(self) -> int:
        """All combinations; 1 for none."""
        return prod(self.counts)

    @property
    def still(self) -> int:
        """Which of them, counted as in ``apply``, leaves the input as it is."""
        still = 0
        for count, step in zip(self.counts, self.stride, strict=True):
            still = still * count + offsets(step, count).index(0)
        return still

    def apply(self, inputs: Inputs) -> Inputs:
        """(N, ...) -> (N * number, ...): the shifted copies of each input in a row, the last axis' fastest."""
        if self.number == 1:
            return inputs
        assert isinstance(inputs, Tensor)  # an encoder with a stride takes one tensor
        rows = inputs[:, None]  # (N, 1, ...)
        for place, (count, step) in enumerate(zip(self.counts, self.stride, strict=True)):
            axis = place - len(self.counts)
            copies = [_moved(rows, axis, offset) for offset in offsets(step, count)]
            rows = torch.stack(copies, 2).flatten(1, 2)  # (N, shifts so far, ...)
        return rows.flatten(0, 1)  # (N * number, ...)

    def grid(self, layout: Layout, capacities: Sequence[np.ndarray]) -> np.ndarray:
        """The map of one input out of the capacities (positions) of its shifted copies, in the order of ``apply``.

        Its last axes have as many times the layout's cells as there are shifts along them.
        """
        return self.joined(np.stack([layout.to_grid(capacity) for capacity in capacities]))

    def joined(self, maps: np.ndarray) -> np.ndarray:
        """Maps (number, ..., *cells) of the shifted copies, in the order of ``apply``, as one of finer cells (..., *cells)."""
        if self.number == 1:
            return np.asarray(maps[0])
        axes = len(self.counts)
        fine = maps.astype(np.float64).reshape(*self.counts, *maps.shape[1:])  # (n_1, n_2, ..., R_1, R_2)
        for count, step in zip(self.counts, self.stride, strict=True):
            shares = _shares(fine.shape[-axes], count, step) / count  # (n, fine cells, cells)
            # (n_2, ..., R_2, R_1 * n_1)
            fine = np.tensordot(fine, shares, axes=([0, fine.ndim - axes], [0, 2]))
        return fine.astype(maps.dtype)


def _moved(rows: Tensor, axis: int, offset: int) -> Tensor:
    """``rows`` with its content moved towards the end by ``offset`` samples, the outermost one repeated."""
    length = rows.shape[axis]
    index = (torch.arange(length, device=rows.device) - offset).clamp(0, length - 1)
    return rows.index_select(axis, index)


@lru_cache
def _shares(cells: int, count: int, step: int) -> np.ndarray:
    """(count, count * cells, cells): how much each cell of each shift has in each fine cell's mean."""
    shares = np.zeros((count, count * cells, cells))
    for number, offset in enumerate(offsets(step, count)):
        for fine in range(count * cells):
            # Its centre has moved to ((2 fine + 1) / (2 count)) * step + offset samples.
            cell = ((2 * fine + 1) * step + 2 * count * offset) // (2 * count * step)
            if 0 <= cell < cells:
                shares[number, fine, cell] = 1
    return np.asarray(shares / shares.sum((0, 2), keepdims=True))
