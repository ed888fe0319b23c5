"""How true one map is, against the mask of what was asked for."""

from __future__ import annotations

import numpy as np


def pointing(values: np.ndarray, mask: np.ndarray) -> float:
    """Whether the highest of ``values`` (P,) lies in ``mask`` (P,); of several highest ones, their share that does."""
    return float(mask[values == values.max()].mean())


def mass_over_area(values: np.ndarray, mask: np.ndarray) -> float:
    """The share of the map's mass that lies in ``mask``, over the mask's share of the area; 1 is chance.

    Negative values count as 0; a map without mass counts as even.
    """
    mass = values.clip(0)
    total = float(mass.sum(dtype=np.float64))
    return float(mass[mask].sum(dtype=np.float64) / total / mask.mean()) if total > 0 else 1.0


def mass_share(values: np.ndarray, mask: np.ndarray) -> float:
    """The share of the map's mass that lies in ``mask``; as :func:`mass_over_area`."""
    return mass_over_area(values, mask) * float(mask.mean())


def top(values: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """(P,) bool: the ``count`` highest of ``values`` (P,); which of equal ones is drawn."""
    shuffled = random.permutation(len(values))
    order = shuffled[np.argsort(-values[shuffled], kind="stable")]
    chosen = np.zeros(len(values), bool)
    chosen[order[:count]] = True
    return chosen


def iou(chosen: np.ndarray, mask: np.ndarray) -> float:
    """Of two sets of places, (P,) bool: what both hold over what either holds."""
    return float((chosen & mask).sum() / (chosen | mask).sum())


def auc(values: np.ndarray, mask: np.ndarray) -> float:
    """How often a place in ``mask`` is higher than one outside it, equal ones counting half; NaN if either is empty."""
    inside, outside = int(mask.sum()), int((~mask).sum())
    if not inside or not outside:
        return float("nan")
    order = np.argsort(values)
    ordered = values[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])  # of runs of equal values
    ends = np.r_[starts[1:], len(ordered)]
    ranks = np.repeat((starts + ends + 1) / 2, ends - starts)  # from 1, equal ones share their mean
    return float((ranks[mask[order]].sum() - inside * (inside + 1) / 2) / (inside * outside))


def measures(
    values: np.ndarray, mask: np.ndarray, others: np.ndarray, chosen: np.ndarray | None = None
) -> dict[str, float]:
    """All of one map (P,), by name.

    mask    (P,) bool: where what was asked for is
    others  (P,) bool: where the other objects are
    chosen  (P,) bool: the map's highest places, as many as ``mask`` holds
    """
    found = {
        "pointing": pointing(values, mask),
        "wrong": pointing(values, others & ~mask),
        "mass": mass_over_area(values, mask),
        "auc": auc(values, mask),
    }
    return found if chosen is None else found | {"iou": iou(chosen, mask)}
