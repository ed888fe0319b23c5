"""Where a pair is known to show what its other input says, and a map on the same raster."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from m2ib.contract.inputs import Item
from m2ib.contract.layout import axes_at
from m2ib.data.pairs import Pair
from m2ib.evaluation.raster import grid_axes, on_raster, shares
from m2ib.renderers.image import ImageView
from m2ib.renderers.interpolation import upsample


@dataclass(frozen=True)
class Truth:
    """A mask over one input, and how a map of it is laid over the mask.

    mask   bool, any shape: the union of the regions
    place  a grid -> values of the mask's shape
    """

    mask: np.ndarray
    place: Callable[[np.ndarray], np.ndarray]


def truth_of(pair: Pair, place: int, item: Item) -> Truth | None:
    """What is known of the input at ``place`` (0 or 1), once it is ready; None where nothing is.

    Boxes are drawn at the model's input size, where they are cut as the image was, and maps are enlarged to it: the
    paper's localisation. Regions keep their own raster, and maps are read there: of words, the sum over their tokens;
    along an axis that maps do not have (the traces of a motion) a region is true where it is true anywhere.
    """
    region = pair.regions.get(place)
    if region is not None and item.layout.tokens:
        tokens_of = shares(item.layout.tokens, region.axes[0])  # (words, tokens)
        return Truth(region.mask, lambda grid: np.asarray(tokens_of @ grid.astype(np.float64)))
    if region is not None:
        told = [axis.name for axis in item.layout.axes]
        lacking = tuple(n for n, axis in enumerate(region.axes) if told and axis.name not in told)
        axes = tuple(axis for n, axis in enumerate(region.axes) if n not in lacking)

        def lay(grid: np.ndarray) -> np.ndarray:
            own = grid_axes(grid.shape, axes_at(item.layout.axes, grid.shape), axes)
            return np.asarray(on_raster(grid[None].astype(np.float64), own, axes)[0])

        return Truth(np.asarray(region.mask.any(lacking)) if lacking else region.mask, lay)
    if pair.boxes and isinstance(item.view, ImageView):
        mask = _drawn(pair, item.view)
        return Truth(mask, lambda grid: upsample(grid.astype(np.float64), item.view.size))
    return None


def _drawn(pair: Pair, view: ImageView) -> np.ndarray:
    """(rows, columns) of the model's input: whether a pixel's centre lies in a box."""
    left, top, right, bottom = view.region
    rows, columns = view.size
    y = top + (np.arange(rows) + 0.5) / rows * (bottom - top)  # in pixels of the view
    x = left + (np.arange(columns) + 0.5) / columns * (right - left)
    mask = np.zeros(view.size, bool)
    for box in pair.boxes:
        first_x, first_y, last_x, last_y = view.edges(box)
        mask |= ((y >= first_y) & (y < last_y))[:, None] & ((x >= first_x) & (x < last_x))[None]
    return mask
