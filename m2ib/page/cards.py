"""A page of many pairs: a small card for each, which opens to its maps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from markupsafe import Markup

from m2ib.contract.abilities import Sketching
from m2ib.contract.attribution import Attribution, side_of
from m2ib.contract.notebook import FIT
from m2ib.contract.pair import AttributionPair
from m2ib.page.explanation import write_html
from m2ib.page.guide import guide
from m2ib.page.overview import thumbnail
from m2ib.page.parts import specific_line
from m2ib.page.templates import joined_scripts, template
from m2ib.registry.foreign import renderer_code
from m2ib.renderers import ImageView, SoundRenderer
from m2ib.renderers.media import image_tag
from m2ib.renderers.names import described

_SMALL, _LARGE = 256, 384  # pixels of a picture along its longer side, on a card and when that is open
_HEAVIEST = 2**18  # characters of what a card opens to
_WHOLE_SOUND = SoundRenderer()
_WHOLE_SOUND.parts = False  # a card is heavy enough with one sound


@dataclass(frozen=True)
class Card:
    """A pair.

    id
    method
    similarity   None where it was not explained
    named        (modality, path, text or kind) of both inputs
    warnings
    error        why there are no maps
    explanation  None where there are none
    """

    id: str
    method: str
    similarity: float | None
    named: Sequence[tuple[str, str]]
    warnings: Sequence[str]
    error: str | None
    explanation: AttributionPair | None


def write_cards(
    cards: Iterable[Card],
    path: Path,
    *,
    summary: Sequence[tuple[str, str]],
    total: int,
    title: str | None = None,
) -> Path:
    """One self-contained page. Gives the path back. Raises :class:`StorageError`.

    summary  (what, how much), on top
    total    how many pairs there are, of which cards may be some
    """
    scripts: list[str] = []
    cards = list(cards)
    shown = [_values(card, number, scripts) for number, card in enumerate(cards)]
    methods = len({card["card"].method for card in shown})
    text = template("page/cards.html.jinja").render(
        title=title or "m2ib results",
        summary=summary,
        guide=guide([card.explanation for card in cards if card.explanation is not None]),
        cards=shown,
        total=total,
        methods=methods,
        script=joined_scripts([*scripts, FIT]),
    )
    return write_html(path, text)


def _values(card: Card, number: int, scripts: list[str]) -> dict[str, Any]:
    """What the template shows of a card; the scripts that it needs when it is open are added to those."""
    sides: Sequence[Attribution] = [] if card.explanation is None else card.explanation.attributions
    large = Markup("").join(_large(side, f"c{number}-{n}") for n, side in enumerate(sides))
    if len(large) <= _HEAVIEST:
        scripts += [side.renderer.script for side in sides]
    return {
        "card": card,
        "caution": specific_line(card.explanation)
        if card.explanation and card.explanation.unspecific
        else "",
        "sketches": [_sketch(side) for side in sides],
        "large": large if len(large) <= _HEAVIEST else "",
    }


def _sketch(side: Attribution) -> Markup:
    if isinstance(side.renderer, Sketching):
        with renderer_code(side.renderer):
            return side.renderer.sketch(side, _SMALL)
    if not side.grid.size:
        return Markup("")
    alone = image_tag(thumbnail(side), f"map: {described(side)}", 1, 1)
    return Markup('<div class="alone">{}</div>').format(alone)


def _large(side: Attribution, ident: str) -> Markup:
    if isinstance(side.view, ImageView):
        side = replace(side, view=side.view.reduced(_LARGE))
    if type(side.renderer) is SoundRenderer:
        side = replace(side, renderer=_WHOLE_SOUND)
    with renderer_code(side.renderer):
        return side_of(side, ident).html()
