"""Figures that are drawn in settings of their own, show themselves in a notebook, and are written the same each time."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec

from m2ib.contract.plotting import UNDATED, library, own_style
from m2ib.promises import leaves_nothing
from m2ib.renderers.looks import Looks

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

P = ParamSpec("P")


def in_own_style(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """A function that draws a figure: all of it is made in :func:`own_style`, also what comes with the first rendering."""

    @leaves_nothing
    @wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with own_style():
            figure = draw(*args, **kwargs)
            for axes in figure.axes:
                if axes.get_axes_locator() is None:
                    axes.set_axes_locator(_rounded)
            figure.draw_without_rendering()
            for axis in [axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)]:
                sizes = [label.get_fontsize() for label in axis.get_ticklabels()]
                if sizes:
                    axis.set_tick_params(labelsize=sizes[0])  # else looked up whenever it is drawn
            return figure

    return drawn


def _rounded(axes: Any, renderer: Any) -> Bbox:
    """Where a layout places axes, without the noise of its solver, which would give an SVG other names each time."""
    from matplotlib.transforms import Bbox

    return Bbox(axes.get_position(original=True).get_points().round(6))


def map_figure(width: float, height: float, looks: Looks | None = None) -> Figure:
    """An empty figure of so many inches for maps that look so; a notebook shows it as it is."""
    library()
    from m2ib.renderers.map_figure import MapFigure

    return MapFigure(looks or Looks(), figsize=(width, height), layout="constrained")


def write(figure: Figure, file: Any, dpi: int, format: str = "png") -> None:
    """As PNG, PDF or SVG: the same figure gives the same bytes."""
    with own_style():
        figure.savefig(file, format=format, dpi=dpi, metadata=UNDATED.get(format))
