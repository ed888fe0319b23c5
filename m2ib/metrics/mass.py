"""How much of an input does a map keep? The control for metrics that a map of ones fools."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

import numpy as np
from numpy.typing import ArrayLike

from m2ib.errors import InputError
from m2ib.metrics.base import Metric
from m2ib.metrics.checks import Arrays, floats, map_list


def scaled(values: ArrayLike) -> np.ndarray:
    """A map of any shape, min-max scaled to [0, 1], float64.

    A constant map has no range: above 0 it becomes all ones, so that the uniform control keeps everything; at or
    below 0 it becomes all zeros. Constant is meant to the last bit: rounding noise would be scaled up too.

    Raises :class:`InputError` for an empty map and for NaN.
    """
    found = floats("scaled", "the map", values)
    if not found.size:
        raise InputError(f"scaled: the map of shape {found.shape} is empty; give one with at least one place")
    low, high = found.min(), found.max()
    if low == high:
        return np.full(found.shape, float(high > 0))
    return np.asarray((found - low) / (high - low))


def mean_mass(values: ArrayLike) -> float:
    """The mean of the :func:`scaled` map: the share of the input that multiplying by it keeps."""
    return float(scaled(values).mean())


class MeanMass(Metric):
    """The mean of the map, min-max scaled to [0, 1]: 1 for a map of ones.

    A share in [0, 1], and no merit by itself: of two maps with the same drop in confidence, the lower one chose
    better.
    """

    name, title, unit, better = "mass", "Mean mass", "share", "lower"
    summary = (
        "How much of the input the map keeps: the mean of its values once scaled; a map of ones keeps all."
    )

    def update(self, maps: Arrays, keys: Iterable[Hashable] | None = None) -> None:
        """maps  N maps in a list, or (N, ...); a single one is ``[map]``
        keys  N ids, kept beside the scores

        Raises :class:`InputError` for other shapes and NaN.
        """
        self._add([mean_mass(values) for values in map_list(self._who, "maps", maps)], keys)
