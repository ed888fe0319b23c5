"""The scores of one map: what it does to the similarity, and whether it lies where the evidence is."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from m2ib.evaluation.degrading import Degraded
from m2ib.evaluation.truth import Truth
from m2ib.metrics import (
    above_percentile,
    area,
    auc,
    confidence_drop,
    confidence_increase,
    iou,
    mass_over_area,
    mass_share,
    mean_mass,
    pointing,
    top,
)

_CONFIDENCE, _CURVES = {"drop", "increase"}, {"deletion", "insertion"}
_LOCATED = (
    "iou", "pointing", "mass-in-region", "wrong", "mass-over-area", "matched-iou", "auc", "above-filler", "objects",
)  # fmt: skip
_MATCHED = ("top-deletion", "top-insertion", "mask-deletion", "mask-insertion")


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
    found = {"mass": mean_mass(grid), "total": float(grid.sum()), "peak": float(grid.max())}
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
    if wanted & {*_LOCATED, *_MATCHED}:
        found |= dict.fromkeys((*_LOCATED, *_MATCHED), float("nan"))
        if truth is not None:
            found |= located(grid, truth, seed)
            if wanted & set(_MATCHED) and truth.mask.any():
                found |= _matched(degraded, grid, truth, seed)
    return {name: found[name] for name in metrics if name in found}


def located(grid: np.ndarray, truth: Truth, seed: int) -> dict[str, float]:
    """Of a map against what is known; only ``objects`` where the mask is empty."""
    values, mask, others = truth.place(grid).reshape(-1), truth.mask.reshape(-1), truth.others.reshape(-1)
    found = {"objects": mass_share(values, mask | others)} if (mask | others).any() else {}
    if not mask.any():
        return found
    filler = values[truth.filler.reshape(-1)]
    return found | {
        "iou": iou(above_percentile(values), mask),
        "pointing": pointing(values, mask),
        "mass-in-region": mass_share(values, mask),
        "wrong": pointing(values, others & ~mask) if others.any() else float("nan"),
        "mass-over-area": mass_over_area(values, mask),
        "matched-iou": iou(top(values, int(mask.sum()), np.random.default_rng(seed)), mask),
        "auc": auc(values, mask),
        "above-filler": float(values[mask].max() > filler.max()) if len(filler) else float("nan"),
    }


def _matched(degraded: Degraded, grid: np.ndarray, truth: Truth, seed: int) -> dict[str, float]:
    """What as many of the highest places as the mask has are worth, and what the mask itself is."""
    values = truth.place(grid)
    chosen = top(values.reshape(-1), int(truth.mask.sum()), np.random.default_rng(seed)).reshape(values.shape)
    lost, won = degraded.worth([chosen, truth.mask], grid.shape, truth)
    return dict(zip(_MATCHED, (lost[0], won[0], lost[1], won[1]), strict=True))
