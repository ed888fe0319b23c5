"""Figures of the sanity check: correlations by stage, and the maps themselves as in the paper's Figure 4."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from m2ib.evaluation.map_grid import grid_figure
from m2ib.evaluation.sanity import IGNORES, Cascade

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def curve_figure(cascades: Mapping[str, Cascade]) -> Figure:
    """Rank correlation with the intact model's maps by stage: a panel for each cascade, a line for each method.

    cascades  by the panel's title; bars are standard errors over the inputs, the dashed line is the verdict's threshold
    """
    from matplotlib.figure import Figure

    count = len(cascades)
    most = max(len(each.stages) for each in cascades.values())
    figure = Figure(figsize=(max(3.6, 0.5 + 0.4 * most) * count + 1.2, 3.8), layout="constrained")
    panels = figure.subplots(1, count, sharey=True, squeeze=False)[0]
    for axes, (title, each) in zip(panels, cascades.items(), strict=True):
        places = np.arange(1 + len(each.stages))
        axes.axhline(0, color="0.6", linewidth=0.8)
        axes.axhline(IGNORES, color="0.6", linewidth=0.8, linestyle="dashed")
        for method in each.maps:
            curve = each.curve(method)
            means = [1.0, *(stage.mean for stage in curve)]
            errors = [0.0, *(stage.standard_error for stage in curve)]
            errors = [0.0 if math.isnan(error) else error for error in errors]
            axes.errorbar(
                places, means, errors, marker="o", markersize=3, linewidth=1.3, capsize=2, label=method
            )
        axes.set_xticks(
            places,
            ["intact", *each.labels],
            rotation=45,
            ha="right",
            rotation_mode="anchor",
            parse_math=False,
        )
        axes.set_ylim(min(-0.4, axes.get_ylim()[0]), 1.05)
        axes.set_title(title, fontsize=10, parse_math=False)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("rank correlation with the intact map")
    handles, names = panels[-1].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside right upper", fontsize=8, frameon=False)
    figure.supxlabel("weights made random up to this part, from the last one", fontsize=9)
    return figure


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
