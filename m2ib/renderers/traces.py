"""Measurements over time: several traces, shaded by their value."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class TracesView:
    """What is shown of measurements over time.

    samples  (traces, n) float32 as they were measured
    times    (n,) seconds from the beginning
    names    of the traces, e.g. "accelerometer x"
    units    of the traces, e.g. "m/s²"
    span     (start, end) in seconds: the part the model sees
    size     samples of the model's input in that span
    """

    samples: np.ndarray
    times: np.ndarray
    names: tuple[str, ...]
    units: tuple[str, ...]
    span: tuple[float, float]
    size: int
