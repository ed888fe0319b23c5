"""What an input is explained against, where that is more than one other input, or a vector."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from m2ib.contract.inputs import Item
from m2ib.contract.model import Model
from m2ib.errors import InputError


@dataclass(frozen=True)
class Ensemble:
    """Several inputs of one modality as one target. See :func:`m2ib.ensemble`."""

    members: tuple[Any, ...]


@dataclass(frozen=True)
class Contrast:
    """An input as seen against others: "why this one rather than those?". See :func:`m2ib.contrast`."""

    this: Any
    others: tuple[Any, ...]


@dataclass(frozen=True, eq=False)
class Embedding:
    """A vector (D,) in place of an input, float64 on the CPU. See :func:`m2ib.embedding`."""

    vector: Tensor

    @classmethod
    def of(cls, given: Any) -> Embedding:
        """Of a tensor, an array or numbers, (D,) or (1, D). Raises :class:`InputError`."""
        try:
            vector = torch.as_tensor(given if isinstance(given, Tensor) else np.asarray(given)).detach()
            if vector.is_complex():
                raise TypeError("complex numbers")
            vector = vector.to("cpu", torch.float64)
        except (TypeError, ValueError, RuntimeError) as error:
            raise InputError(
                f"embedding: give the real numbers of one vector, not a {type(given).__name__}: {error!s:.80}"
            ) from error
        if vector.ndim == 2 and len(vector) == 1:
            vector = vector[0]
        if vector.ndim != 1 or not len(vector):
            raise InputError(f"embedding: give one vector (D,), not {tuple(vector.shape)}")
        if not torch.isfinite(vector).all():
            raise InputError("embedding: the vector holds NaN or infinite values")
        if not vector.any():
            raise InputError("embedding: the vector is 0, and points nowhere")
        return cls(vector.clone())


def members_of(raw: Any) -> tuple[Any, ...]:
    """The inputs of an ensemble; any other input alone. Raises :class:`InputError` for one that is none."""
    members = raw.members if isinstance(raw, Ensemble) else (raw,)
    for member in members:
        if isinstance(member, (Contrast, Ensemble, Embedding)):
            raise InputError(
                f"explain: {type(member).__name__.lower()}() is no input here: a contrast is of inputs and ensembles, "
                "an ensemble of inputs; of vectors give embedding() of their difference or mean"
            )
    return members


def shown_of(raw: Any) -> Any:
    """The input whose map is shown: the first of an ensemble, of a contrast the first of what is held against others."""
    return members_of(raw.this if isinstance(raw, Contrast) else raw)[0]


@dataclass(frozen=True)
class PreparedInput:
    """One of the two inputs of a pair: ready, with all that makes the other one's target.

    items   the input itself; of an ensemble all of them, of which the first one has the map
    others  what it is contrasted to, each likewise
    vector  the target (D,) itself, in place of an input: then the item only tells of it
    """

    modality: str
    items: tuple[Item, ...]
    others: tuple[tuple[Item, ...], ...] = ()
    vector: Tensor | None = None

    @property
    def item(self) -> Item:
        return self.items[0]


def targets_of(model: Model, column: Sequence[PreparedInput], embedding: Tensor) -> Tensor:
    """(N, D) what the other sides are fitted to, of ``embedding`` (N, D) of a column's inputs: unit embeddings, their means, or differences of these."""
    precision = torch.promote_types(model.dtype, torch.float32)
    unit = normalize(embedding.to(precision), dim=-1)  # (N, D)

    def units(modality: str, items: Iterable[Item]) -> list[Tensor]:
        encoder = model.encoder(modality)
        with torch.no_grad():
            made = [
                model.sound(modality, encoder.embed(model.collate(modality, [item])))[0] for item in items
            ]
        return [normalize(each.to(precision), dim=-1) for each in made]

    rows = []
    for side, this in zip(column, unit, strict=True):
        this = _mean([this, *units(side.modality, side.items[1:])], side.modality)
        if not side.others:
            rows.append(this)
            continue
        others = [_mean(units(side.modality, items), side.modality) for items in side.others]
        difference = this - torch.stack(others).mean(0)  # (D,)
        if difference.norm() < 1e-6:
            raise InputError(
                f"contrast: the {side.modality} inputs have the same embedding; there is nothing to tell apart"
            )
        rows.append(difference)
    return torch.stack(rows)


def _mean(units: Sequence[Tensor], modality: str) -> Tensor:
    """Unit vectors (D,) -> that of their mean. Raises :class:`InputError` where they point to all sides."""
    if len(units) == 1:
        return units[0]
    mean = torch.stack(list(units)).mean(0)
    if mean.norm() < 1e-6:
        raise InputError(f"ensemble: the embeddings of the {modality} inputs cancel each other out")
    return normalize(mean, dim=-1)
