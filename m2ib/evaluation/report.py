"""An evaluation's tables: on a terminal, as CSV, as Markdown, and as a page."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from m2ib.evaluation.results import Cell, Results, Table
from m2ib.evaluation.study import MEASURES

if TYPE_CHECKING:
    from rich.console import Console

_FRAME = 3  # characters around a column on a terminal
_ARROWS = {"higher": "↑", "lower": "↓", "": ""}


def head(metric: str) -> str:
    """A column's title, with the direction in which a map is better."""
    measure = MEASURES[metric]
    unit = f", {measure.unit}" if measure.unit in ("%",) else ""
    return f"{measure.title}{unit} {_ARROWS[measure.better]}".strip()


def number(value: float, metric: str) -> str:
    """Per cent with two digits after the point, everything else with three."""
    if math.isnan(value):
        return "–"
    return f"{value:.2f}" if MEASURES[metric].unit == "%" else f"{value:.3f}"


def cell_text(cell: Cell | None, metric: str) -> str:
    """ "1.11 ± 0.02", the paper's figure behind it where there is one; "–" for nothing."""
    if cell is None or math.isnan(cell.found.mean):
        return "–"
    text = number(cell.found.mean, metric)
    if not math.isnan(cell.found.standard_error):
        text += f" ± {number(cell.found.standard_error, metric)}"
    if cell.published is not None:
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


def lines(table: Table) -> Iterator[tuple[str, bool, list[str]]]:
    """(method, whether it is a control, its cells and its time), row by row."""
    for method, control in table.rows:
        cells = [cell_text(table.cells.get((method, metric)), metric) for metric in table.metrics]
        yield method, control, [*cells, time_text(table.seconds.get(method))]


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
    if results.notes:
        count = len(results.notes)
        found.append(f"{count} bad row{'s were' if count > 1 else ' was'} left out: see bad-rows.csv")
    return found


def show(results: Results, console: Console) -> None:
    """The tables on a terminal, in as many parts as its width asks for."""
    from rich.table import Table as Grid

    for table in results.tables:
        console.print(title(table), style="italic")
        heads, rows = [*map(head, table.metrics), "time a map"], list(lines(table))
        widths = [
            max(map(len, (*text.split(), *(cells[place] for _, _, cells in rows))))
            for place, text in enumerate(heads)
        ]
        first = max((len(method) for method, _, _ in rows), default=0)
        for part in _parts(widths, console.width - first - _FRAME - 1):
            grid = Grid()
            grid.add_column("method", no_wrap=True, min_width=first)
            for place in part:
                grid.add_column(heads[place], justify="right", width=widths[place])
            for method, control, cells in rows:
                grid.add_row(method, *(cells[place] for place in part), style="dim" if control else None)
            console.print(grid)
    console.print(explained(results))
    for remark in remarks(results):
        console.print(remark)


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
    for table in results.tables:
        heads = ["method", *map(head, table.metrics), "time a map"]
        rows = [
            [f"*{method}*" if control else f"**{method}**" if method == "m2ib" else method, *cells]
            for method, control, cells in lines(table)
        ]
        parts += [f"### {title(table)}", ""]
        parts += [
            f"| {' | '.join(cells)} |" for cells in (heads, ["---", *["---:"] * (len(heads) - 1)], *rows)
        ]
        parts.append("")
    parts.append(explained(results))
    parts += [f"- {remark}" for remark in remarks(results)]
    return "\n".join(parts) + "\n"
