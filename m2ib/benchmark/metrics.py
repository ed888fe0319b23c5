"""How true one map is, against the mask of what was asked for."""

from __future__ import annotations

import numpy as np

from m2ib.metrics import auc, iou, mass_over_area, pointing


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
