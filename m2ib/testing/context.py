"""What the checks of one encoder look at."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from m2ib.activations.capture import record
from m2ib.contract.encoder import Encoder
from m2ib.contract.inputs import Inputs, Item
from m2ib.contract.model import Model
from m2ib.testing.results import NotApplicable, difference, require, require_embedding

FULL, OWN = "the tail (embed with earlier blocks skipped)", "the encoder's own tail"


@dataclass(frozen=True)
class CheckContext:
    """What a check looks at: one encoder, its examples made ready, and the settings of the kit."""

    model: Model
    encoder: Encoder
    items: tuple[Item, ...]
    tolerance: float

    def batch(self, *items: Item) -> Inputs:
        """Items as the encoder takes them."""
        return self.model.collate(self.encoder.modality, items)

    def collatable(self) -> Iterator[tuple[int, ...]]:
        """Numbers of the items that can run in one batch, group by group."""
        groups: dict[object, list[int]] = {}
        for number, item in enumerate(self.items):
            groups.setdefault(self.encoder.batch_key(item.inputs), []).append(number)
        yield from map(tuple, groups.values())

    def places(self, item: Item, layer: int) -> np.ndarray:
        """The positions of an input's activation at a layer, numbered in flattened order."""
        activation = record(self.encoder, self.batch(item), layer).activation  # (1, ...)
        channels = self.encoder.layer(layer).channel_axis % activation.ndim
        shape = [size for axis, size in enumerate(activation.shape) if axis not in (0, channels)]
        return np.arange(math.prod(shape)).reshape(shape)

    def tails(self) -> dict[str, bool]:
        """The ways from a layer to the embedding: name in messages -> ``fast``."""
        return {FULL: False} if self.encoder.tail is None else {FULL: False, OWN: True}

    def declared(self, name: str) -> Any:
        """What the encoder says under this name. Raises :class:`NotApplicable` where it is None."""
        value = getattr(self.encoder, name)
        if value is None:
            raise NotApplicable
        return value

    def require_embedding(self, out: Any, rows: int, who: str, given: str) -> None:
        """Raise :class:`CheckFailed` unless ``who`` gave embeddings of so many inputs as the model's similarity takes."""
        require_embedding(out, rows, who, given, sets=self.model.similarity.sets)

    def require_close(self, value: Tensor, reference: Tensor, message: str, hint: str = "") -> None:
        """Raise :class:`CheckFailed` with the message, the relative error and the hint unless they are equal enough."""
        error = difference(value, reference)
        require(error <= self.tolerance, f"{message} (relative error {error:.1e}){hint}")

    def named(self, number: int) -> str:
        """A layer in messages."""
        return f"layer {number} ({self.encoder.layer(number).name})"
