"""What the pages of explanations say of an attribution: its names, its sum, its settings and its curves."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from m2ib.contract.attribution import Attribution
from m2ib.contract.curve import Curve
from m2ib.contract.pair import AttributionPair
from m2ib.registry.discovery import list_methods
from m2ib.registry.foreign import renderer_code
from m2ib.renderers.formatting import format_number, format_short
from m2ib.renderers.names import contrasted, ensemble, file_name


def attribution_values(attribution: Attribution, ident: str, similarity: str) -> dict[str, Any]:
    """What the templates show of an attribution; ``ident`` is unique on the page."""
    with renderer_code(attribution.renderer):
        fragment = Markup(attribution.renderer.fragment(attribution, ident))
    return {
        "modality": attribution.modality,
        "fragment": fragment,
        "script": attribution.renderer.script,
        "name": file_name(attribution),
        "heard": attribution.origin.get("heard", ""),
        "warnings": attribution.warnings,
        "contrast": contrasted(attribution),
        "ensemble": ensemble(attribution),
        "total": total(attribution),
        "seeds": seeds(attribution),
        "units": units(attribution),
        "null": null_words(attribution),
        "curves": _curves(attribution, similarity),
        "method": attribution.method,
        "summary": summary(attribution.method),
        "settings": table_rows(attribution.settings),
        "origin": table_rows(attribution.origin),
    }


def usual_words(explanation: AttributionPair) -> tuple[str, bool]:
    """Where the similarity stands among those of the model's reference inputs, in words, and whether that is a caution; "" where it has none."""
    places = explanation.provenance.get("usual", {})
    found = [
        f"{place['below']:.0%} of {place['inputs']} reference inputs ({modality}; median {place['median']:.3f})"
        for modality, place in places.items()
    ]
    if not found:
        return "", False
    unrelated = all(place["below"] < 0.5 for place in places.values())
    caution = "No more similar than unrelated inputs usually are. " if unrelated else ""
    return f"{caution}More similar to the other side than {' and than '.join(found)}.", unrelated


def summary(name: str) -> str:
    """A method in one line."""
    try:
        return list_methods()[name].summary
    except KeyError:
        return "a method that is not installed here"


def total(attribution: Attribution) -> str:
    """How much the map holds, and over what, in words."""
    values = attribution.grid if attribution.capacity is None else attribution.capacity
    if not values.size:
        return ""
    included = _included(attribution)
    tokens = f", {included} tokens included" if included else ""
    place = "positions" if attribution.capacity is not None else "cells"
    if not attribution.additive:
        return f"{values.size:,} {place}{tokens}"
    unit = f" {attribution.unit}" if attribution.unit else ""
    return f"{format_number(values.sum())}{unit} over {values.size:,} {place}{tokens}{_lead(values)}"


def _lead(values: np.ndarray) -> str:
    """Of values that add up, how far the highest stands above an even share; "" where some are below 0, or all are."""
    whole = float(values.sum())
    if values.min() < 0 or not whole > 0:
        return ""
    share = float(values.max()) / whole
    return f"; the highest has {100 * share:.2g}\u00a0%, {share * values.size:.2g} times an even share"


def seeds(attribution: Attribution) -> str:
    """How far the maps of several seeds differ, in words; "" for one."""
    deviation = attribution.deviation
    if attribution.by_seed is None or deviation is None or not deviation.size:
        return ""
    count, first = len(attribution.by_seed), attribution.settings.get("seed", 0)
    most = float(np.abs(attribution.grid).max()) or 1.0
    middle, greatest = (100 * float(value) / most for value in (np.median(deviation), deviation.max()))
    return (
        f"The mean of {count} seeds, {first} to {first + count - 1}. The standard deviation over them is {middle:.2g} % of the map's "
        f"greatest value in the median, and {greatest:.2g} % at most."
    )


def units(attribution: Attribution) -> tuple[str, list[tuple[str, str]]]:
    """What the values of units are, in words, and the units with theirs, the greatest first; ("", []) where none were asked for."""
    named = sorted(attribution.units, key=lambda each: -each[1])
    if not named:
        return "", []
    assert attribution.segments is not None
    how = (
        "each hidden as one"
        if attribution.segments.hidden
        else "each the sum"
        if attribution.additive
        else "each the mean"
    )
    made = attribution.origin.get("units", {}).get("from", "")
    unit = f", in {attribution.unit}" if attribution.unit else ""
    return f"{len(named)} units ({made}), {how}{unit}", [
        (name, format_number(value)) for name, value in named
    ]


def null_words(attribution: Attribution) -> str:
    """How far an input, and its map, stand above those for others than its partner, in words; "" where that is unknown."""
    null = attribution.null
    if null is None:
        return ""
    count, above = len(null.similarities), null.score
    closer = "closer to" if above >= 0 else "farther from"
    return (
        f"z = {above:.1f}: {abs(above):.1f} standard deviations {closer} its partner than to {count} others. {null.specific(attribution.grid):.0%} "
        "of the map is this pair's own; the rest is in the mean map of the others too."
    )


def specific_line(explanation: AttributionPair) -> Markup:
    """Whether the pair is closer than others are, as a line over its maps, a caution where it is not; "" where it is unknown."""
    said = _specific_words(explanation)
    kind = "note" if explanation.unspecific else "hint"
    return Markup('<p class="{}">{}</p>').format(kind, said) if said else Markup("")


def _specific_words(explanation: AttributionPair) -> str:
    score, (first, second) = explanation.specificity, explanation
    if score is None:
        return ""
    # What an input is held against are others of its partner's kind.
    held = {
        other.modality: len(each.null.similarities)
        for each, other in ((first, second), (second, first))
        if each.null is not None
    }
    counts = [*dict.fromkeys(held.values())]
    names = [_PLURALS.get(modality, f"inputs of {modality}") for modality in held]
    others = (
        f"{counts[0]} other {' and '.join(names)}"
        if len(counts) == 1
        else " and ".join(f"{count} other {name}" for count, name in zip(held.values(), names, strict=True))
    )
    if explanation.unspecific:
        return f"This pair is no closer than {others} usually are (z = {score:.1f}): the maps below show what is there, not why the two belong together."
    return f"This pair is closer than {others} usually are (z = {score:.1f})."


_PLURALS = {"text": "texts", "image": "images", "video": "videos", "audio": "sounds"}


def _included(attribution: Attribution) -> str:
    """Which tokens are positions without being part of the input."""
    if any(token.special for token in attribution.layout.tokens):
        return "special"
    if attribution.capacity is None:
        return ""
    cells = attribution.layout.to_grid(attribution.capacity).size  # the grid may be finer than the positions
    return "class" if attribution.capacity.size > cells else ""


def table_rows(values: Any) -> list[tuple[str, str]]:
    """(name, value) of a table; what is inside another has the names of both."""
    rows: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            rows += [(f"{name}.{inner}", text) for inner, text in table_rows(value)]
        else:
            rows.append((str(name), _text(value)))
    return rows


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, (list, tuple)):
        inner = [f"({_text(each)})" if isinstance(each, (list, tuple)) else _text(each) for each in value]
        return ", ".join(inner)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _curves(attribution: Attribution, similarity: str) -> Markup:
    curve = attribution.curve
    if curve is None:
        return Markup("")
    fit = _chart(f"fit: mean {similarity} to the other side", curve.fit)
    said = (
        Markup('<p class="hint">{}</p>').format(_kept(curve, similarity))
        if curve.noise is not None
        else Markup("")
    )
    return fit + _chart("information: mean KL, nats", curve.information) + said


def _kept(curve: Curve, similarity: str) -> str:
    """In words, whether a fit kept what it is about."""
    assert curve.noise is not None
    first, last, noise = map(format_number, (curve.fit[0], curve.fit[-1], curve.noise))
    if curve.kept is None:
        return (
            f"There was no similarity to keep: at the start the mean {similarity} is {first}, and noise alone has {noise}. Heat shows "
            "what would bring the two closer, not what they have in common."
        )
    if curve.kept > _RAISED:
        return (
            f"The fit raised the similarity to {format_short(curve.kept)} times what there was: the mean {similarity} went from {first} to {last}; "
            f"noise alone has {noise}. Heat shows what would bring the two closer, more than what they have in common."
        )
    if curve.kept >= 1:
        return f"The fit kept the similarity: the mean {similarity} went from {first} to {last}; noise alone has {noise}."
    return f"The fit kept {max(0.0, curve.kept):.0%} of the similarity: the mean {similarity} went from {first} to {last}; noise alone has {noise}."


_RAISED = 3.0  # of the similarity: of what was kept, most was not there before


def _chart(label: str, values: Sequence[float]) -> Markup:
    """A line chart as SVG, its first and last value written out."""
    width, height, pad = 220, 64, 6
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    step = (width - 2 * pad) / max(len(values) - 1, 1)
    heights = [height - pad - (value - low) / span * (height - 2 * pad) for value in values]
    points = [(pad + step * n, y) for n, y in enumerate(heights)]
    dot = Markup('<circle cx="{:.1f}" cy="{:.1f}" r="2"/>')
    return Markup(
        '<figure class="curve"><svg viewBox="0 0 {w} {h}" role="img" aria-label="{label}, from {first} to {last} '
        'in {count} steps"><polyline points="{points}"/>{dots}</svg>'
        "<figcaption>{label}<br><b>{first}</b> → <b>{last}</b> in {count} steps</figcaption></figure>"
    ).format(
        w=width,
        h=height,
        label=label,
        first=format_number(values[0]),
        last=format_number(values[-1]),
        count=len(values),
        points=" ".join(f"{x:.1f},{y:.1f}" for x, y in points),
        dots=Markup("").join(dot.format(x, y) for x, y in points),
    )
