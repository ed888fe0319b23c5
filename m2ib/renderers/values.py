"""Any grid, as plain numbers: what is left when a modality has no renderer of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from m2ib.renderers.base import heat_of, heat_range, scale
from m2ib.renderers.formatting import format_number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from m2ib.contract.attribution import Attribution


_READABLE = 12  # cells in a row that leave room for a number each


class ValuesRenderer:
    """A grid of any shape, for any view; one that is no JSON-able dict is not stored."""

    name = "values"
    script = ""

    def scores(self, grid: np.ndarray, attribution: Attribution) -> np.ndarray:
        """The grid's own shape, min-max scaled."""
        return scale(grid)

    def fragment(self, attribution: Attribution, ident: str) -> str:
        rows = attribution.grid.reshape(-1, attribution.grid.shape[-1])
        small = rows.shape[1] > _READABLE
        cell = Markup('<td class="figure cell" style="--value:{:.3f}" title="{}">{}</td>')
        body = Markup("")
        for row, line in zip(rows, heat_of(attribution, rows), strict=True):
            texts = [(shade, format_number(value)) for value, shade in zip(row, line, strict=True)]
            cells = Markup("").join(cell.format(shade, text, "" if small else text) for shade, text in texts)
            body += Markup("<tr>{}</tr>").format(cells)
        ends = Markup("<figcaption>{} to {} {}</figcaption>").format(
            format_number(rows.min()), format_number(rows.max()), attribution.unit
        )
        return Markup('<figure class="values{}" id="{}"><table><tbody>{}</tbody></table>{}</figure>').format(
            " small" if small else "", ident, body, ends if small else ""
        )

    def draw(self, attribution: Attribution, axes: Axes) -> None:
        rows = attribution.grid.reshape(-1, attribution.grid.shape[-1])
        low, high = heat_range(attribution, rows)
        heat = axes.imshow(rows, cmap="inferno", aspect="auto", vmin=low, vmax=high)
        unit = attribution.unit or attribution.method
        axes.figure.colorbar(heat, ax=axes).set_label(f"{unit} per position")

    def store(self, view: Any, folder: Path, stem: str) -> Mapping[str, Any]:
        try:
            return dict(json.loads(json.dumps(view))) if isinstance(view, Mapping) else {}
        except (TypeError, ValueError):  # what is in it is for another renderer
            return {}

    def restore(self, stored: Mapping[str, Any], folder: Path) -> Mapping[str, Any]:
        return dict(stored)
