"""Where the cells of a grid lie along an axis, and what the map is in between."""

from __future__ import annotations

import numpy as np

from m2ib.contract.layout import Axis


def even_spans(count: int, low: float, high: float) -> np.ndarray:
    """(count, 2) start and end of equal cells that fill ``low`` to ``high``."""
    edges = low + np.arange(count + 1) / count * (high - low)
    return np.stack([edges[:-1], edges[1:]], 1)


def cell_centres(count: int, low: float, high: float) -> np.ndarray:
    """(count,) centres of equal cells that fill ``low`` to ``high``."""
    return low + (np.arange(count) + 0.5) / count * (high - low)


def axis_centres(axis: Axis) -> np.ndarray:
    """(cells,) centres of an axis' spans, in its own unit."""
    return np.array([(start + end) / 2 for start, end in axis.spans])


def interpolate(points: np.ndarray, known: np.ndarray, places: np.ndarray) -> np.ndarray:
    """``places`` at ``points`` where they are known at ``known`` (rising): linear, beyond the ends as well."""
    if len(known) == 1:
        return np.full(np.shape(points), places[0], dtype=np.float64)
    left = np.clip(np.searchsorted(known, points, side="right") - 1, 0, len(known) - 2)
    slope = (places[left + 1] - places[left]) / (known[left + 1] - known[left])
    return np.asarray(places[left] + (points - known[left]) * slope, dtype=np.float64)


def cell_weights(centres: np.ndarray, length: int) -> np.ndarray:
    """(length, cells): how much each cell has in each of ``length`` pixels, whose centres are .5, 1.5, ...

    Linear between the cells' centres (in pixels, rising or falling), constant beyond the outer ones.
    """
    return weights_at(centres, np.arange(length) + 0.5)


def weights_at(centres: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(points, cells): likewise at any points, rising or not."""
    order = np.argsort(centres)
    unit = np.eye(len(centres))[order]  # (cells, cells)
    return np.stack([np.interp(points, centres[order], column) for column in unit.T], 1)


def resample(grid: np.ndarray, y: np.ndarray, x: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(rows, cols) with centres ``y`` (rows,) and ``x`` (cols,) in pixels -> ``size``; float64."""
    return np.asarray(cell_weights(y, size[0]) @ grid.astype(np.float64) @ cell_weights(x, size[1]).T)


def upsample(grid: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bilinear, (rows, cols) -> size, half-pixel centres."""
    rows, cols = grid.shape
    return resample(grid, cell_centres(rows, 0, size[0]), cell_centres(cols, 0, size[1]), size)
