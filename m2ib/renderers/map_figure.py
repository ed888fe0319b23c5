"""A matplotlib figure that is a picture by itself. Its own module, for it is imported with matplotlib alone."""

from __future__ import annotations

import os
from typing import Any

from matplotlib.figure import Figure

from m2ib.contract.plotting import UNDATED, own_style, png_of
from m2ib.renderers.looks import Looks


class MapFigure(Figure):
    """A figure of maps.

    A notebook shows it where it is the last line of a cell, once, whether ``%matplotlib inline`` was given or not: matplotlib knows no
    more of it than of any figure that ``pyplot`` has not made.

    looks  of the maps on it
    """

    def __init__(self, looks: Looks, **how: Any) -> None:
        super().__init__(**how)
        self.looks = looks

    def savefig(self, fname: Any, **how: Any) -> None:
        """As matplotlib's, in our settings: text stays text in PDF and SVG, and the same figure is the same file."""
        format = how.get("format") or os.path.splitext(str(fname))[1][1:]
        with own_style():
            super().savefig(fname, **{"metadata": UNDATED.get(format.lower()), **how})

    def _repr_png_(self) -> bytes:
        return png_of(self)
