"""What a model loses that was trained without the evidence: ROAR+ (Wang et al. 2023, Section 4.4)."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

import numpy as np
from numpy.typing import ArrayLike

from m2ib.errors import InputError
from m2ib.metrics.base import Metric
from m2ib.metrics.checks import numbers


def roar_plus(original_loss: np.ndarray, corrupted_loss: np.ndarray) -> np.ndarray:
    """100 (l_c - l_o) / l_o, per cent, for each repeat (N,). Higher is better."""
    return np.asarray(100 * (corrupted_loss - original_loss) / original_loss)


class RoarPlus(Metric):
    """100 (l_c - l_o) / l_o in per cent; a sample is one repeat of the training. Higher is better.

    l_o and l_c are the losses on original validation pairs, after training on the original pairs and on pairs
    without what the maps call most important.
    """

    name, title, unit, better = "roar", "ROAR+", "%", "higher"
    summary = "How much worse a model learns from pairs without what the maps call most important."

    def update(
        self, original_loss: ArrayLike, corrupted_loss: ArrayLike, keys: Iterable[Hashable] | None = None
    ) -> None:
        """original_loss   (N,) or a single number: l_o, > 0
        corrupted_loss  likewise: l_c
        keys            N ids, kept beside the scores

        Raises :class:`InputError` for other shapes, NaN and an original loss that is not above 0.
        """
        original, corrupted = numbers(self._who, original_loss=original_loss, corrupted_loss=corrupted_loss)
        (strange,) = np.nonzero(original <= 0)
        if len(strange):
            raise InputError(
                f"{self._who}: original_loss[{strange[0]}] is {original[strange[0]]:g}; the score is relative to it, "
                "so give a loss > 0"
            )
        self._add(roar_plus(original, corrupted), keys)
