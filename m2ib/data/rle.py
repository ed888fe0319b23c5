"""COCO's segmentations as masks, pixel for pixel as COCO's own tools have them.

Of polygons and of the two ways to write runs: ``rleFrPoly`` and ``rleFrString`` of ``common/maskApi.c`` in the COCO API. A mask is
read down its columns, one after another.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from m2ib.errors import InputError

_FINE = 5  # steps to a pixel, at which a polygon's outline is walked
_LONGEST = 2**22  # steps of an outline
_FARTHEST = 2.0**40
_MOST = 2**28  # pixels


def mask_of(segmentations: Iterable[Any], size: tuple[int, int]) -> np.ndarray:
    """(height, width) bool, where any of them is: polygons, or {"size": [height, width], "counts": runs, or a string of them}.

    size  (height, width) of the image that they were drawn on

    Raises :class:`InputError`.
    """
    if size[0] * size[1] > _MOST:
        raise InputError(f"its image of {size[1]}x{size[0]} pixels is too large for a mask")
    flat = np.zeros(size[0] * size[1], bool)
    for each in segmentations:
        if isinstance(each, dict):
            flat |= _of_runs(each, size)
        elif not isinstance(each, list):
            raise InputError(f"its segmentation is neither polygons nor runs but {each!r:.60}")
        else:
            for polygon in each:
                _add_polygon(flat, polygon, size)
    return flat.reshape(size[1], size[0]).T


def _of_runs(segmentation: dict[str, Any], size: tuple[int, int]) -> np.ndarray:
    """(height * width,)"""
    counts, said = segmentation.get("counts"), segmentation.get("size")
    if said is not None and said != list(size):
        raise InputError(f"its mask has the size {said!r:.60}, and its image {list(size)} (height, width)")
    runs = _unpacked(counts) if isinstance(counts, str) else counts
    try:
        lengths = np.asarray(runs, np.int64)
    except (TypeError, ValueError, OverflowError):
        lengths = np.array([[-1]])
    if lengths.ndim != 1 or (lengths < 0).any() or int(lengths.sum()) != size[0] * size[1]:
        raise InputError(
            f"its mask's counts {counts!r:.40} are not the {size[0] * size[1]:,} pixels of its image"
        )
    values = np.arange(len(lengths)) % 2 == 1
    return np.repeat(values, lengths)


def _unpacked(counts: str) -> list[int]:
    """Runs out of a string: numbers in parts of 5 bits, from the third on less the one before the last."""
    runs: list[int] = []
    number = shift = 0
    for sign in counts:
        part = ord(sign) - 48
        if not 0 <= part < 64 or shift > 60:
            raise InputError(f"its mask's counts {counts!r:.40} are no runs")
        number |= (part & 31) << shift
        shift += 5
        if part & 32:
            continue
        if part & 16:
            number -= 1 << shift
        runs.append(number + (runs[-2] if len(runs) > 2 else 0))
        number = shift = 0
    return runs


def _add_polygon(flat: np.ndarray, polygon: Any, size: tuple[int, int]) -> None:
    """polygon: x, y, x, y, ... of its corners."""
    height, width = size
    try:
        corners = np.asarray(polygon, np.float64).reshape(-1, 2)
    except (TypeError, ValueError, OverflowError):
        corners = np.zeros((0, 2))
    if len(corners) < 3 or not (np.abs(corners) < _FARTHEST).all():
        raise InputError(f"its polygon {polygon!r:.60} is not x, y, x, y, ... of three corners or more")
    x, y = _outline(np.trunc(corners * _FINE + 0.5).astype(np.int64))
    # where it goes into another column of fine steps, of which the middle one of a pixel counts
    there = np.flatnonzero(np.diff(x))
    columns = (np.minimum(x[there], x[there + 1]) + 0.5) / _FINE - 0.5
    rows = np.ceil(((np.minimum(y[there], y[there + 1]) + 0.5) / _FINE - 0.5).clip(0, height))
    counts = (columns == np.floor(columns)) & (columns >= 0) & (columns <= width - 1)
    # from such a place on, down the columns, it is the other side
    places = (columns * height + rows)[counts].astype(np.int64)
    if places.size:
        start = places.min()
        inside = np.bincount(places - start).cumsum() % 2 == 1
        flat[start : start + len(inside)] |= inside[: len(flat) - start]


def _outline(corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """x and y of each step (steps,) along edges, in whole numbers, by the longer side of each."""
    start, end = corners, np.roll(corners, -1, 0)
    span = np.abs(end - start)
    steep = span[:, 0] < span[:, 1]
    major = steep.astype(int)  # 0: steps go along x
    edges = np.arange(len(corners))
    back = start[edges, major] > end[edges, major]  # steps are counted from the smaller end
    low, high = np.where(back[:, None], end, start), np.where(back[:, None], start, end)
    length = span.max(1)
    if length.sum() > _LONGEST:
        raise InputError("its polygon reaches far out of its image")
    slope = (high - low)[edges, 1 - major] / np.maximum(length, 1)
    edge = np.repeat(edges, length + 1)
    step = np.arange(len(edge)) - np.repeat(np.cumsum(length + 1) - (length + 1), length + 1)
    step = np.where(back[edge], length[edge] - step, step)
    along = low[edge, major[edge]] + step
    across = np.trunc(low[edge, 1 - major[edge]] + slope[edge] * step + 0.5).astype(np.int64)
    return np.where(steep[edge], across, along), np.where(steep[edge], along, across)
