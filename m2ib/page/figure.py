"""A matplotlib figure of an explanation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from m2ib.contract.abilities import Placing
from m2ib.page.links import strongest
from m2ib.page.titles import similarity_of, title_of
from m2ib.registry.foreign import renderer_code
from m2ib.renderers.fonts import readable
from m2ib.renderers.formatting import format_number
from m2ib.renderers.looks import Looks
from m2ib.renderers.plotting import in_own_style, map_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from m2ib.contract.attribution import Attribution
    from m2ib.contract.interactions import Interactions, Units
    from m2ib.contract.pair import AttributionPair


_TALLEST = 300  # inches; matplotlib draws 65,535 pixels at most


@in_own_style
def draw(explanation: AttributionPair, links: int = 0, cmap: str | None = None, scale: Any = "own") -> Figure:
    """Both attributions side by side, with so many of the strongest links between them where there are interactions.
    Needs no display; show or save it as any figure.

    cmap, scale  see :meth:`m2ib.renderers.looks.Looks.of`
    """
    words = max(len(attribution.words) for attribution in explanation)
    height = min(max(4.2, 1 + 0.2 * words), _TALLEST)
    figure = map_figure(10, height, Looks.of(explanation, cmap, scale))
    both = figure.subplots(1, 2)
    for axes, attribution in zip(both, explanation, strict=True):
        draw_map(attribution, axes)
        write_text(axes.set_title, title_of(attribution), fontsize=10)
    figure.suptitle(similarity_of(explanation), fontsize=11)
    if links and explanation.interactions is not None:
        _draw_links(figure, both, explanation, explanation.interactions, links)
    return figure


def draw_map(attribution: Attribution, axes: Axes) -> None:
    """By its renderer."""
    with renderer_code(attribution.renderer):
        attribution.renderer.draw(attribution, axes)


def write_text(put: Callable[..., Any], text: str, **how: Any) -> None:
    """As it stands there, in fonts that have its characters."""
    [(shown, families)] = readable([text])
    put(shown, fontfamily=families, parse_math=False, **how)


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
