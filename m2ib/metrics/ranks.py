"""What only the order of a map's values decides."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable

import numpy as np
from numpy.typing import ArrayLike

from m2ib.metrics.base import Metric
from m2ib.metrics.checks import Arrays, floats, map_pairs


def ranks(values: np.ndarray) -> np.ndarray:
    """(P,) of values (P,): 1 for the lowest; equal ones share the mean of theirs."""
    # Runs of equal values, and the highest rank in each.
    _, run, counts = np.unique(values, return_inverse=True, return_counts=True, equal_nan=False)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[run])


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's: Pearson's correlation of the :func:`ranks` of two maps of one shape; NaN if either is constant."""
    one, other = (ranks(values.ravel()) - (values.size + 1) / 2 for values in (first, second))  # of mean 0
    norm = math.sqrt(float(one @ one) * float(other @ other))
    return max(-1.0, min(1.0, float(one @ other) / norm)) if norm > 0 else math.nan


def placements(values: ArrayLike, others: ArrayLike) -> np.ndarray:
    """(N,): of each of ``values`` (N,), the share of ``others`` (M,) that it is above, equal ones counting half.

    These are the placement values of Hanley and Hajian-Tilaki 1997; their mean is the AUC. NaN where there are no others.
    Raises :class:`InputError` for NaN.
    """
    found, against = (floats("placements", *each) for each in (("values", values), ("others", others)))
    if not against.size:
        return np.full(found.shape, math.nan)
    against = np.sort(against)
    below = np.searchsorted(against, found, "left") + np.searchsorted(against, found, "right")
    return np.asarray(below / (2 * len(against)))


def order(values: ArrayLike, rng: np.random.Generator) -> np.ndarray:
    """(P,): the places of a map of P places, any shape, in C order, from the highest to the lowest.

    Equal ones come in an order that is drawn. Raises :class:`InputError` for NaN.
    """
    flat = floats("order", "the map", values).ravel()
    shuffled = rng.permutation(len(flat))
    return np.asarray(shuffled[np.argsort(-flat[shuffled], kind="stable")])


def top(values: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """(P,) bool: the ``count`` highest of ``values`` (P,); which of equal ones is drawn."""
    chosen = np.zeros(len(values), bool)
    chosen[order(values, random)[:count]] = True
    return chosen


def above_median(scores: ArrayLike) -> np.ndarray:
    """Bool, of the same shape: the scores strictly above their median, the tokens that a degraded text keeps.

    scores  of the tokens that may be taken out; the first and the last special one always stay, so leave them out

    Where none is strictly above, because the highest score is that of half of them or more, those at the median are
    kept: a constant map keeps all, as a map of ones does. Raises :class:`InputError` for NaN.
    """
    values = floats("above_median", "scores", scores)
    if not values.size:
        return np.zeros(values.shape, bool)
    median = np.median(values)
    above = np.asarray(values > median)
    return above if above.any() else np.asarray(values >= median)


class RankCorrelation(Metric):
    """Spearman's correlation over all places of two maps of one input, in [-1, 1].

    Higher is more alike: better for two runs that should agree, but the sanity check with random weights wants it
    low (Adebayo et al. 2018). A pair with a constant map has no score.
    """

    name, title, unit, better = "rank-correlation", "Rank correlation", "", "higher"
    summary = "Whether two maps of one input put its places in the same order."

    def update(self, first: Arrays, second: Arrays, keys: Iterable[Hashable] | None = None) -> None:
        """first   N maps in a list, or (N, ...); a single one is ``[map]``
        second  likewise, each of the same shape as the first's
        keys    N ids, kept beside the scores

        Raises :class:`InputError` for other shapes and NaN.
        """
        pairs = map_pairs(self._who, first=first, second=second)
        self._add([rank_correlation(one, other) for one, other in pairs], keys)
