"""Any grid, as plain numbers: what is left when a modality has no renderer of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from m2ib.renderers.base import scale
from m2ib.renderers.place import figures

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from m2ib.attribution import Attribution


class ValuesRenderer:
    """A grid of any shape; the view is a JSON-able dict, or None."""

    name = "values"
    script = ""

    def scores(self, grid: np.ndarray, attribution: Attribution) -> np.ndarray:
        """The grid's own shape, min-max scaled."""
        return scale(grid)

    def fragment(self, attribution: Attribution, ident: str) -> str:
        rows = attribution.grid.reshape(-1, attribution.grid.shape[-1])
        shades = scale(rows)
        body = Markup("").join(
            Markup("<tr>{}</tr>").format(
                Markup("").join(
                    Markup('<td class="figure cell" style="--value:{:.3f}">{}</td>').format(
                        shade, figures(value)
                    )
                    for value, shade in zip(row, line, strict=True)
                )
            )
            for row, line in zip(rows, shades, strict=True)
        )
        return Markup('<figure class="values" id="{}"><table><tbody>{}</tbody></table></figure>').format(
            ident, body
        )

    def draw(self, attribution: Attribution, axes: Axes) -> None:
        rows = attribution.grid.reshape(-1, attribution.grid.shape[-1])
        heat = axes.imshow(rows, cmap="inferno", aspect="auto")
        axes.figure.colorbar(heat, ax=axes).set_label(
            f"{attribution.unit or attribution.method} per position"
        )

    def store(self, view: Any, folder: Path, stem: str) -> Mapping[str, Any]:
        return {} if view is None else dict(view)

    def restore(self, stored: Mapping[str, Any], folder: Path) -> Mapping[str, Any]:
        return dict(stored)
