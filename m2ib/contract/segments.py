"""Parts of a raw input that stand for one each: masks, superpixels, phrases, notes; and what a map holds in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from m2ib.contract.layout import Axis
from m2ib.contract.schema import check_array, require

REST = "rest"
"""What lies in none of the parts that were asked for."""

Laid = Callable[[tuple[int, ...]], tuple[tuple[int, ...], tuple[Axis, ...]]]
"""Of a map's shape, the size of the raw input's raster, () of what has none, and where the map's cells lie in it."""

MOST_SEGMENTS = 2**10


@dataclass(frozen=True, eq=False)
class Segments:
    """Parts of one raw input, none of which shares a place with another.

    names   of the parts
    labels  whole numbers: n where the n-th part is, counted from 1, and 0 where there is none
    axes    where the cells of ``labels`` lie in the raw input, some of its map's axes in their order; (): evenly over the whole
            of a picture, or of a text's characters
    values  (parts,) what the map holds in each, in its unit; None before there is a map
    hidden  whether the values come of hiding each as one, and not of the map
    """

    names: tuple[str, ...]
    labels: np.ndarray
    axes: tuple[Axis, ...] = ()
    values: np.ndarray | None = None
    hidden: bool = False

    def __post_init__(self) -> None:
        count, cells = len(self.names), tuple(len(axis.spans) for axis in self.axes)
        require(0 < count <= MOST_SEGMENTS, "segments: their number", count, f"from 1 to {MOST_SEGMENTS:,}")
        check_array("segments: labels", self.labels, cells or None, "iu")
        found = (int(self.labels.min(initial=0)), int(self.labels.max(initial=0)))
        require(found[0] >= 0 and found[1] <= count, "segments: labels", found, f"from 0 to {count}")
        if self.values is not None:
            check_array("segments: values", self.values, (count,), "f")

    def at(self, size: tuple[int, ...], axes: Sequence[Axis]) -> np.ndarray:
        """Which part the centre of each place along ``axes`` lies in, (places along each), int; 0 for none.

        size  of the raw input's raster, which ``labels`` without axes cover
        """
        found = [self._at(size, own) for _, own in _by_clip(axes, self.axes)]
        return found[0] if found[0].ndim == len(axes) else np.stack(found)

    def _at(self, size: tuple[int, ...], axes: Sequence[Axis]) -> np.ndarray:
        chosen: list[np.ndarray] = []  # of the labels' cells, along each axis that they have; -1 for none
        shape = []
        for axis, edges in self._matched(size, axes):
            shape.append(1 if edges is None else len(axis.spans))
            if edges is not None:
                centres = np.array(axis.spans, dtype=np.float64).mean(1)[:, None]  # (places, 1)
                there = (centres >= edges[:, 0]) & (centres < edges[:, 1])  # (places, cells)
                chosen.append(np.where(there.any(1), there.argmax(1), -1))
        found = np.pad(self.labels, (0, 1))[np.ix_(*chosen)]  # the last along each axis is in none
        return np.broadcast_to(found.reshape(shape), [len(axis.spans) for axis in axes])

    def sums(
        self, grid: np.ndarray, size: tuple[int, ...], axes: Sequence[Axis], *, mean: bool = False
    ) -> np.ndarray:
        """(parts,) float64, what ``grid`` holds in each: a cell counts for a part by how much of it lies there.

        mean  the mean over a part in place of the sum; 0 for one that no cell covers
        """
        held, covered = np.zeros(len(self.names) + 1), np.zeros(len(self.names) + 1)
        for clip, own in _by_clip(axes, self.axes):
            values = grid if clip is None else grid[clip]
            held += self._laid_out(values, size, own, whole=mean)
            if mean:
                covered += self._laid_out(np.ones(values.shape), size, own, whole=True)
        found = held / np.where(covered > 0, covered, 1) if mean else held
        return found[1:]

    def seen(self, size: tuple[int, ...], axes: Sequence[Axis]) -> np.ndarray:
        """(parts,) bool: whether any cell along ``axes`` covers some of it."""
        return self.sums(np.ones([len(axis.spans) for axis in axes]), size, axes) > 0

    def only(self, kept: np.ndarray) -> Segments:
        """Without the parts that are not ``kept`` (parts,) bool."""
        numbers = np.concatenate([[0], np.where(kept, np.cumsum(kept), 0)])
        names = tuple(name for name, there in zip(self.names, kept, strict=True) if there)
        return replace(self, names=names, labels=numbers[self.labels].astype(self.labels.dtype))

    def _matched(
        self, size: tuple[int, ...], axes: Sequence[Axis]
    ) -> Iterator[tuple[Axis, np.ndarray | None]]:
        """Each of ``axes`` with (cells, 2) where the labels' cells start and end along it; None of one that they go all along."""
        if not self.axes:
            for axis, count, length in zip(axes, self.labels.shape, size, strict=True):
                edges = np.arange(count + 1) * length / count
                yield axis, np.stack([edges[:-1], edges[1:]], 1)
            return
        own = {axis.name: np.array(axis.spans, dtype=np.float64) for axis in self.axes}
        for axis in axes:
            yield axis, own.get(axis.name)

    def _laid_out(
        self, values: np.ndarray, size: tuple[int, ...], axes: Sequence[Axis], *, whole: bool
    ) -> np.ndarray:
        """(parts + 1,) what lies in none, and in each part, of ``values`` (*cells) that are spread over their cells.

        whole  a cell counts by its extent, and not as one
        """
        at = 0
        spread = values.astype(np.float64)
        for axis, edges in self._matched(size, axes):
            if edges is None:
                spread = spread.sum(at)
                continue
            spans = np.sort(np.array(axis.spans, dtype=np.float64), 1)  # (cells, 2)
            shares = np.minimum(spans[:, 1:], edges[:, 1]) - np.maximum(spans[:, :1], edges[:, 0])
            shares = shares.clip(0)  # (cells, the labels' cells)
            if not whole:
                shares = shares / np.maximum(spans[:, 1:] - spans[:, :1], 1e-12)
            spread = np.moveaxis(np.tensordot(spread, shares, (at, 0)), -1, at)
            at += 1
        return np.bincount(self.labels.ravel(), spread.ravel(), len(self.names) + 1)


def _by_clip(axes: Sequence[Axis], wanted: Sequence[Axis]) -> Iterator[tuple[int | None, tuple[Axis, ...]]]:
    """The axes of a map, or of each clip of one whose times count from the clip's start: those of its source then."""
    first, names = axes[0], [axis.name for axis in wanted]
    if (first.name, first.unit) != ("clip", "s") or "clip" in names or "time" not in names:
        yield None, tuple(axes)
        return
    for number, (start, _) in enumerate(first.spans):
        yield (
            number,
            tuple(
                replace(axis, spans=tuple((start + low, start + high) for low, high in axis.spans))
                if axis.name == "time"
                else axis
                for axis in axes[1:]
            ),
        )


@dataclass(frozen=True, eq=False)
class PlacedSegments:
    """Those of an input that is ready for its encoder.

    laid  where the cells of any map of this input lie in the raw one
    """

    segments: Segments
    laid: Laid

    @property
    def count(self) -> int:
        return len(self.segments.names)

    def at(self, shape: tuple[int, ...]) -> np.ndarray:
        """Which part each of so many positions lies in: see :meth:`Segments.at`."""
        return self.segments.at(*self.laid(shape))

    def valued(self, grid: np.ndarray, values: np.ndarray | None, *, mean: bool) -> Segments:
        """With ``values`` (parts,) that a method has found for them; None: what ``grid`` holds in each."""
        found = self.segments.sums(grid, *self.laid(grid.shape), mean=mean) if values is None else values
        return replace(self.segments, values=np.asarray(found, np.float64), hidden=values is not None)
