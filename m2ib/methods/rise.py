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

    def draw(shape: tuple[int, ...]) -> SmoothMasks:
        cells = [min(settings.cells, length) for length in shape] if gradual else shape
        return SmoothMasks.draw(settings.masks, shape, cells, settings.keep, settings.seed)

    drawn = {one.positions: draw(one.positions).to(batch.model.device) for one in inputs}

    def maps(targets: Targets, advance: Callable[[], None]) -> list[Map]:
        sums = [_Sums(one) for one in inputs]
        for part in parts(settings.masks):
            masks = {shape: every[part] for shape, every in drawn.items()}
            for each, target in zip(sums, targets, strict=True):
                each.add(masks[each.one.positions], target)
            advance()
        return [each.map() for each in sums]

    return PreparedBatch(batch.embed(), maps)


class _Sums:
    """The sums over masks, of one input."""

    def __init__(self, one: Hidden) -> None:
        self.one = one
        self._weighed = torch.zeros(one.positions, dtype=torch.float64, device="cpu")
        self._covered = torch.zeros_like(self._weighed)
        self._scores: list[Tensor] = []

    def add(self, masks: Tensor, target: Targets) -> None:
        """masks  (k, *positions)"""
        shown = self.one.shown(masks)
        scores = self.one.similarities(shown, target)  # (k,)
        shown = shown.to(scores.dtype)
        self._weighed += torch.tensordot(scores, shown, dims=1).cpu().double()  # (*positions)
        self._covered += shown.sum(0).cpu().double()
        self._scores.append(scores.cpu().double())

    def map(self) -> Map:
        usual = torch.cat(self._scores).mean()
        values = torch.where(self._covered > 0, self._weighed / self._covered, usual)  # (*positions)
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
