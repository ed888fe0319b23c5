"""What some renderers do besides, each a protocol that pages, figures and files look for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from markupsafe import Markup

from m2ib.contract.attribution import Attribution, Renderer
from m2ib.contract.regions import Region


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


@runtime_checkable
class Sketching(Protocol):
    """What a renderer does besides that can show a map in little, without numbers and knobs."""

    def sketch(self, attribution: Attribution, longest: int) -> Markup:
        """The input with its map as HTML; pictures of so many pixels at most along their longer side."""
        ...


@runtime_checkable
class Placing(Protocol):
    """What a renderer does besides that knows where in its figure the cells of a map are."""

    def places(self, attribution: Attribution) -> np.ndarray:
        """(cells, 2): x and y of each cell of the grid, flattened, in the data coordinates of the axes that ``draw`` draws
        on; of a text (words, 2), where lines to its words begin.
        """
        ...


@runtime_checkable
class Shading(Protocol):
    """What a renderer does besides that shades something else than the cells of the map."""

    def shaded(self, attribution: Attribution) -> np.ndarray:
        """The values whose least and greatest are the ends of the map's scale: of a text its words'."""
        ...


@runtime_checkable
class Condensing(Protocol):
    """What a renderer does besides whose views can be kept by the thousand."""

    def condensed(self) -> Renderer:
        """One that stores less of a view, as much as a page shows; ``restore`` reads that too."""
        ...
