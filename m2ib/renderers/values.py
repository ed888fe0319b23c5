"""Any grid, as plain numbers: what is left when a modality has no renderer of its own."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from m2ib.renderers.base import heat_of, scale, shade_style
from m2ib.renderers.drawing import colour_bar, less
from m2ib.renderers.formatting import format_number, number_with
from m2ib.renderers.looks import looks_of
from m2ib.renderers.names import described
from m2ib.renderers.panels import scrollable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from m2ib.contract.attribution import Attribution


_MOST_SHOWN = 2**16  # cells
_READABLE = 12  # cells in a row that leave room for a number each


class ValuesRenderer:
    """A grid of any shape, for any view; one that is no JSON-able dict is not stored."""

    name = "values"
    script = ""

    def scores(self, grid: np.ndarray, attribution: Attribution) -> np.ndarray:
        """The grid's own shape, min-max scaled."""
        return scale(grid)

    def fragment(self, attribution: Attribution, ident: str) -> str:
        rows = _rows(attribution)
        if not rows.size:
            return Markup(
                '<figure class="values" id="{}"><figcaption>a map without cells</figcaption></figure>'
            ).format(ident)
        small = rows.shape[1] > _READABLE
        cell = Markup('<td class="figure cell" style="{}" title="{}">{}</td>')
        lines, fitting = [], max(1, _MOST_SHOWN // rows.shape[1])
        deviation = attribution.deviation
        over_seeds = [] if deviation is None else [deviation.reshape(rows.shape)]
        for shades, *line in zip(
            heat_of(attribution, rows)[:fitting],
            rows[:fitting],
            *(each[:fitting] for each in over_seeds),
            strict=True,
        ):
            texts = [(shade, number_with(*values)) for shade, *values in zip(shades, *line, strict=True)]
            cells = Markup("").join(
                cell.format(shade_style(attribution, shade), text, "" if small else text)
                for shade, text in texts
            )
            lines.append(Markup("<tr>{}</tr>").format(cells))
        left = f"; the first {fitting:,} of {len(rows):,} rows" if fitting < len(rows) else ""
        ends = Markup("<figcaption>{} to {} {}{}</figcaption>").format(
            format_number(rows.min()), format_number(rows.max()), attribution.unit, left
        )
        table = Markup("<table><tbody>{}</tbody></table>").format(Markup("").join(lines))
        return Markup('<figure class="values{}" id="{}">{}{}</figure>').format(
            " small" if small else "",
            ident,
            scrollable(table, f"values: {described(attribution)}"),
            ends if small or left else "",
        )

    def draw(self, attribution: Attribution, axes: Axes) -> None:
        rows = _rows(attribution)
        if not rows.size:
            axes.set_axis_off()
            return
        looks = looks_of(axes)
        low, high = looks.range(attribution, rows)
        cmap = looks.shade(signed=attribution.signed)
        heat = axes.imshow(rows, cmap=cmap, aspect="auto", vmin=low, vmax=high)
        colour_bar(axes, heat, attribution, f"per position{less(attribution)}", cmap)

    def places(self, attribution: Attribution) -> np.ndarray:
        rows = _rows(attribution)
        return np.stack([*np.meshgrid(*map(np.arange, rows.shape[::-1]))], -1).reshape(-1, 2)

    def store(self, view: Any, folder: Path, stem: str) -> Mapping[str, Any]:
        try:
            return dict(json.loads(json.dumps(view))) if isinstance(view, Mapping) else {}
        except (TypeError, ValueError):  # what is in it is for another renderer
            return {}

    def restore(self, stored: Mapping[str, Any], folder: Path) -> Mapping[str, Any]:
        return dict(stored)


def _rows(attribution: Attribution) -> np.ndarray:
    """(rows, cells of the last axis)"""
    grid = attribution.balance
    return grid.reshape(math.prod(grid.shape[:-1]), grid.shape[-1])
