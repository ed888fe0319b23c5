"""A matplotlib figure of an explanation."""

from __future__ import annotations

from textwrap import shorten
from typing import TYPE_CHECKING

from m2ib.renderers.names import contrasted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from m2ib.attribution import Attribution
    from m2ib.explanation import Explanation


def draw(explanation: Explanation) -> Figure:
    """Both attributions side by side. Needs no display; show or save it as any figure."""
    from matplotlib.figure import Figure

    words = max(len(attribution.words) for attribution in explanation)
    figure = Figure(figsize=(10, max(4.2, 1 + 0.2 * words)), layout="constrained")
    for axes, attribution in zip(figure.subplots(1, 2), explanation, strict=True):
        attribution.renderer.draw(attribution, axes)
        axes.set_title(_title(attribution), fontsize=10, parse_math=False)
    to = " to the difference" if any(map(contrasted, explanation)) else ""
    figure.suptitle(f"cosine similarity {explanation.similarity:.3f}{to}", fontsize=11)
    return figure


def _title(attribution: Attribution) -> str:
    title = f"{attribution.modality} (layer {attribution.settings['layer']})"
    names = contrasted(attribution)
    if names is None:
        return title
    this, other = (shorten(name, 45, placeholder=" …") for name in names)
    return f"{title}\n{this} rather than {other}"
