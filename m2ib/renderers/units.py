"""The segments that a map has values for: their outlines, with a number in each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from m2ib.contract.layout import Axis, even_axis
from m2ib.contract.regions import Region
from m2ib.renderers.formatting import format_number
from m2ib.renderers.outlines import AlongAxis, Outline, outlines_of

if TYPE_CHECKING:
    from m2ib.contract.attribution import Attribution

Extents = tuple[tuple[str, float, float], tuple[str, float, float]]
_FINEST = 512  # cells of an outline along the longer side


def unit_number(value: float) -> str:
    """In two digits."""
    return format_number(float(f"{value:.2g}"))


def unit_text(name: str, value: float) -> str:
    """What stands in a segment: its value, after its name unless that only counts, or says when it is."""
    return unit_number(value) if name[:1].isdigit() else f"{name} {unit_number(value)}"


def outlines_over(
    attribution: Attribution,
    regions: Sequence[Region],
    extents: Extents,
    y: AlongAxis,
    x: AlongAxis,
) -> list[Outline]:
    """Known regions and the segments, as they lie over a panel.

    extents  (name, start, end) of the raw input's two axes, the one that goes down first
    y, x     places along them in the units of a panel
    """
    from scipy.ndimage import distance_transform_edt

    found, segments = outlines_of(regions, y, x), attribution.segments
    if segments is None:
        return found
    labels = segments.labels
    axes = segments.axes or tuple(
        even_axis(name, "", count, start, end)
        for (name, start, end), count in zip(extents, labels.shape, strict=True)
    )
    for place, (name, start, end) in enumerate(extents):
        if name not in [axis.name for axis in axes]:  # they go all along it
            labels = np.expand_dims(labels, place)
            axes = (*axes[:place], Axis(name, "", ((start, end),)), *axes[place:])
    step = max(1, -(-max(labels.shape) // _FINEST))
    labels = labels[::step, ::step]
    axes = tuple(
        axis if step == 1 else even_axis(axis.name, "", count, axis.spans[0][0], axis.spans[-1][1])
        for axis, count in zip(axes, labels.shape, strict=True)
    )
    for number, (name, value) in enumerate(attribution.units, 1):
        region = Region(name, labels == number, axes)
        for outline in outlines_of([region], y, x):
            if min(labels.shape) == 1:  # strips, of which a panel may show a part
                widest = max(outline.rings, key=lambda ring: np.ptp(ring[:, 0]))
                at = (widest.min(0) + widest.max(0)) / 2
            else:
                deep = distance_transform_edt(np.pad(region.mask, 1))[1:-1, 1:-1]
                deepest = np.argwhere(deep == deep.max())
                row, column = deepest[len(deepest) // 2]
                at = np.array([x(_middle(axes[1], column)), y(_middle(axes[0], row))])
            found.append(Outline(unit_text(name, value), outline.rings, False, (float(at[0]), float(at[1]))))
    return found


def _middle(axis: Axis, cell: int) -> np.ndarray:
    return np.array(np.mean(axis.spans[cell]))
