"""Numbers, times and frequencies as people read them on a page or a figure, and the ticks of its axes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def ticks(low: float, high: float, most: int) -> list[float]:
    """At most about ``most`` round numbers from ``low`` to ``high``; none for an empty range."""
    if not high > low:
        return []
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(step * n, 12) for n in range(first, last + 1)]


def time_ticks(low: float, high: float, most: int) -> list[float]:
    """As :func:`ticks`, of seconds: round minutes and hours where the range is long."""
    if high - low <= 60:
        return ticks(low, high, most)
    step = next((step for step in _STEPS if (high - low) / step <= most), 86_400)
    return [float(moment) for moment in range(math.ceil(low / step) * step, math.floor(high) + 1, step)]


_STEPS = (15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 43_200)


def format_time(seconds: float, whole: float, digits: int = 0) -> str:
    """A moment of something that takes ``whole`` seconds: "1.5 s", or from a minute on "0:01" or "0:00:01"."""
    if whole < 60:
        return f"{seconds:.{digits}f} s" if digits else f"{seconds:g} s"
    ticking = round(seconds, digits)
    minutes, rest = divmod(ticking, 60)
    shown = f"{rest:0{3 + digits if digits else 2}.{digits}f}"
    if whole < 3600:
        return f"{minutes:.0f}:{shown}"
    return f"{minutes // 60:.0f}:{minutes % 60:02.0f}:{shown}"


def format_number(value: float) -> str:
    """Four digits, without an exponent below ten millions: 0.1234, 15,820."""
    if not 999.95 <= abs(value) < 1e7:
        return f"{value:.4g}"
    return f"{float(f'{value:.4g}'):,.0f}"


def number_with(value: float, deviation: float | None = None) -> str:
    """And its standard deviation where there is one, in two digits: 0.1234 ± 0.012."""
    return format_number(value) + ("" if deviation is None else f" ± {deviation:.2g}")


def flatness(values: np.ndarray, against: np.ndarray | None = None) -> str:
    """A warning of values that hardly differ, from each other or from ``against``; "" for others.

    A map fills its scale however small the differences are, and must not impress by that.
    """
    if values.size < 2 or values.max() <= 0:
        return ""
    low, high = float(values.min()), float(values.max())
    if against is not None:
        lead = float(np.abs(values - against).max()) / high
        said = f"the two sides hardly differ: by {100 * lead:.2g} % of the highest value at most"
        return said if lead < 0.05 else ""
    if (high - low) / high >= 0.05:
        return ""
    return f"nearly flat: the highest is only {100 * (high - low) / low:.2g} % above the lowest"


def format_hertz(value: float) -> str:
    """440 -> "440 Hz", 1200 -> "1.2 kHz"."""
    return f"{value / 1000:.3g} kHz" if value >= 1000 else f"{value:.3g} Hz"


def format_short(value: float) -> str:
    """Three digits, or all of a larger number: 2.11, 12710."""
    return f"{value:.0f}" if 1000 <= abs(value) < 1e7 else f"{value:.3g}"


def rounded(values: Sequence[float] | np.ndarray) -> list[float]:
    """To a millionth, for a page."""
    return [round(float(value), 6) for value in values]
