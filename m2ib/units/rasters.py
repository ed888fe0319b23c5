"""Segments of what has a raster, or axes: labels, masks by name, regions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from m2ib.contract.layout import Axis
from m2ib.contract.regions import Region
from m2ib.contract.segments import MOST_SEGMENTS, Segments
from m2ib.errors import InputError
from m2ib.notices import warn


def checked(names: Sequence[str], labels: np.ndarray, axes: tuple[Axis, ...], who: str) -> Segments:
    """Segments, unless they are too many; "rest" may still come to them. Raises :class:`InputError`."""
    if len(names) >= MOST_SEGMENTS:
        raise InputError(f"{who}: there are {len(names):,}; fewer than {MOST_SEGMENTS:,} can be told apart")
    return Segments(tuple(names), labels, axes)


def of_labels(given: Any, size: tuple[int, ...], who: str) -> Segments:
    """Whole numbers (*size), 0 for none; each other one is a segment, and its name."""
    labels = array_of(given, who)
    _check_size(labels, size, "the labels have", who)
    if labels.dtype.kind not in "iub" or labels.min(initial=0) < 0:
        raise InputError(
            f"{who}: labels are whole numbers from 0 on, 0 for none, not {labels.dtype} from {labels.min()}"
        )
    numbers, inverse = np.unique(labels, return_inverse=True)
    if numbers[-1] == 0:
        raise InputError(f"{who}: all of the labels are 0, which stands for none")
    names = [str(int(number)) for number in numbers if number]
    return checked(names, inverse.reshape(labels.shape) + int(numbers[0] != 0), (), who)


def of_masks(
    masks: Mapping[str, np.ndarray], size: tuple[int, ...], who: str, axes: tuple[Axis, ...] = ()
) -> Segments:
    """Booleans (*size) by name; where several are, the later one lies over the earlier, with a warning."""
    labels, twice = np.zeros(size, np.int64), 0
    for number, (name, mask) in enumerate(masks.items(), 1):
        _check_size(mask, size, f"the mask {name!r:.40} has", who)
        if mask.dtype != bool:
            raise InputError(
                f"{who}: the mask {name!r:.40} holds {mask.dtype}; give booleans, as in mask > 0.5"
            )
        twice += int((mask & (labels > 0)).sum())
        labels[mask] = number
    if not labels.any():
        raise InputError(f"{who}: there is nothing in the masks")
    if twice:
        warn(f"{who}: {twice:,} places are in several masks; they count for the one given last")
    return checked(list(masks), labels, axes, who)


def of_regions(regions: Sequence[Region], axes: Sequence[Axis], who: str) -> Segments:
    """Of regions on the same axes; along one that the map has not, a region is where any of its cells is."""
    first, places = regions[0].axes, [each.name for each in axes]
    own = tuple(axis for axis in first if axis.name in places)
    if not own or sorted(own, key=lambda axis: places.index(axis.name)) != [*own]:
        raise InputError(
            f"{who}: the map has the axes {', '.join(places)}, in this order; the regions have "
            f"{', '.join(axis.name for axis in first) or 'none'}"
        )
    if any(each.axes != first for each in regions) or len({each.name for each in regions}) < len(regions):
        raise InputError(f"{who}: regions have one set of axes, and names of their own")
    other = tuple(place for place, axis in enumerate(first) if axis not in own)
    masks = {region.name: np.asarray(region.mask.any(other)) for region in regions}
    return of_masks(masks, tuple(len(axis.spans) for axis in own), who, own)


def array_of(given: Any, who: str) -> np.ndarray:
    """Raises :class:`InputError` for what is none."""
    if isinstance(given, Tensor):
        given = given.detach().cpu().numpy()
    if not isinstance(given, np.ndarray):
        raise InputError(f"{who}: give a rule, labels, masks by name or a file of either, not {given!r:.60}")
    return given


def _check_size(found: np.ndarray, size: tuple[int, ...], what: str, who: str) -> None:
    if found.shape != size:
        raise InputError(
            f"{who}: {what} the shape {found.shape}, and the input {size} (rows, columns), upright; give them at its own size"
        )
