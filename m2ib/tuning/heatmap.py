"""A picture of a search: a panel for each layer, beta along it and variance up it, the value in every cell."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from m2ib.evaluation.measures import MEASURES
from m2ib.evaluation.report import head, number
from m2ib.renderers.plotting import in_own_style
from m2ib.tuning.results import Trial, Tuned
from m2ib.tuning.search import Point

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Colour = tuple[float, ...]
_COLUMNS = 4
_BEST, _USUAL = "#d55e00", "#000000"  # vermilion is told from all of cividis by everyone


@in_own_style
def draw(tuned: Tuned) -> Figure:
    """Brighter is better, whichever way the metric goes. Cells that were not tried are hatched."""
    import numpy as np
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    layers, betas, variances = _axes(tuned)
    columns = min(_COLUMNS, len(layers))
    rows = math.ceil(len(layers) / columns)
    wide, high = max(2.5, 0.85 * len(betas) + 0.8), max(2.4, 0.62 * len(variances) + 0.9)
    figure = Figure(figsize=(max(columns * wide + 1.4, 6.4), rows * high + 1.5), layout="constrained")
    lower = MEASURES[tuned.metric].better == "lower"
    colours = colormaps["cividis_r" if lower else "cividis"]
    found = [trial.score.mean for trial in tuned.trials]
    low, high = min(found), max(found)
    norm = Normalize(low, high) if low < high else Normalize(found[0] - 1, found[0] + 1)
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for axes in panels[len(layers) :]:
        axes.set_visible(False)
    for place, (axes, layer) in enumerate(zip(panels, layers, strict=False)):
        _panel(axes, tuned, layer, lambda value: colours(norm(value)))
        axes.set_title(f"layer {layer}", fontsize=10)
        axes.set_xticks(np.arange(len(betas)), [f"{beta:g}" for beta in betas])
        axes.set_yticks(np.arange(len(variances)), [f"{variance:g}" for variance in variances])
        if place % columns == 0:
            axes.set_ylabel("variance σ²")
        axes.set_xlabel("β")
        axes.tick_params(length=0, labelbottom=True)
    bar = figure.colorbar(ScalarMappable(norm, colours), ax=list(panels[: len(layers)]), pad=0.02)
    bar.set_label(f"{head(tuned.metric)}  ({MEASURES[tuned.metric].better} is better)")
    if lower:
        bar.ax.invert_yaxis()
    if low == high:
        bar.set_ticks([found[0]], labels=[number(found[0], tuned.metric)])
    figure.suptitle(_title(tuned), fontsize=10.5, parse_math=False)
    return figure


def _axes(tuned: Tuned) -> tuple[list[int], list[float], list[float]]:
    """The grid's own values: a default outside it has no cell."""
    first, *others = (Point(*point) for point in tuned.asked["search"]["grid"])  # the default, and the grid
    kept = others or [first]
    layers, betas, variances = (sorted(set(values)) for values in zip(*kept, strict=True))
    return layers, betas, variances


def _panel(axes: Axes, tuned: Tuned, layer: int, colour_of: Callable[[float], Colour]) -> None:
    trials = {trial.point: trial for trial in tuned.trials}
    _, betas, variances = _axes(tuned)
    for column, beta in enumerate(betas):
        for row, variance in enumerate(variances):
            trial = trials.get(Point(layer, beta, variance))
            if trial is None or math.isnan(trial.score.mean):
                _box(axes, column, row, facecolor="white", edgecolor="0.75", hatch="///", linewidth=0)
                continue
            colour = colour_of(trial.score.mean)
            _box(axes, column, row, facecolor=colour, edgecolor="white", linewidth=1)
            ink = "black" if _luminance(colour) > 0.18 else "white"
            best, usual = trial.point == tuned.best.point, trial.point == tuned.default.point
            said = " · ".join([*(["best"] if best else []), *(["default"] if usual else [])])
            text = number(trial.score.mean, tuned.metric)
            axes.text(
                column, row + (0.1 if said else 0), text,
                ha="center", va="center", color=ink, fontsize=10, fontweight="bold" if best else "normal",
            )  # fmt: skip
            if said:
                axes.text(column, row - 0.24, said, ha="center", va="center", color=ink, fontsize=7)
            if usual:
                half, edge = 0.36 if best else 0.44, _USUAL if ink == "black" else "white"
                _box(axes, column, row, half, fill=False, edgecolor=edge, linestyle=":", linewidth=1.3)
            if best:
                _box(axes, column, row, 0.45, fill=False, edgecolor=_BEST, linestyle="-", linewidth=2.6)
    axes.set_xlim(-0.5, len(betas) - 0.5)
    axes.set_ylim(-0.5, len(variances) - 0.5)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _box(axes: Axes, column: int, row: int, half: float = 0.5, **style: Any) -> None:
    from matplotlib.patches import Rectangle

    axes.add_patch(Rectangle((column - half, row - half), 2 * half, 2 * half, **style))


def _luminance(colour: Colour) -> float:
    """Of sRGB, relative (WCAG 2)."""
    red, green, blue = (
        each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in colour[:3]
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _title(tuned: Tuned) -> str:
    def told(trial: Trial) -> str:
        value, (layer, beta, variance) = number(trial.score.mean, tuned.metric), trial.point
        return f"{value} at layer {layer}, β {beta:g}, σ² {variance:g}"

    study = tuned.asked["search"]
    first = f"{MEASURES[tuned.metric].title} of maps of {tuned.modality}, {pairs_text(study['pairs'])}: brighter is better"
    return f"{first}\nbest {told(tuned.best)}\ndefault {told(tuned.default)}"


def pairs_text(count: int) -> str:
    """So many pairs."""
    return f"{count} pair{'s' * (count != 1)}"
