"""Maps of many inputs side by side in one picture."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from m2ib.renderers.fonts import readable
from m2ib.renderers.names import shortened
from m2ib.renderers.plotting import in_own_style, write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from m2ib.contract.attribution import Attribution

_COLUMN, _PICTURE, _WORD = 1.75, 1.75, 0.19  # inches: a map's width, its height, the height of each word


@in_own_style
def grid_figure(
    rows: Sequence[tuple[str, Sequence[tuple[str, Attribution]]]], heads: Sequence[str] = ()
) -> Figure:
    """A row of maps for each (label, [(what stands over the map, the map)]).

    heads  over the columns
    """
    from matplotlib.figure import Figure

    count = max(len(row) for _, row in rows)
    tall = [_height(row[0][1]) for _, row in rows]
    figure = Figure(figsize=(0.4 + _COLUMN * count, 0.3 + sum(tall)), layout="constrained")
    ratios = {"width_ratios": [0.12, *[1.0] * count], "height_ratios": tall}
    cells = figure.subplots(len(rows), 1 + count, squeeze=False, gridspec_kw=ratios)
    for place, (name, row) in enumerate(rows):
        label = cells[place, 0]
        label.set_axis_off()
        place_of = {"ha": "center", "va": "center", "rotation": 90, "transform": label.transAxes}
        [(shown, families)] = readable([shortened(name, 24)])
        label.text(0.5, 0.5, shown, fontsize=9, fontfamily=families, parse_math=False, **place_of)
        for column, (axes, (title, attribution)) in enumerate(zip(cells[place, 1:], row, strict=True)):
            _draw_bare(attribution, axes, names=column == 0)
            lines = [*heads[column : column + 1], title] if place == 0 else [title]
            [(shown, families)] = readable(["\n".join(lines)])
            axes.set_title(shown, fontsize=8, fontfamily=families, parse_math=False)
    return figure


def _height(attribution: Attribution) -> float:
    return max(0.9, 0.5 + _WORD * len(attribution.words)) if attribution.layout.tokens else _PICTURE


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


def data_url(figure: Figure) -> str:
    """The picture as a page holds it."""
    file = io.BytesIO()
    write(figure, file, 90)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
