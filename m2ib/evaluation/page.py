"""An evaluation's page: tables, what is behind each mean, and the worst cases; stands alone, light and dark."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from m2ib.evaluation.measures import MEASURES
from m2ib.evaluation.report import definitions, explained, head, number, remarks, sheet
from m2ib.evaluation.results import Results, Table
from m2ib.page.templates import joined_scripts, template

_WIDTH, _ROW = 260, 16  # of a strip, in pixels
_DOTS = 400  # at most in a strip


def render_page(results: Results) -> str:
    """As HTML."""
    asked = results.asked
    return template("evaluation/page.html.jinja").render(
        title=f"{asked['model'].get('adapter', 'A model')} on {asked['data']['name']}",
        explained=explained(results),
        definitions=definitions(results),
        remarks=remarks(results),
        tables=[_table(results, table) for table in results.tables],
        settings=_settings(results),
        script=joined_scripts(shown["script"] for case in results.cases for shown in case["shown"]),
    )


def _table(results: Results, table: Table) -> dict[str, Any]:
    curves = results.curves.get(table.side)
    return {
        "sheet": sheet(table),
        "strips": [(head(metric), _strip(table, metric)) for metric in table.metrics],
        "cases": [_case(case) for case in results.cases if case["side"] == table.side],
        "curve": _curves(curves, table.modality) if curves else "",
        "picture": _picture(results, table),
        "worst": next((name for name, control in table.rows if not control), ""),
    }


def _case(case: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": case["name"],
        "pair": case["pair"],
        "metric": MEASURES[case["metric"]].title,
        "other": Markup(case["other"]),
        "shown": [
            (shown["method"], number(shown["score"], case["metric"]), Markup(shown["html"]))
            for shown in case["shown"]
        ],
    }


def _strip(table: Table, metric: str) -> Markup:
    """A row of dots for each method, one for each pair, and its mean as a bar."""
    rows = [
        (method, control, cell)
        for method, control in table.rows
        if (cell := table.cells.get((method, metric))) is not None and not math.isnan(cell.found.mean)
    ]
    values = [value for _, _, cell in rows for value in cell.samples.values()]
    if not values:
        return Markup("")
    low, high = min(values), max(values)
    span = (high - low) or 1.0

    def place(value: float) -> str:
        return f"{4 + (value - low) / span * (_WIDTH - 8):.1f}"

    shown = []
    for place_in, (method, control, cell) in enumerate(rows):
        y = place_in * _ROW + _ROW / 2
        samples = np.array(list(cell.samples.values()))
        if len(samples) > _DOTS:
            samples = np.quantile(samples, np.linspace(0, 1, _DOTS))
        jitter = np.random.default_rng(0).uniform(-0.28, 0.28, len(samples)) * _ROW
        dots = Markup("").join(
            Markup('<circle cx="{}" cy="{}" r="1.8"/>').format(place(value), f"{y + shift:.1f}")
            for value, shift in zip(samples, jitter, strict=True)
        )
        mean = place(cell.found.mean)
        shown.append(
            Markup('<g class="{}"><title>{}: {}</title>{}<line x1="{}" x2="{}" y1="{}" y2="{}"/></g>').format(
                "control" if control else "method",
                method,
                number(cell.found.mean, metric),
                dots,
                mean,
                mean,
                f"{y - _ROW * 0.42:.1f}",
                f"{y + _ROW * 0.42:.1f}",
            )
        )
    names = Markup("").join(
        Markup('<li class="{}">{}</li>').format("control" if control else "", method)
        for method, control, _ in rows
    )
    return Markup(
        '<div class="strip"><ol>{}</ol><div><svg viewBox="0 0 {} {}" width="{}" height="{}" preserveAspectRatio="none" role="img" '
        'aria-label="{} of each pair\'s map of {}, with the means {}">{}</svg><p class="ends"><span>{}</span><span>{}</span></p></div></div>'
    ).format(
        names,
        _WIDTH,
        len(rows) * _ROW,
        _WIDTH,
        len(rows) * _ROW,
        MEASURES[metric].title,
        table.modality,
        ", ".join(f"{method}: {number(cell.found.mean, metric)}" for method, _, cell in rows),
        Markup("").join(shown),
        number(low, metric),
        number(high, metric),
    )


_COLOURS = (
    "#c2410c", "#1d6fb8", "#2f7d32", "#8a3ea8", "#a16207", "#0f766e", "#be185d", "#4b5563", "#0891b2", "#65a30d",
    "#7c2d12", "#db2777",
)  # fmt: skip


def _curves(curves: Mapping[str, Any], modality: str) -> Markup:
    """The sanity check: agreement with the intact map as more and more weights are random."""
    width, height, pad = 560, 220, 26
    stages, methods = curves["stages"], curves["methods"]
    step = (width - 2 * pad) / max(len(stages) - 1, 1)

    def at(stage: int, value: float) -> str:
        return f"{pad + stage * step:.1f},{height - pad - (value + 1) / 2 * (height - 2 * pad):.1f}"

    drawn, key, ends = [], [], []
    for place, (name, values) in enumerate(methods.items()):
        colour = _COLOURS[place % len(_COLOURS)]
        known = [(stage, value) for stage, value in enumerate(values) if value is not None]
        if len(known) < 2:  # a constant map has no ranks to compare
            continue
        points = " ".join(at(stage, value) for stage, value in known)
        drawn.append(
            Markup('<polyline points="{}" style="stroke:{}"><title>{}</title></polyline>').format(
                points, colour, name
            )
        )
        ends.append(f"{name}: {known[-1][1]:.2f}")
        key.append(Markup('<li><i style="background:{}"></i>{}</li>').format(colour, ends[-1]))
    rules = Markup("").join(
        Markup('<line x1="{}" x2="{}" y1="{}" y2="{}"/><text x="2" y="{}">{}</text>').format(
            pad, width - pad, y, y, y + 4, text
        )
        for value, text in ((1, "1"), (0, "0"), (-1, "−1"))
        for y in [round(height - pad - (value + 1) / 2 * (height - 2 * pad), 1)]
    )
    names = Markup(", ").join(stages)
    return Markup(
        '<figure class="sanity"><svg viewBox="0 0 {} {}" role="img" aria-label="maps of {} as weights are randomised; the rank correlation with the intact map at the end is {}">{}{}</svg>'
        "<figcaption>Rank correlation with the intact map as weights are randomised, from the left: {}. What stays "
        'high ignores the model.</figcaption><ul class="key">{}</ul></figure>'
    ).format(
        width, height, modality, ", ".join(ends), rules, Markup("").join(drawn), names, Markup("").join(key)
    )


def _picture(results: Results, table: Table) -> str:
    """The maps of the sanity check as a data URL; "" where they were not drawn."""
    path = results.folder / f"sanity-{table.side}-{table.modality}.png"
    if not path.is_file():
        return ""
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()


def _settings(results: Results) -> list[tuple[str, list[tuple[str, str]]]]:
    """(caption, rows) of the tables under the fold."""
    asked = results.asked
    groups: list[tuple[str, Mapping[str, Any]]] = [
        ("model", asked["model"]),
        ("data", {**asked["data"], "pairs": results.pairs}),
        ("study", {name: value for name, value in asked["study"].items() if name != "settings"}),
        ("versions", asked["versions"]),
    ]
    groups += [
        (f"{method}, {asked['data']['modalities'][side]}", found)
        for (side, method), found in results.settings.items()
    ]
    return [(name, [(key, _plain(value)) for key, value in found.items()]) for name, found in groups]


def _plain(value: Any) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(_plain, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)
