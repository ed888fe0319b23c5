"""Known regions of an input: where something is, whatever a map says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from m2ib.contract.layout import Axis
from m2ib.contract.regions import Region
from m2ib.renderers.arrays import restore_arrays, store_arrays
from m2ib.renderers.outlines import Outline

Place = Callable[[np.ndarray], np.ndarray]
"""Places along an axis, from the raw input's units to those of a panel."""


def outlines(regions: Sequence[Region], y: Place, x: Place) -> list[Outline]:
    """The regions (first axis down, second across) as they are drawn; what is not in the panel is left out."""
    drawn = []
    for region in regions:
        placed = [np.stack([x(ring[:, 1]), y(ring[:, 0])], 1) for ring in region.rings()]
        seen = tuple(ring for ring in placed if np.ptp(ring, 0).min() > 0)
        if seen:
            drawn.append(Outline(region.name, seen, region.main))
    return drawn


def store_regions(regions: Sequence[Region], folder: Path, stem: str) -> Mapping[str, Any]:
    """Write them into ``folder``; what :func:`restore_regions` needs, JSON-able."""
    if not regions:
        return {}
    arrays = {}
    for number, region in enumerate(regions):
        arrays[f"{number}.mask"] = region.mask
        for place, axis in enumerate(region.axes):
            arrays[f"{number}.axis{place}"] = np.array(axis.spans, dtype=np.float64).reshape(-1, 2)
    return {
        "arrays": store_arrays(folder, f"{stem}-regions", arrays),
        "each": [
            {
                "name": region.name,
                "main": region.main,
                "axes": [[axis.name, axis.unit] for axis in region.axes],
            }
            for region in regions
        ],
    }


def restore_regions(stored: Mapping[str, Any] | None, folder: Path) -> tuple[Region, ...]:
    """The regions that :func:`store_regions` wrote; none for what was stored before there were any."""
    found = []
    for number, row in enumerate(stored["each"] if stored else ()):
        assert stored is not None
        names = [f"{number}.mask", *(f"{number}.axis{place}" for place in range(len(row["axes"])))]
        mask, *spans = restore_arrays(folder, stored["arrays"], names)
        axes = tuple(
            Axis(name, unit, tuple((start, end) for start, end in each.tolist()))
            for (name, unit), each in zip(row["axes"], spans, strict=True)
        )
        found.append(Region(row["name"], mask, axes, row["main"]))
    return tuple(found)
