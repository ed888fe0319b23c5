"""Where a pair is known to show what its other input says, and a map on the same raster."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from m2ib.contract.encoder import Encoder
from m2ib.contract.inputs import Item
from m2ib.contract.layout import Axis, Layout, axes_at
from m2ib.contract.regions import Region
from m2ib.data.pairs import Pair
from m2ib.evaluation.raster import even_axes, grid_axes, kept_axes, lay, on_cells, on_samples, shares
from m2ib.renderers.base import seen_size
from m2ib.renderers.image import ImageView
from m2ib.renderers.pixels import input_axes


@dataclass(frozen=True)
class Truth:
    """Masks over one input on one raster, and how a map of it is laid over them.

    mask    bool, any shape: what the other input says; nowhere where that is not there, or not known
    others  the same shape: what else is known to be there
    filler  the same shape: what says nothing
    raster  the axes of the masks
    frame   of a mask of all the raster's axes and those that do not count, and ``framed`` is this mask
    """

    mask: np.ndarray
    others: np.ndarray
    filler: np.ndarray
    raster: tuple[Axis, ...]
    frame: tuple[Axis, ...]
    framed: np.ndarray
    layout: Layout

    def place(self, grid: np.ndarray) -> np.ndarray:
        """A map's values on the raster."""
        return lay(grid.astype(np.float64), self.layout, self.frame, self.raster)

    def cells(self, shape: Sequence[int]) -> np.ndarray:
        """The share of each cell of a map that lies in the mask, float64: what a map can show of it."""
        if self.layout.tokens:
            return np.asarray(self.framed.astype(np.float64) @ shares(self.layout.tokens, self.frame[0]))
        axes = grid_axes(shape, axes_at(self.layout.axes, shape), self.frame)
        return np.asarray(on_cells(self.framed[None], self.frame, axes)[0])

    def positions(self, places: np.ndarray, shape: Sequence[int], encoder: Encoder) -> np.ndarray:
        """(*shape) bool: places (*raster) at an input's positions, one axis for each of a map's."""
        if self.layout.tokens:
            return np.asarray(places.astype(int) @ shares(self.layout.tokens, self.raster[0]) > 0)
        axes = self.layout.axes
        told = len(axes) == len(shape)
        if not told:
            axes = even_axes(shape, self.frame)
        strides = [length / len(axis.spans) for length, axis in zip(shape, axes, strict=True)]
        if told and encoder.stride is not None and not callable(encoder.stride):
            last = min(len(strides), len(encoder.stride))
            strides[-last:] = encoder.stride[-last:]
        return on_samples(places, self.raster, axes, shape, strides)


def truth_of(pair: Pair, place: int, item: Item) -> Truth | None:
    """What is known of the input at ``place`` (0 or 1), once it is ready; None where nothing is.

    Boxes are drawn at the model's input size, where they are cut as the image was, and maps are enlarged to it: the
    paper's localisation. Regions keep their own raster, and maps are read there: of words, the sum over their tokens;
    along an axis that maps do not have (the traces of a motion), or that does not count, a region is true where it is
    true anywhere.
    """
    asked = [region for region in [pair.regions.get(place)] if region is not None]
    others, filler = pair.others.get(place, ()), pair.filler.get(place)
    if asked or others:
        whole = (*asked, *others)[0].axes
        frame = whole if item.layout.tokens else kept_axes(whole, item.layout)
        raster = tuple(axis for axis in frame if pair.along in ("", axis.name))
        return Truth(
            _union(asked, whole, raster),
            _union(others, whole, raster),
            _union([filler] if filler is not None else [], whole, raster),
            raster,
            frame,
            _union(asked, whole, frame),
            item.layout,
        )
    if pair.boxes and isinstance(item.view, ImageView):
        mask = _drawn(pair, item.view)
        nothing = np.zeros_like(mask)
        raster = tuple(
            Axis(name, "", tuple(pairwise(map(float, range(length + 1)))))
            for name, length in zip(("row", "column"), mask.shape, strict=True)
        )
        layout = Layout(item.layout.grid, axes=input_axes(item.layout.axes, item.view))
        return Truth(mask, nothing, nothing, raster, raster, mask, layout)
    return None


def _union(regions: Iterable[Region], whole: Sequence[Axis], kept: Sequence[Axis]) -> np.ndarray:
    """(*kept) bool: where any of the regions, on the axes ``whole``, is true."""
    lacking = tuple(place for place, axis in enumerate(whole) if axis not in kept)
    nowhere = np.zeros([len(axis.spans) for axis in kept], bool)
    return np.asarray(np.any([nowhere, *(region.mask.any(lacking) for region in regions)], axis=0))


def _drawn(pair: Pair, view: ImageView) -> np.ndarray:
    """(rows, columns) of the model's input: whether a pixel's centre lies in a box."""
    left, top, right, bottom = view.region
    (rows, columns), (high, wide) = view.size, seen_size(view)
    y = top + (np.arange(rows) + 0.5) / high * (bottom - top)  # in pixels of the view
    x = left + (np.arange(columns) + 0.5) / wide * (right - left)
    mask = np.zeros(view.size, bool)
    for box in pair.boxes:
        first_x, first_y, last_x, last_y = view.edges(box)
        mask |= ((y >= first_y) & (y < last_y))[:, None] & ((x >= first_x) & (x < last_x))[None]
    return mask
