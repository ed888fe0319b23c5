"""The files of a benchmark: tables as CSV, its settings, and one page that stands alone, light and dark."""

from __future__ import annotations

import json
from dataclasses import astuple, fields
from pathlib import Path

from m2ib.benchmark.interactions import InteractionScores, WordScore
from m2ib.benchmark.report import PER_MAP, outcome_text, tables, verdict
from m2ib.benchmark.run import KIND, Benchmark
from m2ib.folders import open_folder
from m2ib.page.templates import template
from m2ib.paths import local_path
from m2ib.results.files import csv_text, write_files


def save(benchmark: Benchmark, folder: str | Path, *, force: bool = False) -> Path:
    """Write ``results.csv``, ``maps.csv``, ``settings.json`` and the page ``index.html``; the page's path.

    results.csv  one row for each seed, modality, method, control and metric
    maps.csv     one row for each map, with its warnings; an empty cell where a metric does not apply

    Raises :class:`StorageError`.
    """
    place = open_folder(local_path(folder), KIND, force=force)
    measured = [metric for metric in PER_MAP if any(metric in each.values for each in benchmark.maps)]
    means = [(seed, *key, value, count) for (seed, key), (value, count) in benchmark.means.items()]
    maps = [
        (
            *(each.seed, each.scene, each.modality, each.method, each.control, each.kind),
            *(each.values.get(metric, "") for metric in measured),
            "; ".join(each.warnings),
        )
        for each in benchmark.maps
    ]
    heads = ("seed", "scene", "modality", "method", "control", "kind", *measured, "warnings")
    write_files(
        place,
        {
            "settings.json": json.dumps(benchmark.settings, indent=2) + "\n",
            "results.csv": csv_text(
                [("seed", "modality", "method", "control", "metric", "value", "maps"), *means]
            ),
            "maps.csv": csv_text([heads, *maps]),
            "index.html": render_page(benchmark),
        },
    )
    return place.path / "index.html"


def save_interactions(scores: InteractionScores, folder: str | Path, *, force: bool = False) -> Path:
    """Write ``interactions.csv``, a row for each word of an object, way and control, ``apart.csv`` and ``settings.json``; the folder's path.

    Raises :class:`StorageError`.
    """
    place = open_folder(local_path(folder), KIND, force=force)
    heads = tuple(field.name for field in fields(WordScore))
    words = [astuple(each) for each in scores.words]
    apart = [(seed, modality, value) for (seed, modality), value in scores.apart.items()]
    write_files(
        place,
        {
            "settings.json": json.dumps(scores.settings, indent=2) + "\n",
            "interactions.csv": csv_text([heads, *words]),
            "apart.csv": csv_text([("seed", "modality", "auc"), *apart]),
        },
    )
    return place.path


def render_page(benchmark: Benchmark) -> str:
    """As HTML: the gates, the tables and a few maps under their masks."""
    return template("benchmark/page.html.jinja").render(
        title=f"Scenes: {benchmark.settings.get('adapter', 'a model')}",
        tables=tables(benchmark),
        verdict=verdict(benchmark),
        gates=[
            (outcome.gate.name, *outcome_text(outcome), outcome.verdict) for outcome in benchmark.outcomes
        ],
        settings=[(name, str(value)) for name, value in benchmark.settings.items()],
        examples=benchmark.examples,
    )
