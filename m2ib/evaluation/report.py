"""An evaluation's tables: on a terminal, as CSV, as Markdown, and as a page."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from m2ib.evaluation.measures import MEASURES
from m2ib.evaluation.results import Cell, Results, Table
from m2ib.metrics import Aggregate

if TYPE_CHECKING:
    from rich.console import Console

_FRAME = 3  # characters around a column on a terminal
_ARROWS = {"higher": "↑", "lower": "↓", "": ""}


def head(metric: str) -> str:
    """A column's title, with the direction in which a map is better."""
    measure = MEASURES[metric]
    unit = f", {measure.unit}" if measure.unit in ("%",) else ""
    return f"{measure.title}{unit} {_ARROWS[measure.better]}".strip()


def definition(metric: str) -> str:
    """What a metric tells, in which range, and which way a map is better."""
    measure = MEASURES[metric]
    bounds = _RANGES.get(measure.unit, "")
    better = f"{measure.better.capitalize()} is better" if measure.better else "No merit by itself"
    return f"{measure.summary} {better}{bounds and f', from {bounds}'}."


_RANGES = {"%": "0 to 100", "share": "0 to 1"}


def definitions(results: Results) -> list[tuple[str, str]]:
    """Of each metric that is shown, its column's title and what it tells."""
    shown = {metric for table in results.tables for metric in table.metrics}
    return [(head(metric), definition(metric)) for metric in MEASURES if metric in shown]


def number(value: float, metric: str = "") -> str:
    """Per cent with two digits after the point, everything else with three, or four in all."""
    if math.isnan(value):
        return "–"
    if metric in MEASURES and MEASURES[metric].unit == "%":
        return f"{value:.2f}"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.4g}"


def figure_text(found: Aggregate | None, metric: str = "") -> str:
    """ "1.11 ± 0.02"; "–" for nothing."""
    if found is None or math.isnan(found.mean):
        return "–"
    text = number(found.mean, metric)
    if not math.isnan(found.standard_error):
        text += f" ± {number(found.standard_error, metric)}"
    return text


def cell_text(cell: Cell | None, metric: str) -> str:
    """:func:`figure_text`, the paper's figure behind it where there is one."""
    text = figure_text(None if cell is None else cell.found, metric)
    if cell is not None and cell.published is not None and not math.isnan(cell.found.mean):
        text += f" [{number(cell.published, metric)}]"
    return text


def time_text(seconds: float | None) -> str:
    """What a map took."""
    if seconds is None or math.isnan(seconds):
        return ""
    return f"{seconds:.2f} s" if seconds >= 0.1 else f"{1000 * seconds:.1f} ms"


def title(table: Table) -> str:
    """Which maps a table is about."""
    other = "another " + table.other if table.other == table.modality else table.other
    return f"Maps of {table.modality}, against {other}"


def explained(results: Results) -> str:
    """How to read the figures."""
    study = results.asked["study"]
    seeds = len(study["seeds"])
    text = f"{results.pairs} pair{'s' * (results.pairs != 1)}, {seeds} seed{'s' * (seeds > 1)}. "
    text += "Means, ± the standard error over seeds." if seeds > 1 else "One seed, so no standard error."
    if any(cell.published is not None for table in results.tables for cell in table.cells.values()):
        text += " In brackets: Wang et al. 2023."
    text += " Shuffled: the same values in other places. A map of ones drops nothing, so read every figure beside the"
    return text + " controls and the mean mass (of the map scaled to [0, 1])."


@dataclass(frozen=True)
class Sheet:
    """A table as it is shown.

    name   over the first column
    heads  over the others
    rows   (the first column, whether it is a control, the others)
    """

    title: str
    name: str
    heads: Sequence[str]
    rows: Sequence[tuple[str, bool, Sequence[str]]]


def sheet(table: Table) -> Sheet:
    """A row for each method, its time last."""
    rows = []
    for method, control in table.rows:
        cells = [cell_text(table.cells.get((method, metric)), metric) for metric in table.metrics]
        rows.append((method, control, [*cells, time_text(table.seconds.get(method))]))
    return Sheet(title(table), "method", [*map(head, table.metrics), "time a map"], rows)


def remarks(results: Results) -> list[str]:
    """What must be told beside the tables."""
    found = [
        f"{method} for {table.modality}: not defined, {why}"
        for table in results.tables
        for method, why in table.undefined.items()
    ]
    for table in results.tables:
        controls = {name for name, control in table.rows if control}
        for metric in table.metrics:
            lacking = max(
                (
                    cell.undefined
                    for (method, name), cell in table.cells.items()
                    if name == metric and method not in controls
                ),
                default=0,
            )
            if lacking:
                found.append(f"{MEASURES[metric].title} of {table.modality}: up to {lacking} maps have none")
    cautioned: dict[tuple[int, str], list[str]] = {}
    for (side, method, _), said in results.warnings.items():
        cautioned.setdefault((side, method), []).append(said[0])
    for (side, method), first in cautioned.items():
        modality = next((table.modality for table in results.tables if table.side == side), "")
        many = f"{len(first)} map{'s have' if len(first) > 1 else ' has'} warnings"
        found.append(f"{method} of {modality}: {many}, as {first[0]!r}; all are in samples.csv")
    failed: dict[tuple[int, str], list[str]] = {}
    for (side, method, _, _), reasons in results.failures.items():
        failed.setdefault((side, method), []).extend(reasons)
    for (side, method), reasons in failed.items():
        many = f"{len(reasons)} map{'s' if len(reasons) > 1 else ''} could not be made"
        of = results.asked["data"]["modalities"][side]
        found.append(f"{method} of {of}: {many}, as {reasons[0]!r}; all are in bad-rows.csv")
    if len(results.batch_sizes) > 1:
        sizes = " and ".join(map(str, results.batch_sizes))
        found.append(
            f"maps were made {sizes} at a time, on which the time of a map depends: times are comparable where an evaluation has "
            "one batch size"
        )
    if results.notes:
        count = len(results.notes)
        found.append(f"{count} bad row{'s were' if count > 1 else ' was'} left out: see bad-rows.csv")
    return found


def show(results: Results, console: Console) -> None:
    """The tables on a terminal."""
    for table in results.tables:
        show_sheet(sheet(table), console)
    console.print(explained(results))
    for name, says in definitions(results):
        console.print(f"[bold]{name}[/]: {says}", highlight=False)
    for remark in remarks(results):
        console.print(remark)


def show_sheet(sheet: Sheet, console: Console) -> None:
    """A table on a terminal, in as many parts as its width asks for."""
    from rich.table import Table as Grid

    console.print(sheet.title, style="italic")
    widths = [
        max(map(len, (*text.split(), *(cells[place] for _, _, cells in sheet.rows))))
        for place, text in enumerate(sheet.heads)
    ]
    first = max((len(name) for name, _, _ in sheet.rows), default=0)
    for part in _parts(widths, console.width - first - _FRAME - 1):
        grid = Grid()
        grid.add_column(sheet.name, no_wrap=True, min_width=first)
        for place in part:
            grid.add_column(sheet.heads[place], justify="right", width=widths[place])
        for name, control, cells in sheet.rows:
            grid.add_row(name, *(cells[place] for place in part), style="dim" if control else None)
        console.print(grid)


def _parts(widths: Sequence[int], room: int) -> Iterator[list[int]]:
    """Which columns stand together: as many as fit, and at least one."""
    part: list[int] = []
    left = room
    for place, width in enumerate(widths):
        if part and width + _FRAME > left:
            yield part
            part, left = [], room
        part.append(place)
        left -= width + _FRAME
    yield part


def markdown(results: Results) -> str:
    """The tables for a README or a paper."""
    parts = []
    for each in map(sheet, results.tables):
        heads = [each.name, *each.heads]
        rows = [
            [f"*{method}*" if control else f"**{method}**" if method == "m2ib" else method, *cells]
            for method, control, cells in each.rows
        ]
        parts += [f"### {each.title}", ""]
        parts += [
            f"| {' | '.join(cells)} |" for cells in (heads, ["---", *["---:"] * (len(heads) - 1)], *rows)
        ]
        parts.append("")
    parts += [explained(results), "", *(f"- {name}: {says}" for name, says in definitions(results))]
    parts += [f"- {remark}" for remark in remarks(results)]
    return "\n".join(parts) + "\n"
