"""Taking evidence out of an input, as its modality understands it; for methods that hide and metrics that degrade.

Every explanation has a grid; a degradation knows which positions of the preprocessed input lie under which cell,
and what stands in for a position that is taken out:

``Fading``     numbers (pictures, sounds, depth, motion): the values fade to ``fill``, by default 0. All first-party
               inputs are normalised, so that is the mean picture, the mean spectrogram, a trace at its mean. The
               paper's "normalised pixels times the map" is this
``Replacing``  token ids: a token is kept or replaced by the padding token; start, end and other special tokens stay

All work on one input and K ways to hide parts of it: ``keep`` (K, *positions) is 1 where a position stays, 0 where
it is taken out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, TypeGuard, runtime_checkable

import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from m2ib.contract.inputs import Inputs
from m2ib.contract.layout import Layout
from m2ib.errors import InputError


@runtime_checkable
class Degradation(Protocol):
    """What an :class:`m2ib.Encoder` says about hiding parts of its inputs.

    ``inputs`` is always one input as a batch of one; ``grid`` the shape of its map.
    """

    @property
    def gradual(self) -> bool:
        """Whether a position can be kept in part, ``keep`` between 0 and 1; then ``apply`` is differentiable in it."""
        ...

    def positions(self, inputs: Inputs, grid: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of what can be kept or taken out, one axis for each of the grid's.

        Raises :class:`InputError` for an input whose positions cannot be told.
        """
        ...

    def hideable(self, layout: Layout, grid: tuple[int, ...]) -> Tensor:
        """(*grid) bool: the cells that can be taken out at all; of a class that derives from this one, every cell."""
        return torch.ones(grid, dtype=torch.bool)

    def apply(self, inputs: Inputs, keep: Tensor, layout: Layout) -> Inputs:
        """(1, ...) and ``keep`` (K, *positions) -> (K, ...)."""
        ...


@dataclass(frozen=True)
class Fading(Degradation):
    """Values fade to ``fill``: fill + (value - fill) * keep.

    fill  in the preprocessed input's own units
    axes  of the input tensor (without the batch axis), one for each axis of the grid, negative from the end.
          None: the last axis or two axes of both belong together, and what the grid has before them comes first in
          the input as well: (0, -2, -1) for a grid (clips, rows, columns)
    step  positions from one cell to the next along the grid's last axes, where a model reads whole cells alone: what
          is left over at an axis' end always stays. None: cells share all positions equally
    """

    fill: float = 0.0
    axes: tuple[int, ...] | None = None
    gradual: bool = True
    step: tuple[int, ...] | None = None

    def positions(self, inputs: Inputs, grid: tuple[int, ...]) -> tuple[int, ...]:
        tensor = _numbers(inputs)
        places = self.places(tensor.ndim - 1, grid)
        shape = self.read(tuple(tensor.shape[1 + place] for place in places))
        if any(length < cells for length, cells in zip(shape, grid, strict=True)):
            raise InputError(
                f"degradation: an input of shape {tuple(tensor.shape[1:])} has {shape} positions under a map of "
                f"{grid} cells; the adapter's degradation names other axes than its layout"
            )
        return shape

    def read(self, lengths: tuple[int, ...]) -> tuple[int, ...]:
        """Of the positions along the grid's axes, those under its cells."""
        steps = (1,) * (len(lengths) - len(self.step or ())) + (self.step or ())
        return tuple(length // step * step for length, step in zip(lengths, steps, strict=True))

    def apply(self, inputs: Inputs, keep: Tensor, layout: Layout) -> Tensor:
        tensor = _numbers(inputs)  # (1, ...)
        ndim = tensor.ndim - 1
        places = self.places(ndim, tuple(keep.shape[1:]))
        if self.step is not None:
            beyond = [tensor.shape[1 + at] - kept for at, kept in zip(places, keep.shape[1:], strict=True)]
            keep = pad(keep, [length for rest in reversed(beyond) for length in (0, rest)], value=1)
        shape = [len(keep), *[1] * ndim]
        for place, length in zip(places, keep.shape[1:], strict=True):
            shape[1 + place] = length
        order = sorted(range(len(places)), key=lambda axis: places[axis])
        weights = keep.to(tensor).permute(0, *(1 + axis for axis in order)).reshape(shape)  # (K, ...)
        return self.fill + (tensor - self.fill) * weights

    def places(self, ndim: int, grid: tuple[int, ...]) -> tuple[int, ...]:
        """The axis, of an input's ``ndim`` without the batch's, for each axis of the grid; what is left are channels.

        Raises :class:`InputError` where they do not fit.
        """
        axes = self.axes
        if axes is None:
            last = min(len(grid), 2)
            axes = (*range(len(grid) - last), *range(-last, 0))
        places = tuple(axis % ndim for axis in axes if -ndim <= axis < ndim)
        if len(set(places)) != len(grid) or len(axes) != len(grid):
            raise InputError(
                f"degradation: an input with {ndim} axes and a map with {len(grid)} do not fit the axes {axes}"
            )
        return places


@dataclass(frozen=True)
class Replacing:
    """Tokens are replaced by the token ``padding``; special ones never.

    padding  a token id
    """

    padding: int
    gradual: bool = False

    def positions(self, inputs: Inputs, grid: tuple[int, ...]) -> tuple[int, ...]:
        return grid

    def hideable(self, layout: Layout, grid: tuple[int, ...]) -> Tensor:
        special = [token.special for token in layout.tokens] or [False] * math.prod(grid)
        return ~torch.tensor(special, dtype=torch.bool).reshape(grid)

    def apply(self, inputs: Inputs, keep: Tensor, layout: Layout) -> Tensor:
        if not isinstance(inputs, Tensor) or inputs.is_floating_point():
            raise InputError("degradation: only an encoder that takes token ids can have tokens replaced")
        count = min(keep.shape[1], inputs.shape[1])  # a tower may add positions of its own after the ids
        kept = (keep > 0.5).cpu() | ~self.hideable(layout, tuple(keep.shape[1:]))  # (K, tokens)
        ids = inputs.repeat(len(keep), 1)  # (K, T)
        ids[:, :count] = torch.where(kept[:, :count].to(ids.device), ids[:, :count], self.padding)
        return ids


def holds_numbers(inputs: Inputs) -> TypeGuard[Tensor]:
    """Whether this is one tensor of numbers: no token ids, nor several tensors by name."""
    return isinstance(inputs, Tensor) and inputs.is_floating_point()


def _numbers(inputs: Inputs) -> Tensor:
    if not holds_numbers(inputs):
        kind = "several tensors" if isinstance(inputs, dict) else "token ids"
        raise InputError(
            f"degradation: this encoder takes {kind}, whose values cannot fade; its adapter has to say how parts of "
            "an input are taken out (Encoder.degradation)"
        )
    return inputs


def spread(grids: Tensor, positions: tuple[int, ...]) -> Tensor:
    """Maps (K, *cells) at an input's positions, (K, *positions): linear between the cells' centres, as for looking at."""
    values = grids
    for axis, length in enumerate(positions, 1):
        if values.shape[axis] != length:
            rows = values.movedim(axis, -1)  # (K, ..., cells)
            flat = rows.reshape(len(rows), -1, rows.shape[-1])
            wide = interpolate(flat, size=length, mode="linear", align_corners=False)
            values = wide.reshape(*rows.shape[:-1], length).movedim(-1, axis)
    return values


def cells_of(cells: int, length: int) -> Tensor:
    """(length,) the cell that each position of an axis lies in; equal shares of it for each cell."""
    return ((torch.arange(length, device="cpu") + 0.5) * cells / length).long()


def fill_cells(grids: Tensor, positions: tuple[int, ...]) -> Tensor:
    """Maps (K, *cells) at an input's positions, (K, *positions): each position has its cell's value."""
    for axis, length in enumerate(positions, 1):
        if grids.shape[axis] != length:
            grids = grids.index_select(axis, cells_of(grids.shape[axis], length).to(grids.device))
    return grids


def gather(values: Tensor, grid: tuple[int, ...]) -> Tensor:
    """Values (K, *positions) by cell, (K, *grid): the mean over the positions of each."""
    for axis, cells in enumerate(grid, 1):
        length = values.shape[axis]
        if length != cells:
            share = torch.zeros(cells, length, dtype=values.dtype, device=values.device)
            share[cells_of(cells, length), torch.arange(length, device="cpu")] = 1
            share = share / share.sum(1, keepdim=True)  # (cells, length)
            values = torch.tensordot(values.movedim(axis, -1), share, ([-1], [1])).movedim(-1, axis)
    return values
