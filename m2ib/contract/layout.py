"""Which positions of an activation are what: cells of a grid, tokens, axes in the raw input's own terms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod

import numpy as np

from m2ib.contract.schema import bounded, require
from m2ib.errors import AdapterError, InputError


@dataclass(frozen=True)
class Token:
    """One token of a text.

    text     the token as the reader knows it, or the special token's name
    start    offset of its first character in the text; equal to ``end`` for a special token
    end      offset after its last character
    special  True for start, end, class, separator and padding tokens
    """

    text: str
    start: int
    end: int
    special: bool = False

    def __post_init__(self) -> None:
        require(
            self.special
            or 0 <= self.start <= self.end,  # one that stands for no part of the text may say anything
            f"token {self.text!r:.40}",
            (self.start, self.end),
            "0 <= start <= end",
        )


@dataclass(frozen=True)
class Axis:
    """One axis of a grid in the raw input's own terms.

    name   "time", "frequency", "row", "column", "clip", ...
    unit   of the spans: "s", "Hz", "px", ...
    spans  (start, end) of each cell along the axis, in the raw input; cells may overlap
    """

    name: str
    unit: str
    spans: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        who = f"axis {self.name!r:.40}: spans"
        require(bool(self.spans), who, self.spans, "(start, end) of one cell or more")
        for span in self.spans:
            require(len(span) == 2 and bounded(span), who, span, "(start, end) in finite numbers")


@dataclass(frozen=True)
class Layout:
    """Which positions of an activation are what, for one input.

    An activation of one input has the shape ``positions x channels``: (T,) positions for a transformer,
    (H, W) for a convolutional map. ``index`` and ``read`` speak of positions in flattened order.

    grid    shape of what is explained, e.g. (7, 7) patches or (tokens,); None takes the activation's
            own position axes, whatever the layer (convolutional encoders)
    index   positions of the grid's cells, in the grid's order, length prod(grid); None: all, in order.
            Positions that are read but not in the grid (class and register tokens) carry noise and KL
            and stay out of the map
    read    the number of leading positions the model reads: the rest is padding and carries nothing.
            None: all of them
    tokens  for texts: one :class:`Token` for each cell of the grid
    axes    for everything that is measured: one :class:`Axis` for each axis of the grid; () where unknown. Where the grid
            depends on the layer, those of the finest one: the cells of the others are runs of these
    """

    grid: tuple[int, ...] | None = None
    index: tuple[int, ...] | None = None
    read: int | None = None
    tokens: tuple[Token, ...] = ()
    axes: tuple[Axis, ...] = ()

    def __post_init__(self) -> None:
        for name, kind in (("tokens", Token), ("axes", Axis)):
            for each in getattr(self, name):
                if not isinstance(each, kind):
                    raise AdapterError(f"Layout: {name} holds {each!r:.60}, which is no m2ib.{kind.__name__}")
        require(
            self.grid is None or (len(self.grid) > 0 and min(self.grid) >= 0),
            "Layout: grid",
            self.grid,
            "lengths of one axis or more",
        )
        names = [name for axis in self.axes for name in (axis.name, f"{axis.name}_start", f"{axis.name}_end")]
        require(
            len({*names}) == len(names),
            "Layout: axes",
            [axis.name for axis in self.axes],
            "of different names",
        )

    def cells(self, positions: tuple[int, ...]) -> np.ndarray:
        """(cells,) which of the flattened ``positions`` are the grid's, in its order."""
        every = np.arange(np.prod(positions, dtype=int))
        if self.index is not None:
            return np.array(self.index)
        return every if self.read is None else every[: self.read]

    def splits(self, shape: Sequence[int]) -> bool:
        """Whether a grid of this shape is that of the layout, or has each of its cells split by shifts."""
        grid = self.grid or ()
        return len(grid) == len(shape) and all(
            found % cells == 0 if cells else found == 0 for cells, found in zip(grid, shape, strict=True)
        )

    def shaped(self, values: np.ndarray, positions: tuple[int, ...]) -> np.ndarray:
        """Values of the cells (cells,) as the grid of an activation with these positions."""
        shape = positions if self.grid is None else self.grid
        turned = self.index is None and len(shape) == len(positions) > 1 and shape != positions
        if turned or values.size != prod(shape):
            raise InputError(
                f"layout: a grid of {shape} does not fit {values.size} positions of an activation "
                f"with {positions}; the adapter's layout and layer disagree{_cure(shape, values.size, positions)}"
            )
        return values.reshape(shape)

    def to_grid(self, values: np.ndarray) -> np.ndarray:
        """Pick the grid out of per-position ``values``, shaped like the positions."""
        return self.shaped(values.reshape(-1)[self.cells(values.shape)], values.shape)


def _cure(grid: tuple[int, ...], found: int, positions: tuple[int, ...]) -> str:
    """What to write, by the positions that are left for a grid."""
    cells = prod(grid)
    if len(positions) > 1 and grid == positions[::-1]:
        return f": the axes are the other way round; give Layout(grid={positions}), or Layout(), which takes what there is"
    if len(positions) > 1:
        return (
            ": where the blocks give maps, Layout() takes each layer's own grid, and the Layer's channel_axis tells a map "
            "(N, C, rows, columns) by 1 from (N, rows, columns, C) by -1"
        )
    if found > cells:
        return (
            f": {found - cells} more than cells. Where class or register tokens come first, "
            f"Layout(grid={grid}, index=tuple(range({found - cells}, {found}))) leaves them out"
        )
    return ": where tokens are merged on the way, a grid holds for the layers before that alone; leave the others out"


def even_axis(name: str, unit: str, cells: int, first: float, last: float) -> Axis:
    """So many cells of one length, from ``first`` to ``last``."""
    step = (last - first) / cells
    return Axis(name, unit, tuple((first + step * at, first + step * (at + 1)) for at in range(cells)))


def axes_at(axes: tuple[Axis, ...], shape: Sequence[int]) -> tuple[Axis, ...]:
    """The axes of a grid of this shape: cells may have been split by shifts, or lie at a layer of fewer ones.

    As they are where they do not fit.
    """
    if len(axes) != len(shape):
        return axes
    return tuple(_at_size(axis, size) for axis, size in zip(axes, shape, strict=True))


def _at_size(axis: Axis, size: int) -> Axis:
    cells = len(axis.spans)
    if size > cells:
        return refined(axis, size // cells)
    if size == cells or cells % size:
        return axis
    run = cells // size
    runs = (axis.spans[start : start + run] for start in range(0, cells, run))
    spans = tuple((min(map(min, spans)), max(map(max, spans))) for spans in runs)
    return Axis(axis.name, axis.unit, spans)


def refined(axis: Axis, count: int) -> Axis:
    """``axis`` with each cell split in ``count``.

    Cells that overlap, or lie apart, are first cut to what is nearer to them than to their neighbours.
    """
    starts, ends = np.array(axis.spans, dtype=np.float64).T  # (cells,)
    between = (ends[:-1] + starts[1:]) / 2
    first, last = starts[0], ends[-1]
    if between.size:  # the outer cells are cut on both sides alike
        first, last = first + (ends[0] - starts[1]) / 2, last - (ends[-2] - starts[-1]) / 2
    edges = np.concatenate([[first], between, [last]])  # (cells + 1,)
    fine = _between(edges, count).tolist()
    return Axis(axis.name, axis.unit, tuple((min(pair), max(pair)) for pair in pairwise(fine)))


def _between(edges: np.ndarray, count: int) -> np.ndarray:
    """(cells * count + 1,) points on a smooth curve through ``edges`` (cells + 1,): hertz are not evenly spaced."""
    slopes = np.gradient(edges, edge_order=2 if len(edges) > 2 else 1)
    t = np.arange(count) / count
    left, right = edges[:-1, None], edges[1:, None]  # (cells, 1)
    begin, end = slopes[:-1, None] - right + left, slopes[1:, None] - right + left
    bend = t * (1 - t) * ((1 - t) * begin - t * end)
    inner = left + t * (right - left) + bend  # (cells, count), the cubic of these ends and slopes
    return np.append(inner, edges[-1])
