"""A matplotlib figure of an explanation."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from m2ib.explanation import Explanation


def draw(explanation: Explanation) -> Figure:
    """Both attributions side by side. Needs no display; show or save it as any figure."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.2), layout="constrained")
    for axes, attribution in zip(figure.subplots(1, 2), explanation, strict=True):
        attribution.renderer.draw(attribution, axes)
        axes.set_title(f"{attribution.modality} (layer {attribution.settings['layer']})", fontsize=10)
    figure.suptitle(f"cosine similarity {explanation.similarity:.3f}", fontsize=11)
    return figure
