"""The files of an evaluation: tables as CSV and Markdown, and the page."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from m2ib.evaluation.page import render_page
from m2ib.evaluation.report import markdown
from m2ib.evaluation.results import Results
from m2ib.evaluation.store import FILE, KIND
from m2ib.folders import open_folder, sound
from m2ib.results.files import csv_text, write_files

TABLES = ("results.csv", "samples.csv", "bad-rows.csv", "results.md", "index.html")


def save(results: Results) -> Path:
    """``results.csv``, ``samples.csv``, ``bad-rows.csv``, ``results.md`` and ``index.html`` into the folder.

    Gives the page's path. Raises :class:`StorageError`.
    """
    with sound(results.folder / FILE):  # cases and curves stand there as they are shown
        files = {
            "results.csv": csv_text(_figures(results)),
            "samples.csv": csv_text(_samples(results)),
            "bad-rows.csv": csv_text([("place", "reason"), *results.notes, *_failures(results)]),
            "results.md": markdown(results),
            "index.html": render_page(results),
        }
    write_files(open_folder(results.folder, KIND, force=True), files)
    return results.folder / "index.html"


def _figures(results: Results) -> Iterator[tuple[Any, ...]]:
    yield (
        "side", "modality", "method", "control", "metric", "mean", "error_over_seeds", "error_over_pairs", "pairs",
        "undefined", "seconds", "published",
    )  # fmt: skip
    for table in results.tables:
        for method, control in table.rows:
            for metric in table.metrics:
                cell = table.cells.get((method, metric))
                if cell is None:
                    continue
                values = np.array(list(cell.samples.values()))
                error = float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.nan
                yield (
                    table.side, table.modality, method, int(control), metric, cell.found.mean,
                    cell.found.standard_error, error, len(values), cell.undefined,
                    table.seconds.get(method, math.nan), "" if cell.published is None else cell.published,
                )  # fmt: skip


def _failures(results: Results) -> Iterator[tuple[str, str]]:
    modalities = results.asked["data"]["modalities"]
    for (side, method, seed, pair), reasons in results.failures.items():
        place = f"{method} of {modalities[side]}, seed {seed}" + (f", pair {pair}" if pair else "")
        yield place, "; ".join(reasons)


def _samples(results: Results) -> Iterator[tuple[Any, ...]]:
    yield ("side", "modality", "method", "metric", "pair", "mean_over_seeds", "warnings")
    for table in results.tables:
        for (method, metric), cell in table.cells.items():
            for pair, value in cell.samples.items():
                said = results.warnings.get((table.side, method, pair), ())
                yield table.side, table.modality, method, metric, pair, value, "; ".join(said)
