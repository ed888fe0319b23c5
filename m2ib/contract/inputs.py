"""One input, ready for its encoder; and inputs as a batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from m2ib.contract.layout import Layout
from m2ib.contract.segments import PlacedSegments

Inputs = Tensor | dict[str, Tensor]
"""What an encoder takes: one tensor, or several by name; all with the batch axis first."""


@dataclass(frozen=True)
class Item:
    """One input, ready for its encoder.

    inputs  as the encoder takes it, without the batch axis
    layout  what its positions are
    view    what the renderer shows; see the renderer
    origin  where it came from and what was done to it, JSON-able: becomes part of the provenance
    segments  what a user wants to be one unit each; None: nothing
    """

    inputs: Inputs
    layout: Layout
    view: Any
    origin: Mapping[str, Any] = field(default_factory=dict)
    segments: PlacedSegments | None = None


def stack(items: Sequence[Inputs]) -> Inputs:
    """Inputs of equal shape, stacked along a new batch axis."""
    first = items[0]
    if isinstance(first, Tensor):
        return torch.stack([item for item in items if isinstance(item, Tensor)])
    return {key: torch.stack([item[key] for item in items if isinstance(item, dict)]) for key in first}


def each_tensor(inputs: Inputs, change: Callable[[Tensor], Tensor]) -> Inputs:
    """Inputs with each of their tensors changed."""
    if isinstance(inputs, Tensor):
        return change(inputs)
    return {name: change(tensor) for name, tensor in inputs.items()}


def first_of(raw: Any) -> tuple[Any, int] | None:
    """The first of what would be several raw inputs, and how many there are; None of what cannot be several."""
    if isinstance(raw, Mapping):
        found = {name: first_of(value) for name, value in raw.items()}
        counts = {each[1] for each in found.values() if each is not None}
        if None in found.values() or len(counts) != 1:
            return None
        return {name: each[0] for name, each in found.items() if each is not None}, counts.pop()
    several = raw.ndim > 1 if isinstance(raw, (Tensor, np.ndarray)) else isinstance(raw, (list, tuple))
    return (raw[0], len(raw)) if several and len(raw) else None


def repeat(tensor: Tensor, copies: int) -> Tensor:
    """(N, ...) -> (N * copies, ...), each row ``copies`` times in a row; a view when N is 1."""
    return tensor.unsqueeze(1).expand(-1, copies, *tensor.shape[1:]).flatten(0, 1)


def repeat_inputs(inputs: Inputs, copies: int) -> Inputs:
    """:func:`repeat` for an encoder's inputs."""
    return each_tensor(inputs, lambda tensor: repeat(tensor, copies))


def row(inputs: Inputs, number: int) -> Inputs:
    """One input of a batch, as a batch of one."""
    return each_tensor(inputs, lambda tensor: tensor[number : number + 1])
