"""A matplotlib figure of an explanation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from m2ib.contract.abilities import Placing
from m2ib.page.links import strongest
from m2ib.registry.foreign import renderer_code
from m2ib.renderers.fonts import readable
from m2ib.renderers.formatting import format_number
from m2ib.renderers.names import contrasted, ensemble, shortened
from m2ib.renderers.plotting import in_own_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from m2ib.contract.attribution import Attribution
    from m2ib.contract.interactions import Interactions, Units
    from m2ib.contract.pair import AttributionPair


_TALLEST = 300  # inches; matplotlib draws 65,535 pixels at most


@in_own_style
def draw(explanation: AttributionPair, links: int = 0) -> Figure:
    """Both attributions side by side, with so many of the strongest links between them where there are interactions.
    Needs no display; show or save it as any figure.
    """
    from matplotlib.figure import Figure

    words = max(len(attribution.words) for attribution in explanation)
    figure = Figure(figsize=(10, min(max(4.2, 1 + 0.2 * words), _TALLEST)), layout="constrained")
    both = figure.subplots(1, 2)
    for axes, attribution in zip(both, explanation, strict=True):
        with renderer_code(attribution.renderer):
            attribution.renderer.draw(attribution, axes)
        [(title, families)] = readable([_title(attribution)])
        axes.set_title(title, fontsize=10, fontfamily=families, parse_math=False)
    to = " to the mean" if any(map(ensemble, explanation)) else ""
    to = " to the difference" if any(map(contrasted, explanation)) else to
    figure.suptitle(f"{explanation.similarity_title} {explanation.similarity:.3f}{to}", fontsize=11)
    if links and explanation.interactions is not None:
        _draw_links(figure, both, explanation, explanation.interactions, links)
    return figure


_RAISES, _LOWERS = "#eb8200", "#006ee6"  # as everywhere that a map is signed


def _draw_links(
    figure: Figure, both: Sequence[Axes], explanation: AttributionPair, found: Interactions, count: int
) -> None:
    """Lines between the units of both sides, as wide as they are strong; dashed below 0."""
    from matplotlib.patches import ConnectionPatch
    from matplotlib.patheffects import withStroke

    places = [_unit_places(each, units) for each, units in zip(explanation, found.units, strict=True)]
    shown = strongest(found, count)
    if not shown or any(each is None for each in places):
        return
    if found.units[1].names and places[1] is not None:
        both[1].yaxis.tick_right()  # words make room for lines, which end where bars begin
        places[1][:, 0] = 0
    most = abs(shown[0].value)
    for link in reversed(shown):
        share, below = abs(link.value) / most, link.value < 0
        first, second = (each[unit] for each, unit in zip(places, link[:2], strict=True) if each is not None)
        line = ConnectionPatch(first, second, coordsA="data", coordsB="data", axesA=both[0], axesB=both[1])
        line.set(color=_LOWERS if below else _RAISES, linewidth=0.8 + 3.2 * share)
        line.set(linestyle=(0, (3, 1.5)) if below else "solid", in_layout=False)
        line.set_path_effects([withStroke(linewidth=2.4 + 3.2 * share, foreground="white")])
        figure.add_artist(line)
        for axes, end in zip(both, (first, second), strict=True):
            (dot,) = axes.plot(*end, "o", scalex=False, scaley=False, clip_on=False)
            dot.set(color=_LOWERS if below else _RAISES, markeredgecolor="white", markersize=5)
    said = f"lines: what acts together, the {len(shown)} strongest, up to {format_number(most)} {found.unit}".strip()
    figure.supxlabel(f"{said}; orange raises the similarity, dashed blue lowers it", fontsize=8)


def _unit_places(attribution: Attribution, units: Units) -> np.ndarray | None:
    """(units, 2) in the data of the attribution's axes; None where its renderer does not say."""
    renderer = attribution.renderer
    if not isinstance(renderer, Placing) or (units.names and attribution.units):  # bars are of those
        return None
    if not units.names:  # the map's grid may be finer or coarser
        attribution = replace(
            attribution, grid=np.zeros(units.shape), against=None, by_seed=None, null=None, segments=None
        )
    with renderer_code(renderer):
        return renderer.places(attribution)


@in_own_style
def draw_methods(explanations: Sequence[AttributionPair]) -> Figure:
    """One pair by several methods: a row for each input, a column for each method."""
    from matplotlib.figure import Figure

    count = len(explanations)
    words = max(len(attribution.words) for attribution in explanations[0])
    figure = Figure(figsize=(1 + 4 * count, max(6.5, 3 + 0.25 * words)), layout="constrained")
    cells = figure.subplots(2, count, squeeze=False)
    for column, explanation in enumerate(explanations):
        for row, attribution in enumerate(explanation):
            axes = cells[row, column]
            with renderer_code(attribution.renderer):
                attribution.renderer.draw(attribution, axes)
            title = f"{attribution.method}, {attribution.modality}"
            axes.set_title(title, fontsize=10, parse_math=False)
    figure.suptitle(f"{explanations[0].similarity_title} {explanations[0].similarity:.3f}", fontsize=11)
    return figure


def _title(attribution: Attribution) -> str:
    layer = attribution.settings.get("layer")
    title = attribution.modality if layer is None else f"{attribution.modality} (layer {layer!s:.40})"
    if attribution.method != "m2ib":
        title += f", {attribution.method}"
    if attribution.curve is not None and attribution.curve.noise is not None:
        kept = attribution.curve.kept
        share = "no similarity to keep" if kept is None else f"the fit kept {min(max(kept, 0.0), 1.0):.0%}"
        title += f", {share}"
    names = contrasted(attribution)
    if names is None:
        several = ensemble(attribution)
        return title + (f"\nof {shortened(several[0], 45)}, the first of {len(several)}" if several else "")
    this, other = (shortened(name, 45) for name in names)
    between = " " if len(this + other) < 45 else "\n"
    return f"{title}\n{this}{between}rather than {other}"
