"""Words shaded by their value."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup, escape

from m2ib.contract.layout import Axis
from m2ib.contract.null import Null
from m2ib.contract.regions import Region, check_axes
from m2ib.contract.schema import parsed, require
from m2ib.contract.segments import REST
from m2ib.contract.words import placed_words
from m2ib.errors import InputError
from m2ib.renderers.base import heat_of, heat_range, scale, shade_style
from m2ib.renderers.drawing import less
from m2ib.renderers.fonts import readable
from m2ib.renderers.formatting import flatness, format_number, number_with
from m2ib.renderers.looks import looks_of
from m2ib.renderers.names import input_name
from m2ib.renderers.outlines import outlines_key
from m2ib.renderers.panels import hues, note, scrollable
from m2ib.renderers.units import unit_number
from m2ib.renderers.view_storage import restore_regions, store_regions

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from m2ib.contract.attribution import Attribution


_AXES = (("word", "characters"),)
_LONGEST, _TOKENS = 2**16, 2**12  # characters, and bars of a figure


class TextRenderer:
    """A grid (tokens,) over the view ``{"text": str}``, with ``"regions"`` where there are any."""

    name = "text"
    script = ""

    def check_attribution(self, attribution: Attribution) -> None:
        view, who = attribution.view, f"{attribution.modality}, text"
        known = isinstance(view, Mapping) and isinstance(view.get("text"), str)
        require(known, f"{who}: its view", view, "a mapping with the text")
        check_axes(view.get("regions", ()), _AXES, attribution.modality)
        require(bool(attribution.tokens), f"{who}: its layout", "without tokens", "one with a token a cell")
        require(
            len(view["text"]) <= _LONGEST, f"{who}: its length", len(view["text"]), f"{_LONGEST:,} at most"
        )
        require(
            len(attribution.tokens) <= _TOKENS,
            f"{who}: its tokens",
            len(attribution.tokens),
            f"{_TOKENS:,} at most",
        )
        if attribution.segments is not None:
            cut = attribution.segments.labels.shape
            require(cut == (len(view["text"]),), f"{who}: its segments' labels", cut, "one a character")
        end, length = max(token.end for token in attribution.layout.tokens), len(view["text"])
        require(end <= length, f"{who}: the end of a token", end, f"{length} at most, as long as the text is")

    def scores(self, grid: np.ndarray, attribution: Attribution) -> np.ndarray:
        """(tokens,): min-max over the tokens that are not special; special tokens get 0."""
        content = np.array([not token.special for token in attribution.layout.tokens], dtype=bool)
        scores = np.zeros(grid.shape, np.float32)
        if content.any():
            scores[content] = scale(grid[content])
        return scores

    def fragment(self, attribution: Attribution, ident: str) -> str:
        words = _values(attribution, attribution.balance)
        unit = f" {attribution.unit}" if attribution.unit else ""
        shown = heat_of(attribution, words)
        span = Markup('<span class="word{}" tabindex="0" style="{}">{}<span class="number">{}</span></span>')
        spans = [
            span.format(
                kind,
                shade_style(attribution, shade),
                word,
                ", ".join([number, *(each.name for each in known)]),
            )
            for (word, _), number, shade, known, kind in zip(
                attribution.words,
                _numbers(attribution, unit),
                shown,
                _known(attribution),
                _classes(attribution),
                strict=True,
            )
        ]
        deviation = attribution.deviation if attribution.against is None else None
        of_tokens = [] if deviation is None else [deviation]
        rows = Markup("").join(
            Markup('<tr{mark}><td>{token}</td><td class="figure">{number}</td></tr>').format(
                mark=Markup(' class="special"') if token.special else "",
                token=_standing(token.text),
                number=number_with(*values),
            )
            for token, *values in zip(attribution.layout.tokens, attribution.balance, *of_tokens, strict=True)
        )
        table = Markup(
            '<table><thead><tr><th scope="col">token</th><th scope="col">{}</th></tr></thead><tbody>{}</tbody></table>'
        )
        return Markup(
            '<figure class="words{around}" id="{ident}">{sentence}{key}{legend}{notes}'
            "<details><summary>Tokens, special ones included</summary>"
            "{table}</details></figure>"
        ).format(
            ident=escape(ident),
            around=" around" if attribution.signed else "",
            sentence=_sentence(attribution, spans, numbers=True),
            key=outlines_key([(region.name, region.main) for region in _regions(attribution)]),
            legend=_legend(attribution, words, unit),
            table=scrollable(
                table.format(attribution.unit or "value", rows),
                f"tokens of {input_name(attribution)}, by {attribution.method}",
            ),
            notes=_notes(attribution),
        )

    def sketch(self, attribution: Attribution, longest: int) -> Markup:
        shown = heat_of(attribution, _values(attribution, attribution.balance))
        span = Markup('<span class="word{}" style="{}">{}</span>')
        words = zip(_classes(attribution), shown, attribution.words, strict=True)
        spans = [span.format(kind, shade_style(attribution, shade), word) for kind, shade, (word, _) in words]
        return _sentence(attribution, spans)

    def raster(self, attribution: Attribution) -> tuple[tuple[int, ...], tuple[Axis, ...]]:
        """The text's characters, and where its tokens lie, without special ones; each on one character at least."""
        length = len(attribution.view["text"])
        tokens = [token for token in attribution.layout.tokens if not token.special]
        if not tokens:
            raise InputError(
                f"text {attribution.view['text']!r:.40}: it has no tokens but special ones, which lie nowhere"
            )
        starts = [max(0, min(token.start, length - 1)) for token in tokens]
        spans = [(start, max(start + 1, token.end)) for start, token in zip(starts, tokens, strict=True)]
        return (length,), (Axis("character", "characters", tuple(spans)),)

    def outlined(self, view: Mapping[str, Any], regions: Sequence[Region], modality: str) -> dict[str, Any]:
        return {**view, "regions": check_axes(regions, _AXES, modality)}

    def picture(self, attribution: Attribution, ident: str) -> Markup:
        span = Markup('<span class="word{}">{}</span>')
        words = zip(_classes(attribution), attribution.words, strict=True)
        spans = [span.format(kind, word) for kind, (word, _) in words]
        return Markup('<figure class="picture words">{}</figure>').format(_sentence(attribution, spans))

    def draw(self, attribution: Attribution, axes: Axes) -> None:
        units = attribution.units
        words = units or attribution.words
        places, looks = np.arange(len(words)), looks_of(axes)
        values = self.shaded(attribution)
        limits = looks.range(attribution, values) if values.size else (0.0, 1.0)
        bars = axes.barh(
            places,
            values,
            xerr=attribution.word_deviations if not units and attribution.against is None else None,
            color=looks.shade(signed=attribution.signed)(heat_of(attribution, values, limits)),
            edgecolor=_BAR_EDGE,
            linewidth=0.6,
        )
        if attribution.signed:
            axes.axvline(0, color="black", linewidth=0.8)
        if looks.limits and limits[1] > limits[0]:
            axes.set_xlim(*np.array(limits).clip(min(0.0, limits[0]), None) * 1.05)
        labels = readable([word for word, _ in words])
        axes.set_yticks(places, [word for word, _ in labels], parse_math=False)
        for tick, (_, families) in zip(axes.get_yticklabels(), labels, strict=True):
            tick.set_fontfamily(families)
        regions = [[]] * len(units) if units else _known(attribution)
        for bar, label, known in zip(bars, axes.get_yticklabels(), regions, strict=True):
            if known:
                main = any(region.main for region in known)
                bar.set(edgecolor=_EDGE, linewidth=1.8, linestyle="solid" if main else "dashed")
                label.set(color=_EDGE, fontweight="bold" if main else "normal")
        axes.invert_yaxis()
        axes.set_xlabel(
            f"{attribution.unit or attribution.method} per {'unit' if units else f'word{less(attribution)}'}"
        )
        axes.spines[["top", "right"]].set_visible(False)

    def shaded(self, attribution: Attribution) -> np.ndarray:
        """(words,), or (units,) where there are units."""
        units = [value for _, value in attribution.units]
        return np.array(units) if units else _values(attribution, attribution.balance)

    def places(self, attribution: Attribution) -> np.ndarray:
        """At the end of each word's bar."""
        values = _values(attribution, attribution.balance)
        return np.stack([values, np.arange(len(values))], 1)

    def store(self, view: Mapping[str, Any], folder: Path, stem: str) -> Mapping[str, Any]:
        regions = view.get("regions", ())
        return {**view, "regions": store_regions(regions, folder, stem)} if regions else dict(view)

    def restore(self, stored: Mapping[str, Any], folder: Path) -> Mapping[str, Any]:
        parsed(str, stored.get("text"), "view.text")
        if "regions" not in stored:
            return dict(stored)
        return {**stored, "regions": restore_regions(stored["regions"], folder)}


_EDGE, _BAR_EDGE = "#00707f", "#7a6a52"  # on white paper: of what is known, and of any bar


def _values(attribution: Attribution, grid: np.ndarray) -> np.ndarray:
    """(words,): the values of words, of a map (tokens,) in place of the attribution's own."""
    tokens, mean = attribution.layout.tokens, not attribution.additive
    placed = placed_words(str(attribution.view["text"]), tokens, grid, mean=mean)
    return np.array([value for *_, value in placed])


def _numbers(attribution: Attribution, unit: str) -> list[str]:
    """What is read at each word: of a signed map both sides, and how far it stands above the others' where there are such."""
    against, null = attribution.against, attribution.null
    words = _values(attribution, attribution.grid)
    if against is not None:
        pairs = zip(words, _values(attribution, against), strict=True)
        said = [f"{format_number(this)}{unit} for, {format_number(other)} against" for this, other in pairs]
    else:
        apart: Sequence[float | None] = attribution.word_deviations or [None] * len(words)
        said = [f"{number_with(*each)}{unit}" for each in zip(words, apart, strict=True)]
    scores = [] if null is None else _word_scores(attribution, null)
    return [f"{each}, z = {score:.1f}" for each, score in zip(said, scores, strict=True)] if scores else said


def _word_scores(attribution: Attribution, null: Null) -> list[float]:
    """How many standard deviations each word stands above its mean for other inputs, where its tokens' deviations add up:
    as if they always rose together, so that a word of several tokens is at least so far above.
    """
    grids = attribution.grid, null.mean, null.deviation
    own, mean, deviation = (_values(attribution, each) for each in grids)
    return [float(score) for score in Null(mean, deviation, null.similarities, null.similarity).scores(own)]


def _regions(attribution: Attribution) -> tuple[Region, ...]:
    found: tuple[Region, ...] = attribution.view.get("regions", ())
    return found


def _known(attribution: Attribution) -> list[list[Region]]:
    """For each word the regions that it is in."""
    regions = _regions(attribution)
    places = [(start, end) for start, end, _ in attribution.placed_words]
    return [[region for region in regions if region.touches(start, end)] for start, end in places]


def _sentence(attribution: Attribution, spans: Sequence[Markup], *, numbers: bool = False) -> Markup:
    """The text as it is, in its own direction, its words as ``spans``; what is in no word has no token.

    numbers  whether words of one unit in a row are underlined together, with the unit's value
    """
    text, done = str(attribution.view["text"]), 0
    parts: list[Markup] = []
    for unit, words in groupby(
        zip(_units(attribution), attribution.placed_words, spans, strict=True), key=lambda word: word[0]
    ):
        inside: list[Markup] = []
        for _, (start, end, _), span in words:
            (inside if inside else parts).append(_between(text[done:start]))
            inside.append(span)
            done = end
        if unit and numbers:
            number = unit_number(attribution.units[unit - 1][1])
            inside[-1] = Markup('<span class="ends">{}<b>{}</b></span>').format(inside[-1], number)
            inside = [Markup('<span class="phrase">{}</span>').format(Markup("").join(inside))]
        parts += inside
    parts.append(_between(text[done:]))
    return Markup('<p class="sentence" dir="auto">{}</p>').format(Markup("").join(parts))


def _units(attribution: Attribution) -> list[int]:
    """For each word the unit that its middle is in, counted from 1; 0 for one in none, or in the rest."""
    segments = attribution.segments
    if segments is None:
        return [0] * len(attribution.placed_words)
    found = [int(segments.labels[(start + end) // 2]) for start, end, _ in attribution.placed_words]
    return [0 if number and segments.names[number - 1] == REST else number for number in found]


def _between(text: str) -> Markup:
    if not text.strip():
        return escape(text)
    return Markup('<span class="unread" title="not read by the model">{}</span>').format(text)


def _standing(token: str) -> str:
    """A token as it can stand alone: a mark without its letter on a dotted circle."""
    return f"\u25cc{token}" if unicodedata.category(token[:1] or " ") in ("Mn", "Mc", "Me") else token


def _classes(attribution: Attribution) -> list[str]:
    """For each word: whether it is in a known region, and its direction in a text that has some from right to left."""
    ways = [[unicodedata.bidirectional(sign) for sign in word] for word, _ in attribution.words]
    leftward = [any(way in ("R", "AL") for way in word) for word in ways]
    found = []
    for known, left, word in zip(_known(attribution), leftward, ways, strict=True):
        kinds = [" known"] if known else []
        kinds += [" main"] if any(region.main for region in known) else []
        kinds += [" rtl" if left else " ltr"] if any(leftward) and (left or "L" in word) else []
        found.append("".join(kinds))
    return found


def _legend(attribution: Attribution, words: np.ndarray, unit: str) -> Markup:
    if not words.size:
        return Markup("")
    low, high = heat_range(attribution, words)
    ends = (
        (f"−{format_number(high)}", f"+{format_number(high)}")
        if attribution.signed
        else (format_number(low), format_number(high))
    )
    legend = Markup(
        '<div class="legend"><span class="low">{0}{2}</span><span class="ramp"></span><span class="high">{1}{2}</span></div>'
    )
    return legend.format(*ends, unit)


def _notes(attribution: Attribution) -> Markup:
    """What the shades do not show."""
    sides = [each for each in (attribution.grid, attribution.against) if each is not None]
    flat = note(flatness(*(_values(attribution, each) for each in sides)))
    flat += _opposed(attribution) if attribution.signed else ""
    special = np.array([token.special for token in attribution.layout.tokens], dtype=bool)
    share = attribution.grid[special].sum() / (attribution.grid.sum() or 1.0)
    if attribution.unit != "nats" or share <= 0.5:
        return flat
    return flat + note(f"{100 * share:.0f} % of the nats lie on special tokens, which are not shaded")


def _opposed(attribution: Attribution) -> Markup:
    """Of a signed map, what the hues are, and the words that they are blue for, to those who do not see them."""
    text, values = str(attribution.view["text"]), _values(attribution, attribution.balance)
    placed = zip(attribution.placed_words, values, strict=True)
    blue = sorted((value, text[start:end]) for (start, end, _), value in placed if value < 0)
    found = ", ".join(f"{word} (−{format_number(-value)})" for value, word in blue[:_MOST_NAMED])
    more = f" and {len(blue) - _MOST_NAMED} more" if len(blue) > _MOST_NAMED else ""
    named = f"blue, with a bar from the right: {found}{more}" if blue else "no word is blue"
    return Markup('<p class="hint opposed">{}; {}</p>').format(hues(attribution), named)


_MOST_NAMED = 12
