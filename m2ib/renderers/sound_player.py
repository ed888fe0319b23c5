"""The player of a sound: the whole, and under a map what the map keeps and what it leaves out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from m2ib.renderers.masked_sound import sound_parts
from m2ib.renderers.media import wav_url
from m2ib.renderers.names import is_contrast
from m2ib.renderers.panels import note
from m2ib.renderers.sound_panels import span_text
from m2ib.renderers.sound_view import SoundView

if TYPE_CHECKING:
    from m2ib.contract.attribution import Attribution

_LONGEST = 2**22  # samples of which a page plays parts: four minutes at 16,000 a second, for 11 MB a part
_INAUDIBLE = 0.5 / 32767  # 0 in 16 bits


def player(view: SoundView) -> Markup:
    """The sound itself, in the page."""
    source = wav_url(view.waveform, view.rate)
    return Markup('<audio controls preload="auto" src="{}"></audio>').format(source)


def player_with_parts(attribution: Attribution, ident: str, *, parts: bool) -> tuple[Markup, dict[str, Any]]:
    """The player under a map as HTML, and what ``player.js`` must know: of the parts all but the rest, which it makes.

    ident  unique on the page
    parts  whether parts can be chosen
    """
    view: SoundView = attribution.view
    told: dict[str, Any] = {"played": [list(span) for span in view.played], "parts": {}}
    html = player(view) + Markup('<p class="hint">{}</p>').format(_said(view))
    if not parts:
        return html, told
    if view.waveform.size > _LONGEST:
        long = "this sound is too long for what the map keeps of it to be on the page; m2ib.renderers.sound_parts gives it"
        return html + Markup('<p class="hint">{}</p>').format(long), told
    found = dict(sound_parts(attribution))
    del found["left_out"]
    if max(float(np.abs(part).max()) for part in found.values()) < _INAUDIBLE:
        return html + note("the map keeps nothing of this sound that can be heard"), told
    told["parts"] = {name: wav_url(part, view.rate) for name, part in found.items()}
    names, explained = (_SIDES, _SIDES_SAID) if is_contrast(attribution) else (_SIGNS, _SIGNS_SAID)
    names, explained = (_KEPT, _KEPT_SAID) if len(found) == 1 else (names, explained)
    choice = Markup("").join(
        Markup('<label><input type="radio" name="{}-part" value="{}"{}> {}</label>').format(
            ident, value, Markup(" checked") if value == "whole" else "", text
        )
        for value, text in names.items()
    )
    shares = {name: _share(part, view.waveform) for name, part in found.items()}
    return Markup(
        '<fieldset class="parts" aria-label="what is played">{}</fieldset>{}<p class="hint">{}</p>'
    ).format(choice, html, explained.format(**shares)), told


_KEPT = {"whole": "the whole", "kept": "what the map keeps", "left_out": "what it leaves out"}
_KEPT_SAID = (
    "what the map keeps: each frequency at each moment times the heat there, {kept} of the sound's energy and made no "
    "louder; what it leaves out: the rest, with all that the model does not hear"
)
_SIDES = {
    "whole": "the whole",
    "kept": "what speaks for this one",
    "against": "what speaks for the other",
    "left_out": "the rest",
}
_SIDES_SAID = (
    "what speaks for one: each frequency at each moment times its lead over the other there, {kept} of the sound's energy "
    "for this one and {against} for the other, made no louder; the rest has all that the model does not hear"
)


_SIGNS = {
    "whole": "the whole",
    "kept": "what raises the similarity",
    "against": "what lowers it",
    "left_out": "the rest",
}
_SIGNS_SAID = (
    "what raises and what lowers it: each frequency at each moment times the value there, {kept} of the sound's energy above 0 "
    "and {against} below, made no louder; the rest has all that the model does not hear"
)


def _share(part: np.ndarray, whole: np.ndarray) -> str:
    share = float(np.square(part, dtype=np.float64).sum() / np.square(whole, dtype=np.float64).sum())
    return f"{100 * share:.0f}\u00a0%" if share >= 0.01 else "less than 1\u00a0%"


def _said(view: SoundView) -> str:
    """How it is played, and which parts of a long sound are there."""
    held = sum(end - start for start, end in view.played)
    if held >= view.length - 0.05:
        return _CLICK
    parts = (
        "the clips"
        if view.played == view.clips
        else " and ".join(span_text(view, *part) for part in view.played)
    )
    return f"{_CLICK}; of this long sound only {parts} can be heard"


_CLICK = "a click on a map or on the waveform plays from there"
