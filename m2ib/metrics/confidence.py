"""Does what a map keeps of one input still agree with the other input? (Wang et al. 2023, Eq. 17 and 18.)

o is the cosine of the two original embeddings, s the cosine after one side was degraded by its map: an image times
its map in [0, 1], a text without the tokens that are not above the median (Chattopadhay et al. 2018, Grad-CAM++,
with class scores). A map of ones takes nothing out and has a drop of 0: read both beside :class:`MeanMass`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Iterable

import numpy as np
from numpy.typing import ArrayLike

from m2ib.errors import InputError
from m2ib.metrics.base import Metric
from m2ib.metrics.checks import numbers

_ROUNDING = 0.01  # by which a cosine in half precision may pass 1


def confidence_drop(original: np.ndarray, degraded: np.ndarray) -> np.ndarray:
    """100 max(0, o - s), per cent of an absolute cosine, for each sample (N,). Lower is better."""
    return np.asarray(100 * np.maximum(0.0, original - degraded))


def confidence_increase(original: np.ndarray, degraded: np.ndarray) -> np.ndarray:
    """100 where o < s, 0 elsewhere, for each sample (N,): its mean is the per cent that rise. Higher is better."""
    return 100.0 * (original < degraded)


class _CosineMetric(Metric):
    @staticmethod
    @abstractmethod
    def _scores_of(original: np.ndarray, degraded: np.ndarray) -> np.ndarray:
        """(N,) of cosines (N,) each."""

    def update(
        self, original: ArrayLike, degraded: ArrayLike, keys: Iterable[Hashable] | None = None
    ) -> None:
        """original  (N,) or a single number: the cosine o
        degraded  likewise: the cosine s
        keys      N ids, kept beside the scores

        Raises :class:`InputError` for other shapes and for what is no cosine.
        """
        before, after = numbers(self._who, original=original, degraded=degraded)
        for what, values in (("original", before), ("degraded", after)):
            (strange,) = np.nonzero(np.abs(values) > 1 + _ROUNDING)
            if len(strange):
                raise InputError(
                    f"{self._who}: {what}[{strange[0]}] is {values[strange[0]]:g}, which is no cosine; "
                    "give cosines in [-1, 1], without a logit scale"
                )
        self._add(self._scores_of(before, after), keys)


class ConfidenceDrop(_CosineMetric):
    """100 max(0, o - s): by how much the cosine falls, in per cent of an absolute cosine. Lower is better."""

    name, title, unit, better = "drop", "Confidence drop", "%", "lower"
    summary = "How far the similarity falls when only what the map keeps of the input is left."
    _scores_of = staticmethod(confidence_drop)


class ConfidenceIncrease(_CosineMetric):
    """Whether the cosine rises, o < s, as 100 or 0 per cent. Higher is better."""

    name, title, unit, better = "increase", "Confidence increase", "%", "higher"
    summary = "How often the similarity rises when only what the map keeps of the input is left."
    _scores_of = staticmethod(confidence_increase)
