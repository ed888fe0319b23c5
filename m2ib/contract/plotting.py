"""matplotlib as it is without anybody's settings: pages and figures look alike whatever the caller's are, which stay as they are."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from m2ib.promises import kept_promises, promise

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_FAMILY = "DejaVu Sans"  # comes with matplotlib
_AS_TEXT = {"svg.fonttype": "none", "pdf.fonttype": 42, "ps.fonttype": 42}  # words can be found and edited
_ALIKE = {"svg.hashsalt": "m2ib"}  # the same figure is the same file, which holds no date either
UNDATED: Mapping[str, Mapping[str, Any]] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}


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
    """Inside, matplotlib's settings are its defaults, but for the backend, which is the caller's, and for text in vector files,
    which stays text.
    """
    matplotlib = library()
    with kept_promises():
        before = dict(matplotlib.rcParams.copy())
        promise(partial(dict.update, matplotlib.rcParams, before))
        own = {"font.family": [_FAMILY], "backend": before["backend"], **_AS_TEXT, **_ALIKE}
        dict.update(matplotlib.rcParams, {**matplotlib.rcParamsDefault, **own})
        yield


def picture_of(draw: Callable[[Axes], None], title: str) -> bytes:
    """What is drawn on axes, as PNG."""
    with own_style():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(5.5, 4.4), layout="constrained")
        axes = figure.subplots()
        draw(axes)
        axes.set_title(title, fontsize=10, parse_math=False)
        return png_of(figure)


def png_of(figure: Figure) -> bytes:
    """As a notebook shows it."""
    file = io.BytesIO()
    with own_style():
        figure.savefig(file, format="png", dpi=100)
    return file.getvalue()
