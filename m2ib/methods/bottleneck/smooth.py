"""Gaussian smoothing of a map along its axes.

Evidence is often at the rim of a thing, and a map of single cells is ragged there: its highest cell may be one that
only touches the thing. Neighbours that agree outweigh such a cell. (IBA, Schulz et al. 2020, Section 3, smooths
its mask within the fit for the same reason; here the finished map is smoothed.)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_NARROWEST = 0.125  # cells; scipy ends a Gaussian at 4 deviations, and a narrower one reaches no neighbour


def smoothed(grid: np.ndarray, sigmas: Sequence[float]) -> np.ndarray:
    """``grid`` (..., R_1, R_2, ...) with its last axes convolved with Gaussians; the same shape and dtype.

    sigmas  a standard deviation for each of these axes, in cells of ``grid``; 0 leaves an axis as it is

    Beyond its outer cells the map is mirrored, so that its total stays what it was.
    """
    if not any(sigmas):
        return grid
    from scipy.ndimage import gaussian_filter1d  # not at every import of m2ib

    smooth = grid.astype(np.float64, copy=False)
    for place, sigma in enumerate(sigmas):
        if sigma >= _NARROWEST:
            axis = place - len(sigmas)
            widest = 16.0 * grid.shape[axis]  # flat by then, and the Gaussian is held in memory
            smooth = gaussian_filter1d(smooth, min(sigma, widest), axis=axis, mode="reflect")
    return smooth.astype(grid.dtype, copy=False)
