"""What a renderer must do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    pass


def scale(values: np.ndarray) -> np.ndarray:
    """Min-max to [0, 1]; zeros for a constant array. float32, the shape of ``values``."""
    low, high = float(values.min()), float(values.max())
    if not high > low:
        return np.zeros(values.shape, np.float32)
    return ((values.astype(np.float64) - low) / (high - low)).astype(np.float32)
