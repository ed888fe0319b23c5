"""The head of a page about one thing in several modalities: its inputs, and a table of all maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from m2ib.contract.abilities import Outlining
from m2ib.contract.attribution import Attribution
from m2ib.errors import InputError
from m2ib.page.templates import template
from m2ib.registry.foreign import renderer_code
from m2ib.renderers.base import heat_of
from m2ib.renderers.drawing import heat_pixels
from m2ib.renderers.media import png_url


@dataclass(frozen=True)
class PairedMap:
    """One modality's map, as seen from another one.

    number       of the explanation on the page
    kind         asked for
    attribution  the map
    right        whether its highest value is where it should be
    several      whether there was a choice: the input holds more than what was asked for
    said         the same in words
    """

    number: int
    kind: str
    attribution: Attribution
    right: bool
    several: bool
    said: str


def render_overview(
    shown: Mapping[str, Attribution], maps: Mapping[tuple[str, str], PairedMap], kinds: Sequence[str]
) -> Markup:
    """As HTML, for :func:`m2ib.page.explanation.render_page`.

    shown  by modality, attributions whose inputs are shown without their maps
    maps   by (modality of the map, modality of the other input)
    kinds  what is there
    """
    views = [(modality, _picture(attribution, f"view-{modality}")) for modality, attribution in shown.items()]
    pictured = {key: (each, thumbnail(each.attribution)) for key, each in maps.items()}
    rows = [(modality, [pictured[modality, other] for other in shown]) for modality in shown]
    chosen = [each for each in maps.values() if each.several]
    return Markup(
        template("page/overview.html.jinja").render(
            views=views, rows=rows, kinds=kinds, right=sum(each.right for each in chosen), chosen=len(chosen)
        )
    )


def _picture(attribution: Attribution, ident: str) -> Markup:
    if not isinstance(attribution.renderer, Outlining):
        raise InputError(f"overview: {attribution.modality!r} cannot be shown without its map")
    with renderer_code(attribution.renderer):
        return attribution.renderer.picture(attribution, ident)


def thumbnail(attribution: Attribution) -> str:
    """The map as a small picture: pictures as they are, hertz rising upwards, texts and motion from left to right."""
    signed = attribution.signed
    scores = heat_of(attribution, attribution.balance) if signed else attribution.scores
    if attribution.layout.tokens:
        scores = scores[[not token.special for token in attribution.layout.tokens]]
    rising = tuple(place for place, axis in enumerate(attribution.axes) if axis.unit == "Hz")
    rows = np.flip(scores, rising).reshape(-1, scores.shape[-1])
    steps = [max(1, side // 48) for side in rows.shape]
    return png_url(heat_pixels(np.ascontiguousarray(rows[:: steps[0], :: steps[1]]), signed=signed))
