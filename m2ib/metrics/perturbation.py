"""How fast does the cosine fall as the highest cells go, and rise as they come? (RISE, Petsiuk et al. 2018.)

The cells are taken out of the input, or put into an empty one, from the highest to the lowest of the map
(:func:`m2ib.metrics.order`), and the cosine with the other side is read on the way.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable

import numpy as np
from numpy.typing import ArrayLike

from m2ib.errors import InputError
from m2ib.metrics.base import Metric
from m2ib.metrics.checks import floats


def area(curves: np.ndarray, fractions: np.ndarray) -> np.ndarray:
    """Area under curves (..., K) over ``fractions`` (K,), by the trapezoid rule: (...)."""
    heights = (curves[..., 1:] + curves[..., :-1]) / 2  # (..., K-1)
    return np.asarray((heights * np.diff(fractions)).sum(-1))


class _CurveMetric(Metric):
    def update(self, curves: ArrayLike, fractions: ArrayLike, keys: Iterable[Hashable] | None = None) -> None:
        """curves     (N, K), or (K,) of one sample: cosine at each fraction
        fractions  (K,) rising from 0 to 1: of the cells that are out (deletion) or in (insertion)
        keys       N ids, kept beside the scores

        Raises :class:`InputError` for other shapes, NaN and other fractions.
        """
        who = self._who
        heights, at = floats(who, "curves", curves), floats(who, "fractions", fractions)
        if at.ndim != 1 or len(at) < 2:
            raise InputError(f"{who}: fractions of shape {at.shape}; give (K,), K >= 2")
        if at[0] != 0 or at[-1] != 1 or (np.diff(at) <= 0).any():
            raise InputError(
                f"{who}: fractions from {at[0]:g} to {at[-1]:g} do not rise from 0 to 1; "
                "give the share of cells that were changed at each point of the curves"
            )
        if heights.ndim not in (1, 2) or heights.shape[-1] != len(at):
            raise InputError(
                f"{who}: curves of shape {heights.shape} over {len(at)} fractions; give (N, {len(at)})"
            )
        self._add(area(np.atleast_2d(heights), at), keys)


class DeletionAUC(_CurveMetric):
    """Mean cosine while the cells are taken out, the highest first. Lower is better."""

    name, title, unit, better = "deletion", "Deletion AUC", "cosine", "lower"
    summary = "The mean similarity while parts of the input are taken out, the highest of the map first."


class InsertionAUC(_CurveMetric):
    """Mean cosine while the cells are put in, the highest first. Higher is better."""

    name, title, unit, better = "insertion", "Insertion AUC", "cosine", "higher"
    summary = "The mean similarity while parts of the input are put in, the highest of the map first."
