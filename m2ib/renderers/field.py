"""Measured fields under a heatmap: depth, temperature, anything with one value a pixel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class FieldView:
    """What is shown of a field.

    values   (height, width) float32 in ``unit``, upright; NaN where nothing was measured
    label    what is measured, e.g. "depth"
    unit     of the values, e.g. "m"
    colours  the name of a matplotlib colour map
    region   (left, top, right, bottom) in pixels of ``values``: the part the model sees
    size     (rows, columns) of the model's input
    scale    (horizontal, vertical) pixels of ``values`` for one of the raw input
    """

    values: np.ndarray
    label: str
    unit: str
    colours: str
    region: tuple[float, float, float, float]
    size: tuple[int, int]
    scale: tuple[float, float] = (1.0, 1.0)
