"""The scores of one map: what it does to the similarity, and whether it lies where the evidence is."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from m2ib.evaluation.degrading import Degraded
from m2ib.evaluation.truth import Truth
from m2ib.metrics import (
    above_percentile,
    area,
    confidence_drop,
    confidence_increase,
    iou,
    mass_share,
    mean_mass,
    pointing,
)

_CONFIDENCE, _CURVES, _LOCATED = (
    {"drop", "increase"},
    {"deletion", "insertion"},
    {"iou", "pointing", "mass-in-region"},
)


def scores_of(
    grid: np.ndarray,
    metrics: Collection[str],
    degraded: Degraded,
    truth: Truth | None,
    *,
    curve_steps: int,
    seed: int,
) -> dict[str, float]:
    """By metric, of those that are about one map; NaN for what needs a truth that this input has not.

    seed  of the order of equal cells
    """
    found: dict[str, float] = {}
    wanted = set(metrics)
    if wanted & (_CONFIDENCE | _CURVES):
        curves = curve_steps if wanted & _CURVES else 0
        effect = degraded.effect(grid, curves=curves, confidence=bool(wanted & _CONFIDENCE), seed=seed)
        original, after = np.array([effect.original]), np.array([effect.degraded])
        found["drop"] = float(confidence_drop(original, after)[0])
        found["increase"] = float(confidence_increase(original, after)[0])
        if curves and not len(effect.fractions):  # nothing can be taken out
            found |= dict.fromkeys(_CURVES, float("nan"))
        elif curves:
            found["deletion"] = float(area(effect.deletion[None], effect.fractions)[0])
            found["insertion"] = float(area(effect.insertion[None], effect.fractions)[0])
    if wanted & _LOCATED:
        found |= _located(grid, truth)
    found["mass"] = mean_mass(grid)
    return {name: value for name, value in found.items() if name in wanted}


def _located(grid: np.ndarray, truth: Truth | None) -> dict[str, float]:
    if truth is None or not truth.mask.any():
        return dict.fromkeys(_LOCATED, float("nan"))
    values, mask = truth.place(grid), truth.mask
    return {
        "iou": iou(above_percentile(values), mask),
        "pointing": pointing(values.reshape(-1), mask.reshape(-1)),
        "mass-in-region": mass_share(values, mask),
    }
