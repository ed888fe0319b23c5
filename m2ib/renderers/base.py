"""What a renderer must do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from markupsafe import Markup

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from m2ib.attribution import Attribution
    from m2ib.renderers.regions import Region


class Renderer(Protocol):
    """How the attributions of one modality are scaled, drawn, put on a page and stored.

    name    goes into the manifest of a saved explanation
    script  JavaScript that a page needs once for all fragments of this renderer; may be empty
    """

    @property
    def name(self) -> str: ...

    @property
    def script(self) -> str: ...

    def scores(self, grid: np.ndarray, attribution: Attribution) -> np.ndarray:
        """``grid`` scaled to [0, 1] at the model's input size."""
        ...

    def fragment(self, attribution: Attribution, ident: str) -> str:
        """The attribution as HTML; ``ident`` is unique on its page. Untrusted text must be escaped."""
        ...

    def draw(self, attribution: Attribution, axes: Axes) -> None:
        """The attribution on matplotlib axes."""
        ...

    def store(self, view: Any, folder: Path, stem: str) -> Mapping[str, Any]:
        """Write the view into ``folder`` (files begin with ``stem``); what is returned must be JSON-able."""
        ...

    def restore(self, stored: Mapping[str, Any], folder: Path) -> Any:
        """The view that ``store`` wrote."""
        ...


@runtime_checkable
class Outlining(Protocol):
    """What a renderer that knows where things are in its input does besides."""

    def outlined(self, view: Any, regions: Sequence[Region], modality: str) -> Any:
        """The view with these regions in place of its own, drawn over every map of it.

        Raises :class:`InputError` for axes that it cannot place.
        """
        ...

    def picture(self, attribution: Attribution, ident: str) -> Markup:
        """The input alone, without its map, as HTML; ``ident`` is unique on its page."""
        ...


def scale(values: np.ndarray) -> np.ndarray:
    """Min-max to [0, 1]; zeros for a constant array. float32, the shape of ``values``."""
    low, high = float(values.min()), float(values.max())
    if not high > low:
        return np.zeros(values.shape, np.float32)
    return ((values.astype(np.float64) - low) / (high - low)).astype(np.float32)
