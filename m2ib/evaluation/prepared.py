"""Pairs whose inputs are ready for a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from m2ib.contract.encoder import Encoder
from m2ib.contract.inputs import Item
from m2ib.contract.model import Model
from m2ib.contract.similarity import joined
from m2ib.data.pairs import Pair
from m2ib.evaluation.truth import Truth, truth_of


@dataclass(frozen=True)
class PreparedPair:
    """A pair, its number in its data, and its two inputs as a model takes them."""

    number: int
    pair: Pair
    items: tuple[Item, Item]

    @cached_property
    def truths(self) -> tuple[Truth | None, Truth | None]:
        """What is known of each input."""
        return truth_of(self.pair, 0, self.items[0]), truth_of(self.pair, 1, self.items[1])


def prepared(model: Model, number: int, pair: Pair) -> PreparedPair:
    """Raises :class:`InputError` for an input that the model does not take."""
    first, second = (model.item(modality, raw) for modality, raw in pair.inputs)
    return PreparedPair(number, pair, (first, second))


def by_shape(encoder: Encoder, items: Sequence[Item]) -> list[list[int]]:
    """Numbers of the inputs that share a batch, in order."""
    groups: dict[object, list[int]] = {}
    for number, item in enumerate(items):
        groups.setdefault(encoder.batch_key(item.inputs), []).append(number)
    return list(groups.values())


def embeddings(model: Model, modality: str, place: int, pairs: Sequence[PreparedPair]) -> Tensor:
    """(N, D) of length 1, or sets (N, K, D), input by input, so that no figure depends on a batch."""
    precision = torch.float64 if model.dtype == torch.float64 else torch.float32
    rows = []
    with torch.no_grad():
        for each in pairs:
            inputs = model.collate(modality, [each.items[place]])
            rows.append(model.sound(modality, model.encoder(modality).embed(inputs)).to(precision))
    return model.unit(joined(rows)) if rows else torch.zeros(0, 1)
