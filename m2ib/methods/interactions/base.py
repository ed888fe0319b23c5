"""What a way to find interactions gets, the two inputs of a pair in their units, and what it gives: a signed matrix."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from m2ib.contract.degradation import fill_cells
from m2ib.contract.interactions import Units
from m2ib.contract.model import Model
from m2ib.contract.words import word_groups
from m2ib.methods.base import Batch, Settings
from m2ib.methods.bottleneck.settings import shifts_by_axis
from m2ib.methods.bottleneck.shifts import Shifts
from m2ib.methods.hiding import Hidden


@dataclass(frozen=True)
class Side:
    """One input of a pair.

    batch     it alone
    settings  of the method, for its modality
    leads     whether its embeddings come first in the model's similarity
    """

    batch: Batch
    settings: Any
    leads: bool = True

    @cached_property
    def grid(self) -> tuple[int, ...]:
        """The shape of its cells."""
        return self.batch.grids(self.settings.layer)[0]

    @cached_property
    def shifts(self) -> Shifts:
        """Of the input, by parts of a cell, where the settings ask for some."""
        step, asked = self.batch.encoder.step(self.settings.layer), getattr(self.settings, "shifts", 1)
        if step is None or asked == 1:
            return Shifts()
        return Shifts(shifts_by_axis(self.batch.modality, asked, step), step)

    @cached_property
    def _shape(self) -> tuple[int, ...]:
        """Of units that are cells: split by shifts; runs of neighbours along the longest axes are one where there are more than the
        settings allow, as far as the axes can be divided evenly."""
        shape = list(self.grid)
        for place, count in enumerate(reversed(self.shifts.counts), 1):
            shape[-place] *= count
        while math.prod(shape) > getattr(self.settings, "units", math.inf):
            fewer = {length: _divided(length) for length in shape if _divided(length) > 1}
            if not fewer:
                break
            shape[shape.index(max(fewer))] = fewer[max(fewer)]
        return tuple(shape)

    @cached_property
    def units(self) -> Units:
        """Words of a text, and cells of anything else; tokens where it is not told which text they are of."""
        if self._words is None:
            return Units(self.batch.modality, self._shape)
        text = self.batch.items[0].view["text"]
        names = tuple(text[start:end] for start, end, _ in self._words)
        return Units(self.batch.modality, (len(names),), names)

    @cached_property
    def _words(self) -> list[tuple[int, int, list[int]]] | None:
        item = self.batch.items[0]
        if not item.layout.tokens or not isinstance(item.view, Mapping) or "text" not in item.view:
            return None
        return word_groups(str(item.view["text"]), item.layout.tokens) or None

    @cached_property
    def cells(self) -> Tensor:
        """(units, cells) float64: 1 where a cell, in flattened order, is in a unit; of cells that are not split."""
        if self._words is None:
            each = torch.eye(math.prod(self._shape), dtype=torch.float64)
            return fill_cells(each.view(-1, *self._shape), self.grid).flatten(1)
        found = torch.zeros(len(self._words), math.prod(self.grid), dtype=torch.float64)
        for number, (_, _, held) in enumerate(self._words):
            found[number, held] = 1
        return found

    @cached_property
    def hidden(self) -> Hidden:
        """For hiding its units. Raises :class:`InputError` where it is not known how."""
        return Hidden.each(self.batch, self.settings.layer)[0]

    def without(self, kept: Tensor) -> Tensor:
        """Embeddings (K, ...) of the input of which only the units ``kept`` (K, units) are left; cells of none stay."""
        gone = (1 - kept.double()) @ self.cells  # (K, cells)
        keep = (1 - gone.clamp(0, 1)).view(len(kept), *self.grid).float().numpy()
        return self.hidden.embeddings(self.hidden.by_cell(keep[:, self.hidden.hideable]))


def _divided(length: int) -> int:
    """The largest number of equal runs of neighbours that an axis has, but for the cells themselves."""
    return next(count for count in range(length // 2, 0, -1) if length % count == 0) if length > 1 else 1


@dataclass(frozen=True)
class PairMethod:
    """One way to find interactions.

    find      (first side, second side) -> (units of the first, units of the second) float64, and what a careful reader has to know
    refuse    why it is not defined for a model; None where it is
    unit      of the values: "nats", or "cosine", which stands for the model's similarity
    settings  makes of the resolved settings, given by name, what a side has
    """

    find: Callable[[Side, Side], tuple[np.ndarray, tuple[str, ...]]]
    refuse: Callable[[Model], str | None] = lambda model: None
    unit: Literal["cosine", "nats"] = "cosine"
    settings: Callable[..., Any] = Settings


def of_directions(model: Model) -> str | None:
    """For :attr:`PairMethod.refuse`."""
    if model.similarity.directions:
        return None
    return f"it multiplies two unit embeddings, and this model compares them by {model.similarity.name}"
