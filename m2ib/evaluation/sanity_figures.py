"""The maps of the sanity check, stage by stage, as in the paper's Figure 4."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from m2ib.evaluation.map_grid import grid_figure
from m2ib.evaluation.sanity import Cascade

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def maps_figure(
    cascade: Cascade, *, methods: Sequence[str] | None = None, inputs: Sequence[int] = (0,)
) -> Figure:
    """A row for each input and method, a column for the intact model and each stage; correlations above the maps.

    methods  some of the cascade's; None: all
    inputs   numbers of the inputs
    """
    rows = []
    for number in inputs:
        for name in methods or cascade.maps:
            titles = [" ", *map(_figure, cascade.correlations(name)[:, number])]
            maps = [stage[number] for stage in cascade.maps[name]]
            rows.append((name, list(zip(titles, maps, strict=True))))
    return grid_figure(rows, ["intact", *cascade.labels])


def _figure(score: float) -> str:
    return "constant" if math.isnan(score) else f"{score:+.2f}"
