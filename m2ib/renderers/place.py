"""Where the cells of a grid lie along an axis, and what the map is in between."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from m2ib.contract.layout import Axis


def even(count: int, low: float, high: float) -> np.ndarray:
    """(count,) centres of equal cells that fill ``low`` to ``high``."""
    return low + (np.arange(count) + 0.5) / count * (high - low)


def middles(axis: Axis) -> np.ndarray:
    """(cells,) centres of an axis' spans, in its own unit."""
    return np.array([(start + end) / 2 for start, end in axis.spans])


def follow(points: np.ndarray, known: np.ndarray, places: np.ndarray) -> np.ndarray:
    """``places`` at ``points`` where they are known at ``known`` (rising): linear, beyond the ends as well."""
    if len(known) == 1:
        return np.full(np.shape(points), places[0], dtype=np.float64)
    left = np.clip(np.searchsorted(known, points, side="right") - 1, 0, len(known) - 2)
    slope = (places[left + 1] - places[left]) / (known[left + 1] - known[left])
    return np.asarray(places[left] + (points - known[left]) * slope, dtype=np.float64)


def weights(centres: np.ndarray, length: int) -> np.ndarray:
    """(length, cells): how much each cell has in each of ``length`` pixels, whose centres are .5, 1.5, ...

    Linear between the cells' centres (in pixels, rising or falling), constant beyond the outer ones.
    """
    order = np.argsort(centres)
    points = np.arange(length) + 0.5
    unit = np.eye(len(centres))[order]  # (cells, cells)
    return np.stack([np.interp(points, centres[order], column) for column in unit.T], 1)


def spread(grid: np.ndarray, y: np.ndarray, x: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(rows, cols) with centres ``y`` (rows,) and ``x`` (cols,) in pixels -> ``size``; float64."""
    return np.asarray(weights(y, size[0]) @ grid.astype(np.float64) @ weights(x, size[1]).T)


def upsample(grid: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bilinear, (rows, cols) -> size, half-pixel centres."""
    rows, cols = grid.shape
    return spread(grid, even(rows, 0, size[0]), even(cols, 0, size[1]), size)


def ticks(low: float, high: float, most: int) -> list[float]:
    """At most about ``most`` round numbers from ``low`` to ``high``; none for an empty range."""
    if not high > low:
        return []
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(step * n, 12) for n in range(first, last + 1)]


def moments(low: float, high: float, most: int) -> list[float]:
    """As :func:`ticks`, of seconds: round minutes and hours where the range is long."""
    if high - low <= 60:
        return ticks(low, high, most)
    step = next((step for step in _STEPS if (high - low) / step <= most), 86_400)
    return [float(moment) for moment in range(math.ceil(low / step) * step, math.floor(high) + 1, step)]


_STEPS = (15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 43_200)


def clock(seconds: float, whole: float, digits: int = 0) -> str:
    """A moment of something that takes ``whole`` seconds: "1.5 s", or from a minute on "0:01" or "0:00:01"."""
    if whole < 60:
        return f"{seconds:.{digits}f} s" if digits else f"{seconds:g} s"
    ticking = round(seconds, digits)
    minutes, rest = divmod(ticking, 60)
    shown = f"{rest:0{3 + digits if digits else 2}.{digits}f}"
    if whole < 3600:
        return f"{minutes:.0f}:{shown}"
    return f"{minutes // 60:.0f}:{minutes % 60:02.0f}:{shown}"


def figures(value: float) -> str:
    """Four digits, without an exponent below ten millions: 0.1234, 15,820."""
    if not 999.95 <= abs(value) < 1e7:
        return f"{value:.4g}"
    return f"{float(f'{value:.4g}'):,.0f}"


def flatness(values: np.ndarray, against: np.ndarray | None = None) -> str:
    """A warning of values that hardly differ, from each other or from ``against``; "" for others.

    A map fills its scale however small the differences are, and must not impress by that.
    """
    low, high = float(values.min(initial=np.inf)), float(values.max(initial=0.0))
    if high <= 0 or values.size < 2:
        return ""
    if against is not None:
        lead = float(np.abs(values - against).max()) / high
        return (
            f"the two sides hardly differ: by {100 * lead:.2g} % of the highest value at most"
            if lead < 0.05
            else ""
        )
    if (high - low) / high >= 0.05:
        return ""
    return f"nearly flat: the highest is only {100 * (high - low) / low:.2g} % above the lowest"


def hertz_text(value: float) -> str:
    """440 -> "440 Hz", 1200 -> "1.2 kHz"."""
    return f"{value / 1000:.3g} kHz" if value >= 1000 else f"{value:.3g} Hz"


def brief(value: float) -> str:
    """Three digits, or all of a larger number: 2.11, 12710."""
    return f"{value:.0f}" if 1000 <= abs(value) < 1e7 else f"{value:.3g}"


def rounded(values: Sequence[float] | np.ndarray) -> list[float]:
    """To a millionth, for a page."""
    return [round(float(value), 6) for value in values]
