"""Known regions of an input, as masks and as boxes: where something is, whatever a map says."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from m2ib.contract.layout import Axis
from m2ib.errors import InputError, did_you_mean


@dataclass(frozen=True, eq=False)
class Region:
    """A named part of a raw input.

    name  of what is there
    mask  bool, one value for each cell of the axes: True where it is
    axes  where the cells lie in the raw input, in its own units
    main  whether it is the one that was asked for: drawn solid, the others dashed

    Raises :class:`InputError` for a mask that does not fit its axes.
    """

    name: str
    mask: np.ndarray
    axes: tuple[Axis, ...]
    main: bool = True

    def __post_init__(self) -> None:
        who, cells = f"region {self.name!r}", tuple(len(axis.spans) for axis in self.axes)
        if self.mask.dtype != bool:
            raise InputError(f"{who}: its mask holds {self.mask.dtype}; give booleans, as in mask > 0.5")
        if self.mask.shape != cells:
            raise InputError(
                f"{who}: its mask has the shape {self.mask.shape}, its axes ({_named(self.axes)}) have {cells} cells"
            )

    def along(self, name: str) -> Region:
        """The same with this axis alone: True where any cell of the others is."""
        place = next(n for n, axis in enumerate(self.axes) if axis.name == name)
        others = tuple(n for n in range(len(self.axes)) if n != place)
        return replace(self, mask=np.asarray(self.mask.any(others)), axes=(self.axes[place],))

    def rings(self) -> list[np.ndarray]:
        """Closed rings (corners, 2) around the True cells, in the units of the two axes."""
        first, second = (_edges(axis) for axis in self.axes)
        return [np.stack([first[ring[:, 0]], second[ring[:, 1]]], 1) for ring in rings(self.mask)]

    def touches(self, start: float, end: float) -> bool:
        """Of a region with one axis: whether a True cell lies between ``start`` and ``end``."""
        (axis,) = self.axes
        return any(
            there and low < end and start < high
            for (low, high), there in zip(axis.spans, self.mask.tolist(), strict=True)
        )


def regions_of(
    masks: Mapping[str, Any], axes: Sequence[Axis], highlight: str | None = None
) -> tuple[Region, ...]:
    """Regions out of masks by name, all on the same axes.

    highlight  the name of the one that was asked for; None: all are drawn alike

    Raises :class:`InputError`.
    """
    if not isinstance(masks, Mapping):
        raise InputError(f"regions: give masks by name, as in {{'bell': mask}}, not {masks!r:.60}")
    if highlight is not None and highlight not in masks:
        hint = did_you_mean(highlight, masks)
        raise InputError(
            f"regions: highlight={highlight!r} is none of them{hint} There are {', '.join(map(repr, masks)) or 'none'}"
        )
    return tuple(
        Region(str(name), np.asarray(mask), tuple(axes), highlight in (None, name))
        for name, mask in masks.items()
    )


def check_axes(
    regions: Sequence[Region], wanted: Sequence[tuple[str, str]], modality: str
) -> tuple[Region, ...]:
    """The regions, if they have the axes (name, unit) that a renderer can place. Raises :class:`InputError`."""
    for region in regions:
        if [(axis.name, axis.unit) for axis in region.axes] != list(wanted):
            needed = ", ".join(_label(name, unit) for name, unit in wanted)
            raise InputError(
                f"region {region.name!r}: over an input of modality {modality!r} it has the axes {needed}, "
                f"not {_named(region.axes) or 'none'}"
            )
    return tuple(regions)


def check_outlines(regions: Sequence[Region]) -> None:
    """Raises :class:`InputError` for more than can be drawn."""
    edges = sum(
        int(np.count_nonzero(np.diff(region.mask, axis=n)))
        for region in regions
        for n in range(region.mask.ndim)
    )
    if len(regions) > _REGIONS or edges > _EDGES:
        raise InputError(
            f"regions: there are {len(regions):,} with {edges:,} sides of cells to be outlined; {_REGIONS:,} with {_EDGES:,} are the most"
        )


_REGIONS, _EDGES = 2**10, 2**18


def rings(mask: np.ndarray) -> list[np.ndarray]:
    """Closed rings (corners, 2) of (row, column) around the True cells of a mask (rows, columns), int.

    Corner (0, 0) is the upper left one of cell (0, 0). The cells lie to the right of the way; cells that touch
    at a corner alone have rings of their own.
    """
    around = np.pad(mask, 1)
    # for each side of a cell: its neighbour there, the side's first corner, the way along it
    steps = (
        ((-1, 0), (0, 0), (0, 1)),
        ((0, 1), (0, 1), (1, 0)),
        ((1, 0), (1, 1), (0, -1)),
        ((0, -1), (1, 0), (-1, 0)),
    )
    # sides that have not been walked: (row, column) of the first corner, (rows, columns) to the next
    left = set()
    for (down, right), (row, column), way in steps:
        neighbour = np.roll(around, (-down, -right), (0, 1))
        for r, c in np.argwhere((around & ~neighbour)[1:-1, 1:-1]).tolist():
            left.add((r + row, c + column, *way))
    found = []
    for first in sorted(left):
        if first not in left:
            continue
        side = first
        ring: list[tuple[int, int]] = []
        while side != first or not ring:
            left.discard(side)
            row, column, down, right = side
            row, column = row + down, column + right
            for way in ((right, -down), (down, right), (-right, down)):  # right, straight on, left
                side = (row, column, *way)
                if side in left or side == first:
                    break
            if way != (down, right):
                ring.append((row, column))
        found.append(np.array(ring))
    return found


def _edges(axis: Axis) -> np.ndarray:
    """(cells + 1,) borders of an axis' cells: midway between one's end and the next one's start."""
    starts, ends = np.array(axis.spans, dtype=np.float64).reshape(-1, 2).T
    return np.concatenate([starts[:1], (ends[:-1] + starts[1:]) / 2, ends[-1:]])


def _named(axes: Sequence[Axis]) -> str:
    return ", ".join(_label(axis.name, axis.unit) for axis in axes)


def _label(name: str, unit: str) -> str:
    return f"{name} ({unit})" if unit else name


@dataclass(frozen=True)
class Box:
    """A rectangle in an image: its left upper corner and its size, in pixels of the raw image.

    Raises :class:`InputError` for one without an area.
    """

    x: float
    y: float
    width: float
    height: float
    label: str = ""

    def __post_init__(self) -> None:
        numbers = (self.x, self.y, self.width, self.height)
        if not all(map(math.isfinite, numbers)) or self.width <= 0 or self.height <= 0:
            raise InputError(
                f"box {self.label!r}: x, y, width, height are {numbers}; give finite numbers, width and height above 0"
            )

    @property
    def region(self) -> Region:
        """As a region of one cell."""
        rows = Axis("row", "px", ((self.y, self.y + self.height),))
        columns = Axis("column", "px", ((self.x, self.x + self.width),))
        return Region(self.label, np.ones((1, 1), bool), (rows, columns))
