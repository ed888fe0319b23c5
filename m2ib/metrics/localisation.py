"""Does a map lie where the evidence is known to be?

A mask is the union of the true regions on the map's cells. A sample whose mask is empty has no score.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Hashable, Iterable
from numbers import Real

import numpy as np

from m2ib.errors import SettingError
from m2ib.metrics.base import Metric
from m2ib.metrics.checks import Arrays, masked_maps
from m2ib.metrics.ranks import ranks


def pointing(values: np.ndarray, mask: np.ndarray) -> float:
    """Whether the highest of ``values`` (P,) lies in ``mask`` (P,); of several highest ones, their share that does."""
    return float(mask[values == values.max()].mean())


def mass_share(values: np.ndarray, mask: np.ndarray) -> float:
    """The share of the map's mass that lies in ``mask``, both (P,).

    Negative values count as 0; a map without mass counts as even.
    """
    mass = values.clip(0)
    total = float(mass.sum(dtype=np.float64))
    return float(mass[mask].sum(dtype=np.float64)) / total if total > 0 else float(mask.mean())


def mass_over_area(values: np.ndarray, mask: np.ndarray) -> float:
    """:func:`mass_share` over the mask's share of the area; 1 is chance, NaN if the mask is empty."""
    return mass_share(values, mask) / float(mask.mean()) if mask.any() else math.nan


def iou(chosen: np.ndarray, mask: np.ndarray) -> float:
    """Of two sets of places, (P,) bool: what both hold over what either holds; NaN if both are empty."""
    either = int((chosen | mask).sum())
    return int((chosen & mask).sum()) / either if either else math.nan


def auc(values: np.ndarray, mask: np.ndarray) -> float:
    """How often a place in ``mask`` is higher than one outside it, equal ones counting half; NaN if either is empty."""
    inside, outside = int(mask.sum()), int((~mask).sum())
    if not inside or not outside:
        return math.nan
    return float((ranks(values)[mask].sum() - inside * (inside + 1) / 2) / (inside * outside))


def above_percentile(values: np.ndarray, percentile: float = 75.0) -> np.ndarray:
    """Bool, of the same shape: strictly above that percentile (linear between values). Nowhere in a constant map."""
    return np.asarray(values > np.percentile(values, percentile))


class _RegionMetric(Metric):
    @abstractmethod
    def _score(self, values: np.ndarray, mask: np.ndarray) -> float:
        """Of one map and its mask, of one shape; the mask is not empty."""

    def update(self, maps: Arrays, masks: Arrays, keys: Iterable[Hashable] | None = None) -> None:
        """maps   N maps in a list, or (N, ...); a single one is ``[map]``
        masks  likewise, bool or 0 and 1, each of its map's shape
        keys   N ids, kept beside the scores

        Raises :class:`InputError` for other shapes and NaN.
        """
        pairs = masked_maps(self._who, maps, masks)
        self._add([self._score(values, mask) if mask.any() else math.nan for values, mask in pairs], keys)


class LocalisationIoU(_RegionMetric):
    """IoU of the places above the map's 75th percentile with the true regions (Wang et al. 2023, Eq. 16).

    percentile  0 <= percentile < 100

    A share in [0, 1], which the paper prints in per cent. Higher is better. Nothing is above the percentile of a
    constant map, so it has 0.
    """

    name, title, unit, better = "iou", "Localisation IoU", "share", "higher"
    summary = "How well the highest quarter of the map and the true region agree: what both hold over what either holds."
    settings_names = ("percentile",)

    def __init__(self, percentile: float = 75.0) -> None:
        """Raises :class:`SettingError` for a percentile out of range."""
        super().__init__()
        number = isinstance(percentile, Real) and not isinstance(percentile, bool)
        if not number or not 0 <= percentile < 100:
            raise SettingError(
                f"{self._who}: percentile={percentile!r} is out of range; give 0 <= percentile < 100"
            )
        self.percentile = float(percentile)

    def _score(self, values: np.ndarray, mask: np.ndarray) -> float:
        return iou(above_percentile(values, self.percentile), mask)


class PointingGame(_RegionMetric):
    """Whether the highest place lies in a true region; of several highest ones, their share (Zhang et al. 2018).

    A share in [0, 1]. Higher is better. There is no margin of tolerance around the regions.
    """

    name, title, unit, better = "pointing", "Pointing game", "share", "higher"
    summary = "How often the highest place of the map lies in the true region."

    def _score(self, values: np.ndarray, mask: np.ndarray) -> float:
        return pointing(values, mask)


class MassInRegion(_RegionMetric):
    """The share of the map's mass in the true regions (relevance mass accuracy, Arras et al. 2022).

    A share in [0, 1]. Higher is better; chance is the mask's share of the area. Negative values count as 0; a map
    without mass counts as even.
    """

    name, title, unit, better = "mass-in-region", "Mass in region", "share", "higher"
    summary = "The share of the map's sum that lies in the true region; by chance it is the region's share of the area."

    def _score(self, values: np.ndarray, mask: np.ndarray) -> float:
        return mass_share(values, mask)
