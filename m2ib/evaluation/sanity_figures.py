"""Figures of the sanity check: correlations by stage, and the maps themselves as in the paper's Figure 4."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from textwrap import shorten
from typing import TYPE_CHECKING

import numpy as np

from m2ib.evaluation.sanity import IGNORES, Cascade

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from m2ib.contract.attribution import Attribution

_COLUMN, _PICTURE, _WORD = 1.75, 1.75, 0.19  # inches: a map's width, its height, the height of each word


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
    from matplotlib.figure import Figure

    rows = [(number, name) for number in inputs for name in methods or cascade.maps]
    heads = ["intact", *cascade.labels]
    tall = [_height(cascade.maps[name][0][number]) for number, name in rows]
    figure = Figure(figsize=(0.4 + _COLUMN * len(heads), 0.3 + sum(tall)), layout="constrained")
    ratios = {"width_ratios": [0.12, *[1.0] * len(heads)], "height_ratios": tall}
    cells = figure.subplots(len(rows), 1 + len(heads), squeeze=False, gridspec_kw=ratios)
    for place, (number, name) in enumerate(rows):
        label = cells[place, 0]
        label.set_axis_off()
        place_of = {"ha": "center", "va": "center", "rotation": 90, "transform": label.transAxes}
        label.text(0.5, 0.5, shorten(name, 24, placeholder=" …"), fontsize=9, parse_math=False, **place_of)
        scores = cascade.correlations(name)[:, number]
        for stage, axes in enumerate(cells[place, 1:]):
            _draw_bare(cascade.maps[name][stage][number], axes, names=stage == 0)
            lines = [heads[stage]] if place == 0 else []
            lines.append(_figure(scores[stage - 1]) if stage else " ")
            axes.set_title("\n".join(lines), fontsize=8, parse_math=False)
    return figure


def _height(attribution: Attribution) -> float:
    return max(0.9, 0.5 + _WORD * len(attribution.words)) if attribution.layout.tokens else _PICTURE


def _figure(score: float) -> str:
    return "constant" if math.isnan(score) else f"{score:+.2f}"


def _draw_bare(attribution: Attribution, axes: Axes, *, names: bool) -> None:
    """As its renderer draws it, without colour bars, legends and labels; ``names``: with those of the left axis."""
    attribution.renderer.draw(attribution, axes)
    for shown in [*axes.images, *axes.collections]:
        if shown.colorbar is not None:
            shown.colorbar.remove()
    for text in list(axes.texts):
        text.remove()
    axes.set(xlabel="", ylabel="")
    axes.tick_params(labelsize=7, labelbottom=False, bottom=False, labelleft=names, left=names)
