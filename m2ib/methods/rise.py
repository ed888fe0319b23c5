"""``rise``: RISE (Petsiuk, Das and Saenko, BMVC 2018). What is left visible when the similarity is high?

With f the cosine to the other side, x . M the input of which the mask M leaves M(t), between 0 and 1, of position t,
and K random masks::

    S(t) = E[ f(x . M) | M(t) = 1 ]                                                   (Eq. 2)
         ~ sum_k f(x . M_k) M_k(t) / sum_k M_k(t)                                     k = 1 .. K

The paper divides by K E[M] instead (Eq. 6), the coverage as it is expected. With few masks that leaves in the map
where chance covered more: f of an input that says nothing is seldom 0, and a position that is visible in more
masks would collect more of it. The coverage as it was takes that out, and is the same in the limit.

What can be hidden gradually is covered as in the paper (Section 3.2): a coarse grid of cells that are 1 with
probability p, enlarged linearly along each axis by a cell more than is needed, and cut at a random place. An axis
with no more positions than cells is not enlarged. S is a cell's mean over its positions.

A token is kept with probability p. Tokens that are never hidden have the mean of f over all masks, the same as one
that makes no difference. So has a position that no mask happened to show.

An input that was given segments as units has them hidden as one: t is a segment then, each kept with probability p. Where
there are no more ways to keep some than ``masks``, each is looked at once, weighed by its probability, and S is the
expectation itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from m2ib.contract.degradation import gather
from m2ib.contract.targets import Targets
from m2ib.methods.base import Batch, Map, Method, PreparedBatch, Settings, degradation_of
from m2ib.methods.hiding import Hidden, parts, passes


@dataclass(frozen=True)
class SmoothMasks:
    """Masks as they were drawn, small; ``masks[a:b]`` are those from a to b in full.

    coarse  (K, *cells) float32, 0 or 1
    first   (axes, K) where each is cut along each axis
    shape   of the positions
    """

    coarse: Tensor
    first: Tensor
    shape: tuple[int, ...]

    @classmethod
    def draw(
        cls, number: int, shape: Sequence[int], cells: Sequence[int], keep: float, seed: int
    ) -> SmoothMasks:
        """``number`` masks for positions of this ``shape``, from ``cells`` along each axis."""
        random = np.random.default_rng(seed)
        coarse = (random.random((number, *cells)) < keep).astype(np.float32)
        first = [random.integers(0, size, number) for size in map(_size, shape, cells)]
        return cls(torch.from_numpy(coarse), torch.from_numpy(np.stack(first)), tuple(shape))

    def to(self, device: torch.device) -> SmoothMasks:
        return SmoothMasks(self.coarse.to(device), self.first.to(device), self.shape)

    def __getitem__(self, part: slice) -> Tensor:
        """(k, *shape) float32 in [0, 1]."""
        masks = self.coarse[part]
        for axis, length in enumerate(self.shape, 1):
            few = masks.shape[axis]
            if few == length:
                continue
            rows = masks.movedim(axis, -1)  # (k, ..., cells)
            flat, size = rows.reshape(len(rows), -1, few), (few + 1) * _size(length, few)
            wide = interpolate(flat, size=size, mode="linear", align_corners=False)  # (k, ..., enlarged)
            places = torch.arange(length, device=wide.device)
            index = (self.first[axis - 1, part, None, None] + places).expand(-1, wide.shape[1], -1)
            masks = wide.gather(-1, index).reshape(*rows.shape[:-1], length).movedim(-1, axis)
        return masks


def _size(length: int, cells: int) -> int:
    """Of a coarse cell, in positions, rounded up."""
    return -(-length // cells)


def prepare(batch: Batch, settings: Settings) -> PreparedBatch:
    """Masks are drawn for each shape; inputs of one shape see the same."""
    inputs = Hidden.each(batch, settings.layer)
    gradual = degradation_of(batch.encoder).gradual

    def draw(one: Hidden) -> tuple[SmoothMasks, Tensor | None]:
        shape = _shape(one)
        if one.segments is not None and one.players <= np.log2(settings.masks):
            return every_mask(one.players, settings.keep)
        cells = (
            [min(settings.cells, length) for length in shape] if gradual and one.segments is None else shape
        )
        return SmoothMasks.draw(settings.masks, shape, cells, settings.keep, settings.seed), None

    drawn = {(_shape(one), one.segments is None): draw(one) for one in inputs}
    masks = {key: (every.to(batch.model.device), weights) for key, (every, weights) in drawn.items()}

    def maps(targets: Targets, advance: Callable[[], None]) -> list[Map]:
        sums = [_Sums(one, *masks[_shape(one), one.segments is None]) for one in inputs]
        for part in parts(settings.masks):
            for each, target in zip(sums, targets, strict=True):
                each.add(part, target)
            advance()
        return [each.map() for each in sums]

    return PreparedBatch(batch.embed(), maps)


def _shape(one: Hidden) -> tuple[int, ...]:
    """Of a mask."""
    return one.positions if one.segments is None else (one.players,)


def every_mask(players: int, keep: float) -> tuple[SmoothMasks, Tensor]:
    """All of the masks (2 ** players, players), and their probabilities where each player is kept with ``keep``."""
    rows = (np.arange(2**players)[:, None] >> np.arange(players)) & 1  # (K, players)
    weights = keep ** rows.sum(1) * (1 - keep) ** (players - rows.sum(1))
    first = torch.zeros(1, len(rows), dtype=torch.int64)
    return SmoothMasks(torch.from_numpy(rows).float(), first, (players,)), torch.from_numpy(weights)


class _Sums:
    """The sums over masks, of one input."""

    def __init__(self, one: Hidden, masks: SmoothMasks, weights: Tensor | None) -> None:
        self.one, self._masks, self._weights = one, masks, weights
        self._weighed = torch.zeros(masks.shape, dtype=torch.float64, device="cpu")
        self._covered = torch.zeros_like(self._weighed)
        self._scored = self._seen = 0.0

    def add(self, part: slice, target: Targets) -> None:
        """part  of the masks; nothing where there are no more"""
        masks = self._masks[part]  # (k, *shape)
        if not len(masks):
            return
        if self.one.segments is None:
            shown = places = self.one.shown(masks)
        else:
            shown, places = masks, self.one.by_player(masks.cpu().numpy())
        scores = self.one.similarities(places, target)  # (k,) of places (k, *positions)
        counts = torch.ones_like(scores) if self._weights is None else self._weights[part].to(scores)
        shown = shown.to(scores.dtype)
        self._weighed += torch.tensordot(scores * counts, shown, dims=1).cpu().double()  # (*shape)
        self._covered += torch.tensordot(counts, shown, dims=1).cpu().double()
        self._scored += float((scores * counts).double().sum())
        self._seen += float(counts.double().sum())

    def map(self) -> Map:
        usual = self._scored / self._seen
        values = torch.where(self._covered > 0, self._weighed / self._covered, usual)  # (*shape)
        if self.one.segments is not None:
            return self.one.map(values.numpy(), usual)
        return Map(gather(values[None], self.one.grid)[0].numpy())


def method() -> Method:
    return Method(
        prepare,
        "cosine",
        steps=lambda settings: passes(settings.masks),
        additive=False,
        draws=True,
        signs="none",
    )
