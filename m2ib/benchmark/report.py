"""A benchmark as tables on a terminal, as CSV files and as one page."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from m2ib.benchmark.page import render_page
from m2ib.benchmark.tables import PER_MAP, figure_text, outcome_text, tables, verdict
from m2ib.errors import StorageError
from m2ib.results.storage import prepare_folder

if TYPE_CHECKING:
    from rich.console import Console

    from m2ib.benchmark.run import Benchmark


_WIDE = 120  # columns of a terminal that has room for standard errors


def show(benchmark: Benchmark, console: Console) -> None:
    """Tables, the gates last."""
    from rich.table import Table as Grid

    wide = console.width >= _WIDE
    for table in tables(benchmark):
        console.print(f"\n{table.title}: {table.note}", style="italic", highlight=False)
        grid = Grid(*table.heads, box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for column in table.columns:
            grid.add_column(column.replace("_", " "), justify="right")
        for heads, figures in table.lines:
            grid.add_row(*heads, *(figure_text(figure, error=wide) for figure in figures))
        console.print(grid)
    if not wide:
        console.print(f"Standard errors: on the page, or on a terminal of {_WIDE} columns.", highlight=False)
    console.print("\nGates", style="italic")
    grid = Grid("gate", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("value", "needed", ""):
        grid.add_column(name, justify="right" if name == "value" else "left")
    for outcome in benchmark.outcomes:
        colour = {True: "green", False: "bold red", None: "dim"}[outcome.passed]
        grid.add_row(outcome.gate.name, *outcome_text(outcome), f"[{colour}]{outcome.verdict}[/]")
    console.print(grid)
    console.print(verdict(benchmark), highlight=False)


def save(benchmark: Benchmark, folder: str | Path, *, force: bool = False) -> Path:
    """Write ``results.csv``, ``maps.csv``, ``settings.json`` and the page ``index.html``; the page's path.

    results.csv  one row for each seed, modality, method, control and metric
    maps.csv     one row for each map; an empty cell where a metric does not apply

    Raises :class:`StorageError`.
    """
    place = prepare_folder(Path(folder), force=force)
    try:
        (place / "settings.json").write_text(
            json.dumps(benchmark.settings, indent=2) + "\n", encoding="utf-8"
        )
        _write_csv(
            place / "results.csv",
            ("seed", "modality", "method", "control", "metric", "value", "maps"),
            (
                (r.seed, r.modality, r.method, r.control, r.metric, repr(r.value), r.count)
                for r in benchmark.results
            ),
        )
        measured = [metric for metric in PER_MAP if any(metric in row.values for row in benchmark.rows)]
        _write_csv(
            place / "maps.csv",
            ("seed", "scene", "modality", "method", "control", "kind", *measured),
            (
                (
                    *(row.seed, row.scene, row.modality, row.method, row.control, row.kind),
                    *(_cell(row.values.get(metric)) for metric in measured),
                )
                for row in benchmark.rows
            ),
        )
        page = place / "index.html"
        page.write_text(render_page(benchmark), encoding="utf-8")
    except OSError as error:
        raise StorageError(
            f"benchmark: {str(place)!r} cannot be written: {error.strerror or error}"
        ) from error
    return page


def _cell(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else repr(float(value))


def _write_csv(path: Path, names: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        writer.writerows(rows)
