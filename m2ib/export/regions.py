"""Connected regions of a map: boxes and masks in pixels of the raw picture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from m2ib.contract.arrays import cells_at
from m2ib.errors import SettingError
from m2ib.export.rows import shares
from m2ib.results.rows import RowSide

THRESHOLD = 0.5


@dataclass(frozen=True, eq=False)
class HotRegion:
    """Cells above a threshold that share a side.

    score   the share of the map's values that lie in it, from 0 to 1
    box     (left, top, width, height) in whole pixels
    area    pixels
    counts  run lengths of its mask (rows, columns) in pixels, column by column, of 0 first, as COCO's
    """

    score: float
    box: tuple[int, int, int, int]
    area: int
    counts: tuple[int, ...]


def check_threshold(threshold: float | None, percentile: float | None) -> None:
    """Raises :class:`SettingError`."""
    for name, value, most in (("threshold", threshold, 1), ("percentile", percentile, 100)):
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if value is not None and not (number and 0 <= value < most):
            raise SettingError(f"{name}: {value!r:.40} is not from 0 to below {most}")
    if threshold is not None and percentile is not None:
        raise SettingError("threshold: give it or a percentile, not both")


def hot_regions(side: RowSide, threshold: float | None, percentile: float | None) -> Iterator[HotRegion]:
    """The regions of a map whose cells lie in a picture, the one with the greatest share first.

    threshold   what a cell has to be above: so much of the way from where heat begins to where it is full, as on a page, see
                ``Attribution.full``; None: .5
    percentile  in place of it, this percentile of the map's own cells

    A cell's pixels are those whose middle lies in it; regions without any are left out.
    """
    grid = side.grid
    if not grid.size or not grid.max() > grid.min():
        return
    full = side.stored.full
    low, high = (grid.min(), grid.max()) if full is None else (min(grid.min(), 0.0), max(grid.max(), full))
    line = low + (THRESHOLD if threshold is None else threshold) * (high - low)
    labels, count = ndimage.label(grid > (line if percentile is None else np.percentile(grid, percentile)))
    share = ndimage.sum_labels(shares(grid), labels, range(1, count + 1))
    rows, columns = (cells_at(axis, length) for axis, length in zip(side.axes, side.raster, strict=True))
    for number in np.argsort(-np.asarray(share), kind="stable"):
        found = _region(labels == number + 1, rows, columns, float(share[number]))
        if found is not None:
            yield found


def _region(cells: np.ndarray, rows: np.ndarray, columns: np.ndarray, score: float) -> HotRegion | None:
    """Of a mask of the cells; ``rows`` and ``columns`` are the cells at each pixel."""
    padded = np.pad(cells, ((0, 1), (0, 1)))  # -1 is no cell
    height = len(rows)
    edges = {cell: _edges(padded[rows, cell]) for cell in np.unique(columns).tolist()}
    across = [x for x, cell in enumerate(columns.tolist()) if edges[cell].size]
    if not across:
        return None
    used = np.concatenate([edges[cell] for cell in np.unique(columns[across]).tolist()])
    left, right, top, bottom = across[0], across[-1], int(used.min()), int(used.max())
    places = np.concatenate([edges[columns[x]] + x * height for x in across])
    ends, times = np.unique(places, return_counts=True)
    ends = ends[times == 1]  # a run that goes on in the next column ends where that begins
    counts = np.diff(np.concatenate([[0], ends, [height * len(columns)]]))
    return HotRegion(
        score, (left, top, right - left + 1, bottom - top), int(counts[1::2].sum()), tuple(counts.tolist())
    )


def _edges(mask: np.ndarray) -> np.ndarray:
    """Where runs of True begin and end."""
    return np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
