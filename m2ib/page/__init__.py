"""One self-contained page for any number of explanations: no network, light and dark, keyboard and mouse."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from m2ib.attribution import Attribution
from m2ib.errors import StorageError
from m2ib.explanation import Explanation
from m2ib.registry import list_methods
from m2ib.renderers.names import contrasted, file_name
from m2ib.renderers.place import figures

Remark = tuple[str, Sequence[tuple[bool, str]]]


def render_page(
    explanations: Iterable[Explanation],
    *,
    title: str | None = None,
    notes: Sequence[str] = (),
    remarks: Sequence[Remark] = (),
    overview: Markup | None = None,
) -> str:
    """The page as HTML.

    title     of the page; by default what is explained
    notes     one line shown over each explanation, in order; may be shorter
    remarks   shown under it: a line, and what was found out, each with whether that is right; may be shorter
    overview  HTML in place of the list of explanations; those have the ids e0, e1, ...
    """
    here = files("m2ib.page")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(here.joinpath("page.html.jinja").read_text(encoding="utf-8"))
    scripts: dict[str, None] = {}  # each once, whoever needs it
    cards = []
    made_by: dict[str, None] = {}
    for number, explanation in enumerate(explanations):
        sides = []
        for place, attribution in enumerate(explanation):
            scripts[attribution.renderer.script] = None
            made_by[attribution.method] = None
            sides.append(
                {
                    "modality": attribution.modality,
                    "fragment": Markup(attribution.renderer.fragment(attribution, f"e{number}-{place}")),
                    "name": file_name(attribution),
                    "heard": attribution.origin.get("heard", ""),
                    "warnings": attribution.origin.get("warnings", []),
                    "contrast": contrasted(attribution),
                    "held": held(attribution),
                    "curves": Markup("").join(_curves(attribution)),
                    "method": attribution.method,
                    "settings": _rows(attribution.settings),
                    "origin": _rows(attribution.origin),
                }
            )
        cards.append(
            {
                "number": number,
                "note": notes[number] if number < len(notes) else "",
                "remark": remarks[number] if number < len(remarks) else ("", ()),
                "similarity": f"{explanation.similarity:.4f}",
                "sides": sides,
                "provenance": _rows(explanation.provenance),
            }
        )
    return template.render(
        title=title or "m2ib explanation",
        introduction=introduction(made_by),
        cards=cards,
        overview=overview,
        style=Markup(here.joinpath("page.css").read_text(encoding="utf-8")),
        script=Markup("\n".join(filter(None, scripts))),
    )


def write_page(
    explanations: Iterable[Explanation],
    path: str | Path,
    *,
    title: str | None = None,
    notes: Sequence[str] = (),
    remarks: Sequence[Remark] = (),
    overview: Markup | None = None,
) -> Path:
    """Write :func:`render_page` to ``path`` and give the path back. Raises :class:`StorageError`."""
    path = Path(path)
    text = render_page(explanations, title=title, notes=notes, remarks=remarks, overview=overview)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StorageError(f"cannot write the page {str(path)!r}: {error.strerror or error}") from error
    return path


def introduction(methods: Iterable[str]) -> str:
    """What the values of a page are."""
    names = list(methods)
    said = [
        "Values are nats (multi-modal information bottleneck, Wang et al. 2023): the more information a position has to "
        "keep, the higher."
        if name == "m2ib"
        else f"{name}: {_summary(name)}."
        for name in names
    ]
    return " ".join(said)


def _summary(name: str) -> str:
    try:
        return list_methods()[name].summary
    except KeyError:
        return "a method that is not installed here"


def held(attribution: Attribution) -> str:
    """How much the map holds, and over what, in words."""
    values = attribution.grid if attribution.capacity is None else attribution.capacity
    included = _included(attribution)
    tokens = f", {included} tokens included" if included else ""
    place = "positions" if attribution.capacity is not None else "cells"
    if not attribution.additive:
        return f"{values.size:,} {place}{tokens}"
    unit = f" {attribution.unit}" if attribution.unit else ""
    return f"{figures(values.sum())}{unit} over {values.size:,} {place}{tokens}"


def _included(attribution: Attribution) -> str:
    """Which tokens are positions without being part of the input."""
    if any(token.special for token in attribution.layout.tokens):
        return "special"
    if attribution.capacity is None:
        return ""
    cells = attribution.layout.to_grid(attribution.capacity).size  # the grid may be finer than the positions
    return "class" if attribution.capacity.size > cells else ""


def _rows(values: Any) -> list[tuple[str, str]]:
    """(name, value) of a table; what is inside another has the names of both."""
    rows: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            rows += [(f"{name}.{inner}", text) for inner, text in _rows(value)]
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


def _curves(attribution: Attribution) -> list[Markup]:
    if attribution.curve is None:
        return []
    return [
        _chart("fit: mean cosine to the other side", attribution.curve.fit),
        _chart("information: mean KL, nats", attribution.curve.information),
    ]


def _chart(label: str, values: Sequence[float]) -> Markup:
    """A line chart as SVG, its first and last value written out."""
    width, height, pad = 220, 64, 6
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    step = (width - 2 * pad) / max(len(values) - 1, 1)
    points = [
        (pad + step * n, height - pad - (value - low) / span * (height - 2 * pad))
        for n, value in enumerate(values)
    ]
    return Markup(
        '<figure class="curve"><svg viewBox="0 0 {w} {h}" role="img" aria-label="{label}, from {first} to {last} '
        'in {count} steps"><polyline points="{points}"/>{dots}</svg>'
        "<figcaption>{label}<br><b>{first}</b> → <b>{last}</b> in {count} steps</figcaption></figure>"
    ).format(
        w=width,
        h=height,
        label=label,
        first=figures(values[0]),
        last=figures(values[-1]),
        count=len(values),
        points=" ".join(f"{x:.1f},{y:.1f}" for x, y in points),
        dots=Markup("").join(
            Markup('<circle cx="{}" cy="{}" r="2"/>').format(f"{x:.1f}", f"{y:.1f}") for x, y in points
        ),
    )
