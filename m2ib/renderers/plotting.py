"""matplotlib as it is without anybody's settings: pages and figures look alike whatever the caller's are, which stay as they are."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, ParamSpec

from m2ib.promises import kept_promises, leaves_nothing, promise

if TYPE_CHECKING:
    from matplotlib.figure import Figure

P = ParamSpec("P")
_FAMILY = "DejaVu Sans"  # comes with matplotlib


def library() -> Any:
    """matplotlib, also where ``$MPLBACKEND`` is none that it knows: then its own import fails."""
    if "matplotlib" in sys.modules:
        return sys.modules["matplotlib"]
    with kept_promises():
        backend = os.environ.get("MPLBACKEND")
        if backend is not None:
            promise(partial(os.environ.__setitem__, "MPLBACKEND", backend))
            del os.environ["MPLBACKEND"]
        import matplotlib
    if backend:
        with suppress(ValueError):
            matplotlib.rcParams["backend"] = backend
    return matplotlib


@contextmanager
def own_style() -> Iterator[None]:
    """Inside, matplotlib's settings are its defaults, but for the backend, which is the caller's."""
    matplotlib = library()
    with kept_promises():
        before = dict(matplotlib.rcParams.copy())
        promise(partial(dict.update, matplotlib.rcParams, before))
        own = {**matplotlib.rcParamsDefault, "font.family": [_FAMILY], "backend": before["backend"]}
        dict.update(matplotlib.rcParams, own)
        yield


def in_own_style(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """A function that draws a figure: all of it is made in :func:`own_style`, also what comes with the first rendering."""

    @leaves_nothing
    @wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with own_style():
            figure = draw(*args, **kwargs)
            figure.draw_without_rendering()
            for axis in [axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)]:
                sizes = [label.get_fontsize() for label in axis.get_ticklabels()]
                if sizes:
                    axis.set_tick_params(labelsize=sizes[0])  # else looked up whenever it is drawn
            return figure

    return drawn


def write(figure: Figure, file: Any, dpi: int) -> None:
    """As PNG."""
    with own_style():
        figure.savefig(file, format="png", dpi=dpi)
