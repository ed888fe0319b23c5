"""An embedding that was given in place of an input: there is nothing to lay heat over, and that is said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from m2ib.contract.schema import require
from m2ib.renderers.view_storage import restore_view, store_view

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from m2ib.contract.attribution import Attribution


@dataclass(frozen=True, eq=False)
class EmbeddingView:
    """A vector (D,) as it was given, float64."""

    vector: np.ndarray

    def __post_init__(self) -> None:
        require(self.vector.ndim == 1, "EmbeddingView: the vector's shape", self.vector.shape, "(D,)")


class EmbeddingRenderer:
    """A grid (0,), without cells, over an :class:`EmbeddingView`."""

    name = "embedding"
    script = ""

    def scores(self, grid: np.ndarray, attribution: Attribution) -> np.ndarray:
        """(0,)"""
        return np.zeros(grid.shape, np.float32)

    def fragment(self, attribution: Attribution, ident: str) -> str:
        text = Markup('<figure class="values" id="{}"><figcaption>{}; it has no map</figcaption></figure>')
        return text.format(ident, _said(attribution))

    def draw(self, attribution: Attribution, axes: Axes) -> None:
        axes.set_axis_off()
        axes.text(0.5, 0.5, _said(attribution).replace(", ", ",\n"), ha="center", va="center")

    def store(self, view: EmbeddingView, folder: Path, stem: str) -> Mapping[str, Any]:
        return store_view(view, folder, stem)

    def restore(self, stored: Mapping[str, Any], folder: Path) -> EmbeddingView:
        found: EmbeddingView = restore_view(EmbeddingView, stored, folder)
        return found


def _said(attribution: Attribution) -> str:
    return f"an embedding of {len(attribution.view.vector)} numbers, given in place of an input"
