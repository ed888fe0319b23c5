"""A matplotlib figure of an explanation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from m2ib.registry.foreign import renderer_code
from m2ib.renderers.fonts import readable
from m2ib.renderers.names import contrasted, ensemble, shortened
from m2ib.renderers.plotting import in_own_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from m2ib.contract.attribution import Attribution, AttributionPair


_TALLEST = 300  # inches; matplotlib draws 65,535 pixels at most


@in_own_style
def draw(explanation: AttributionPair) -> Figure:
    """Both attributions side by side. Needs no display; show or save it as any figure."""
    from matplotlib.figure import Figure

    words = max(len(attribution.words) for attribution in explanation)
    figure = Figure(figsize=(10, min(max(4.2, 1 + 0.2 * words), _TALLEST)), layout="constrained")
    for axes, attribution in zip(figure.subplots(1, 2), explanation, strict=True):
        with renderer_code(attribution.renderer):
            attribution.renderer.draw(attribution, axes)
        [(title, families)] = readable([_title(attribution)])
        axes.set_title(title, fontsize=10, fontfamily=families, parse_math=False)
    to = " to the mean" if any(map(ensemble, explanation)) else ""
    to = " to the difference" if any(map(contrasted, explanation)) else to
    figure.suptitle(f"{explanation.similarity_title} {explanation.similarity:.3f}{to}", fontsize=11)
    return figure


@in_own_style
def draw_methods(explanations: Sequence[AttributionPair]) -> Figure:
    """One pair by several methods: a row for each input, a column for each method."""
    from matplotlib.figure import Figure

    count = len(explanations)
    words = max(len(attribution.words) for attribution in explanations[0])
    figure = Figure(figsize=(1 + 4 * count, max(6.5, 3 + 0.25 * words)), layout="constrained")
    cells = figure.subplots(2, count, squeeze=False)
    for column, explanation in enumerate(explanations):
        for row, attribution in enumerate(explanation):
            axes = cells[row, column]
            with renderer_code(attribution.renderer):
                attribution.renderer.draw(attribution, axes)
            title = f"{attribution.method}, {attribution.modality}"
            axes.set_title(title, fontsize=10, parse_math=False)
    figure.suptitle(f"{explanations[0].similarity_title} {explanations[0].similarity:.3f}", fontsize=11)
    return figure


def _title(attribution: Attribution) -> str:
    layer = attribution.settings.get("layer")
    title = attribution.modality if layer is None else f"{attribution.modality} (layer {layer!s:.40})"
    if attribution.method != "m2ib":
        title += f", {attribution.method}"
    if attribution.curve is not None and attribution.curve.noise is not None:
        kept = attribution.curve.kept
        share = "no similarity to keep" if kept is None else f"the fit kept {min(max(kept, 0.0), 1.0):.0%}"
        title += f", {share}"
    names = contrasted(attribution)
    if names is None:
        several = ensemble(attribution)
        return title + (f"\nof {shortened(several[0], 45)}, the first of {len(several)}" if several else "")
    this, other = (shortened(name, 45) for name in names)
    between = " " if len(this + other) < 45 else "\n"
    return f"{title}\n{this}{between}rather than {other}"
