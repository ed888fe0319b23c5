"""Which position is which part of an input, proven by changing parts of the input.

A stem of patches turns each patch into one token. So: change a part of the input and see which positions of layer -1
change. Changing all of it tells how many positions the input has at all (class and register tokens stay as they are);
square patches of one size make that number of cells for at most a few grids; and for each such grid the cells are told apart
by their number in binary: in each round those with the bit set are changed, in the next one the others. A position that
changes in exactly one of the two, every time, spells the number of the one cell that it comes from.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor

from m2ib.activations.capture import record, replaced_value
from m2ib.adapting.layers import embedded
from m2ib.adapting.shapes import keeps_proportions, shape_text
from m2ib.adapting.views import view_of
from m2ib.contract.encoder import Encoder
from m2ib.contract.inputs import Inputs, Item
from m2ib.contract.layout import Layout
from m2ib.contract.model import Model
from m2ib.errors import AdapterError

Grid = tuple[int, ...]
_SAME = 1e-5  # of the largest value: less is rounding


class Proof:
    """Makes items of an encoder's inputs, with the layout proven once for each shape."""

    def __init__(self, model: Model, encoder: Encoder, *, looked_at: bool) -> None:
        self._model = model
        self._looked_at = looked_at  # whether the axes of named layers were found with an example
        self._encoder = encoder
        self._known: dict[object, Layout] = {}
        self._steps: dict[object, int] = {}  # of patches, whose last one may leave a border

    def item(self, inputs: Any, origin: dict[str, Any]) -> Item:
        """Inputs without batch axis as an :class:`Item`. Raises :class:`AdapterError` for a layout that is not proven."""
        if not isinstance(inputs, (Tensor, dict)):
            raise AdapterError(
                f"{self._encoder.modality}: prepare gives a {type(inputs).__name__}; it must be a tensor, a dict of tensors, "
                "or an m2ib.Item"
            )
        key = shape_text(inputs)
        if key not in self._known:
            self._known[key] = self._said(inputs) or self._proven(inputs)
        layout, view = view_of(inputs, self._known[key], self._steps.get(key))
        return Item(inputs, layout, view, {**origin, "inputs": key})

    def _said(self, inputs: Inputs) -> Layout | None:
        """The encoder's own layout, where it has one and takes inputs of this shape. Raises :class:`AdapterError`."""
        layout = self._encoder.layout
        if layout is not None:
            with self._model.running():
                embedded(
                    self._model,
                    self._encoder.embed,
                    self._model.collate_one(inputs),
                    f"adapt: {self._encoder.modality}",
                )
        return layout

    def stride(self, inputs: Inputs) -> tuple[int, ...] | None:
        """The step from cell to cell in the input, where the layout was proven with one; else None."""
        known, step = self._known.get(shape_text(inputs)), self._steps.get(shape_text(inputs))
        if known is None or known.grid is None or step is None:
            return None
        return (step,) * len(known.grid)

    def shown(self, inputs: Inputs) -> Layout | None:
        """What the activations of such inputs show, whatever an author says of them; None where they show nothing."""
        return self._looked_into(inputs)[0]

    def _looked_into(self, inputs: Inputs) -> tuple[Layout | None, dict[int, tuple[int, ...]]]:
        """The layout, if it can be proven, and the shapes that were seen by layer."""
        model, encoder = self._model, self._encoder
        batch = model.collate_one(inputs)
        with model.running():
            embedded(model, encoder.embed, batch, f"adapt: {encoder.modality}")
            last = len(encoder.blocks) - 1
            outputs = record(encoder, batch, -1).outputs | record(encoder, batch, last).outputs
            shapes = {n: tuple(encoder.layer(n).read(outputs[n]).shape) for n in sorted(outputs)}
            positions = [_positions(shape, encoder.layer(n).channel_axis) for n, shape in shapes.items()]
            return self._layout(batch, positions), shapes

    def _proven(self, inputs: Inputs) -> Layout:
        found, shapes = self._looked_into(inputs)
        if found is None:
            encoder = self._encoder
            lines = "; ".join(f"layer {n} ({encoder.layer(n).name}): {shape}" for n, shape in shapes.items())
            example = "; or give adapt an example, to find which axes hold batch and channels"
            raise AdapterError(
                f"{encoder.modality}: the layout cannot be proven. Seen: input {shape_text(inputs)}; {lines}. Say which positions "
                "are which: Encoder(layout=m2ib.Layout(grid=(rows, columns), index=(...))), or let prepare give an "
                f"m2ib.Item with the layout of each input{'' if self._looked_at else example}"
            )
        return found

    def _layout(self, batch: Inputs, positions: list[Grid]) -> Layout | None:
        if not isinstance(batch, Tensor):
            return None
        sizes = tuple(batch.shape[1:])
        if not batch.is_floating_point():
            same = len(sizes) == 1 and all(grid == sizes for grid in positions)
            return Layout(sizes) if same else None
        if all(len(grid) > 1 for grid in positions):
            return Layout() if all(keeps_proportions(grid, sizes) for grid in positions) else None
        if len(set(positions)) != 1:
            return None
        return self._tokens(batch)

    def _tokens(self, batch: Tensor) -> Layout | None:
        """Patches of the last two axes, or of the last one."""
        before = self._stem(batch)  # (T, C)
        touched = self._changed(batch, before, torch.ones(batch.shape[1:], dtype=torch.bool))  # (T,)
        count = int(touched.sum())
        for grid, step in _grids(tuple(batch.shape[1:]), count):
            index = self._told_apart(batch, before, grid, step)
            if index is not None:
                self._steps[shape_text(batch[0])] = step
                whole = index == list(range(len(before)))
                return Layout(grid, None if whole else tuple(index))
        return None

    def _told_apart(self, batch: Tensor, before: Tensor, grid: Grid, step: int) -> list[int] | None:
        """For each cell the one position that it alone changes; None where that is not so."""
        cells = prod(grid)
        numbers = _cell_of(batch, grid, step)  # as the input: the cell that a value lies in, -1 for none
        spelt = torch.zeros(len(before), dtype=torch.long)
        told = torch.ones(len(before), dtype=torch.bool)
        for bit in range(max(1, (cells - 1).bit_length())):
            inside = numbers >= 0
            high = self._changed(batch, before, inside & ((numbers >> bit) & 1).bool())
            low = self._changed(batch, before, inside & ~((numbers >> bit) & 1).bool())
            told &= high ^ low
            spelt += high.long() << bit
        places = {int(spelt[place]): place for place in told.nonzero().flatten().tolist()}
        if int(told.sum()) != cells or sorted(places) != list(range(cells)):
            return None
        return [places[cell] for cell in range(cells)]

    def _changed(self, batch: Tensor, before: Tensor, where: Tensor) -> Tensor:
        """(T,) which positions of layer -1 change with the input's values ``where``."""
        draw = torch.Generator().manual_seed(0)
        noise = (1 + torch.rand(batch.shape, generator=draw)).to(batch) * batch.std().clamp_min(1)
        after = self._stem(torch.where(where.to(batch.device), batch + noise, batch))
        return ((after - before).abs().amax(-1) > _SAME * before.abs().max()).cpu()

    def _stem(self, batch: Tensor) -> Tensor:
        """(T, C) the activation of layer -1; what comes after it is not run."""
        layer, seen = self._encoder.layer(-1), list[Tensor]()

        def stop(value: Any) -> Any:
            seen.append(layer.read(value)[0])
            raise _Seen

        with torch.no_grad(), replaced_value(layer, stop), suppress(_Seen):
            self._encoder.embed(batch)
        return seen[0].float()


@dataclass(frozen=True)
class Described:
    """The ``describe`` of an encoder that tells none: what is proven of a tensor, and no more."""

    proof: Proof

    def __call__(self, inputs: Any) -> Item:
        return self.proof.item(inputs, {"source": "tensor"})


class _Seen(Exception):
    """What was looked for has passed."""


def _positions(shape: tuple[int, ...], channel_axis: int) -> Grid:
    return tuple(size for axis, size in enumerate(shape) if axis not in (0, channel_axis % len(shape)))


def _grids(sizes: tuple[int, ...], cells: int) -> Iterator[tuple[Grid, int]]:
    """Grids of so many cells over the last two axes in square steps, then over the last one; with the step."""
    for axes in (2, 1):
        if len(sizes) > axes or (axes == 1 and sizes):
            last = sizes[-axes:]
            for step in range(1, min(last) + 1):
                grid = tuple(size // step for size in last)
                if prod(grid) == cells:
                    yield grid, step


def _cell_of(batch: Tensor, grid: Grid, step: int) -> Tensor:
    """The number of the cell that each value of one input lies in; -1 beyond the last whole one."""
    number = torch.zeros((), dtype=torch.long)
    outside = torch.zeros((), dtype=torch.bool)
    for cells, size in zip(grid, batch.shape[-len(grid) :], strict=True):
        place = torch.arange(size) // step  # (size,)
        number = number[..., None] * cells + place.clamp_max(cells - 1)
        outside = outside[..., None] | (place >= cells)
    return number.masked_fill(outside, -1).expand(batch.shape[1:])
