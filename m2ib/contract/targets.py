"""What an input is explained against, where that is more than one other input, or a vector."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from m2ib.contract.inputs import Item
from m2ib.contract.model import Model
from m2ib.contract.similarity import Similarity, joined, present
from m2ib.errors import AdapterError, InputError


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


@dataclass(frozen=True, eq=False)
class Targets:
    """What N inputs are explained against: called with their embeddings, it says how close they are to it.

    similarity  the model's
    vectors     (N, P, D), or sets (N, P, K, D): embeddings of the other sides, P to each input
    weights     (N, P) of them in a sum of similarities
    leads       whether the embeddings that are explained come first in the similarity

    Indexed, and gone through, it gives those of some of the inputs. A method that compares by cosines itself may give it to
    torch's functions in place of the tensor (N, D) of its vectors.
    """

    similarity: Similarity
    vectors: Tensor
    weights: Tensor
    leads: bool = True

    @classmethod
    def of(cls, model: Model, given: Tensor | Targets, leads: bool = True) -> Targets:
        """Of embeddings (N, D) or (N, K, D), one to each input."""
        if isinstance(given, Targets):
            return given
        return cls(model.similarity, given[:, None], given.new_ones(len(given), 1), leads)

    @classmethod
    def between(
        cls, model: Model, these: Sequence[Tensor], others: Sequence[Tensor], leads: bool = True
    ) -> Targets:
        """How much closer to one embedding (...) than to another, for N of both; unit ones of directions."""
        if model.similarity.directions:
            apart = torch.stack([this - other for this, other in zip(these, others, strict=True)])
            return cls.of(model, apart, leads)
        rows = [[(this, 1.0), (other, -1.0)] for this, other in zip(these, others, strict=True)]
        return _stacked(model.similarity, rows, leads)

    def __call__(self, embeddings: Tensor) -> Tensor:
        """(N * copies, ...), the copies of an input next to each other -> (N * copies,), differentiable, in the targets' dtype."""
        count, parts = self.weights.shape
        own = embeddings.to(self.vectors.dtype).unflatten(0, (count, -1))[:, :, None]  # (N, copies, 1, ...)
        other = self.vectors.to(embeddings.device)[:, None]  # (N, 1, P, ...)
        shape = count, own.shape[1], parts
        pair = [each.expand(*shape, *each.shape[3:]).flatten(0, 2) for each in (own, other)]
        close = self.similarity(*(pair if self.leads else pair[::-1]))  # (N * copies * P,)
        weighed: Tensor = close.unflatten(0, shape) * self.weights.to(close)[:, None]
        return weighed.sum(-1).flatten()

    def closeness(self, others: Targets) -> Tensor:
        """(N,) how close the targets of the two sides of pairs are; these are for what ``others`` are made of."""
        sums = [
            self(part) * weight
            for part, weight in zip(others.vectors.unbind(1), others.weights.T, strict=True)
        ]
        return torch.stack(sums).sum(0)

    def to(self, device: torch.device, dtype: torch.dtype) -> Targets:
        return replace(self, vectors=self.vectors.to(device, dtype), weights=self.weights.to(device, dtype))

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def device(self) -> torch.device:
        return self.vectors.device

    def __getitem__(self, rows: int | slice | Sequence[int] | None) -> Targets:
        """Those of one input, or of several; a single one has its axis already, and None adds none."""
        if rows is None:
            return self
        chosen = [rows] if isinstance(rows, int) else rows
        return replace(self, vectors=self.vectors[chosen], weights=self.weights[chosen])

    def __iter__(self) -> Iterator[Targets]:
        return map(self.__getitem__, range(len(self)))

    def less(self, usual: Sequence[Tensor]) -> Targets:
        """Less the mean over ``usual`` embeddings (...), unit ones of directions."""
        if self.similarity.directions:
            return replace(self, vectors=self.vectors - torch.stack([*usual]).mean(0).to(self.vectors))
        taken = [(each.to(self.vectors), -1 / len(usual)) for each in usual]
        rows = [
            [*zip(vectors, weights.tolist(), strict=True), *taken]
            for vectors, weights in zip(self.vectors, self.weights, strict=True)
        ]
        return _stacked(self.similarity, rows, self.leads)

    def __neg__(self) -> Targets:
        return replace(self, weights=-self.weights)

    @classmethod
    def __torch_function__(
        cls, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        def plain(given: Any) -> Any:
            if isinstance(given, (list, tuple)):
                return type(given)(map(plain, given))
            return given._plain() if isinstance(given, Targets) else given

        return function(*map(plain, args), **{name: plain(given) for name, given in (kwargs or {}).items()})

    def _plain(self) -> Tensor:
        """(N, D). Raises :class:`AdapterError` where no one vector stands for a target."""
        if not self.similarity.directions:
            raise AdapterError(
                f"a method compares embeddings by itself, and this model compares them by {self.similarity.name}; let it "
                "call targets(embeddings)"
            )
        return (self.vectors * self.weights[..., None])[:, 0]


def targets_of(
    model: Model,
    column: Sequence[PreparedInput],
    embedding: Tensor,
    *,
    leads: bool,
    instead: Sequence[Sequence[Tensor]] = (),
) -> Targets:
    """What the other sides are fitted to, of ``embedding`` (N, ...) of a column's inputs.

    Of directions: unit embeddings, their means, or differences of these. Otherwise all of them, weighed.

    leads    whether the other sides come first in the similarity
    instead  for each input, embeddings (...) that stand in its place one after the other: the targets of N * k inputs
    """
    precision = torch.promote_types(model.dtype, torch.float32)
    units = model.unit(embedding.to(precision))  # (N, ...)

    def others(modality: str, items: Iterable[Item]) -> list[Tensor]:
        encoder = model.encoder(modality)
        with torch.no_grad():
            made = [model.sound(modality, encoder.embed(model.collate(modality, [item]))) for item in items]
        return [model.unit(each.to(precision))[0] for each in made]

    join = _directions if model.similarity.directions else _weighed
    rows: list[list[tuple[Tensor, float]]] = []
    for number, (side, this) in enumerate(zip(column, units, strict=True)):
        against = [others(side.modality, items) for items in side.others]
        own = [this, *others(side.modality, side.items[1:])]
        several = [[each] for each in instead[number]] if instead else [own]
        rows += [join(side.modality, each, against) for each in several]
    return _stacked(model.similarity, rows, leads)


def explained_by(
    function: Callable[[Tensor, Tensor], Tensor], targets: Targets, unit: Callable[[Tensor], Tensor]
) -> Targets:
    """Targets of a caller's own: ``function(embeddings, other)``, embeddings (N, ...) as ``unit`` gives them -> (N,)."""
    sets = targets.similarity.sets
    own = Similarity(named(function), lambda one, other: function(unit(one), other), sets=sets, zero=None)
    return replace(targets, similarity=own, leads=True)


def named(target: Any) -> str:
    """How a target is called in what is saved: by its name, a function by its own."""
    return target if isinstance(target, str) else str(getattr(target, "__name__", type(target).__name__))


def with_target(pair: Sequence[tuple[str, Any]], target: Any) -> list[tuple[str, Any]]:
    """A pair with a contrast or an ensemble in place of the input that it begins with. Raises :class:`InputError`."""
    first = shown_of(target)
    alike = [raw is first or (isinstance(raw, str) and raw == first) for _, raw in pair]
    if alike.count(True) != 1:
        kind = type(target).__name__.lower()
        raise InputError(
            f"target: a {kind} begins with one of the two inputs, as in text='a cat', target=m2ib.{kind}('a cat', 'a dog'); "
            f"{first!r:.60} is {'both' if all(alike) else 'neither'} of them"
        )
    return [(modality, target if same else raw) for (modality, raw), same in zip(pair, alike, strict=True)]


def _directions(
    modality: str, own: Sequence[Tensor], against: Sequence[Sequence[Tensor]]
) -> list[tuple[Tensor, float]]:
    """The mean of unit vectors (D,), less that of others' means, as one vector."""
    this = _mean(own, modality)
    if against:
        this = this - torch.stack([_mean(each, modality) for each in against]).mean(0)  # (D,)
        if this.norm() < 1e-6:
            raise _nothing_between(modality)
    return [(this, 1.0)]


def _weighed(
    modality: str, own: Sequence[Tensor], against: Sequence[Sequence[Tensor]]
) -> list[tuple[Tensor, float]]:
    """All the embeddings, with the weights that a mean of means has, less one of the others'."""
    if against and len(own) == 1 and all(len(each) == 1 and _same(own[0], each[0]) for each in against):
        raise _nothing_between(modality)
    parts = [(each, 1 / len(own)) for each in own]
    return parts + [(each, -1 / len(group) / len(against)) for group in against for each in group]


def _same(one: Tensor, other: Tensor) -> bool:
    one, other = (each[present(each)] if each.ndim > 1 else each for each in (one, other))
    return one.shape == other.shape and torch.allclose(one, other, atol=1e-6)


def _nothing_between(modality: str) -> InputError:
    return InputError(
        f"contrast: the {modality} inputs have the same embedding; there is nothing to tell apart"
    )


def _stacked(similarity: Similarity, rows: Sequence[Sequence[tuple[Tensor, float]]], leads: bool) -> Targets:
    """Rows of (embedding, weight) with one number of each: a row's first stands in, of weight 0."""
    most = max(map(len, rows))
    filled = [[*row, *[(row[0][0], 0.0)] * (most - len(row))] for row in rows]
    vectors = joined([each[None] for row in filled for each, _ in row]).unflatten(0, (len(rows), most))
    weights = vectors.new_tensor([[weight for _, weight in row] for row in filled])
    return Targets(similarity, vectors, weights, leads)


def _mean(units: Sequence[Tensor], modality: str) -> Tensor:
    """Unit vectors (D,) -> that of their mean. Raises :class:`InputError` where they point to all sides."""
    if len(units) == 1:
        return units[0]
    mean = torch.stack(list(units)).mean(0)
    if mean.norm() < 1e-6:
        raise InputError(f"ensemble: the embeddings of the {modality} inputs cancel each other out")
    return normalize(mean, dim=-1)
