"""The tables of an evaluation, out of its store."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from m2ib.errors import StorageError
from m2ib.evaluation.measures import MEASURES
from m2ib.evaluation.published import PUBLISHED
from m2ib.evaluation.store import BATCH_SIZES, FILE, UNEMBEDDED, MapOf, Score, Store
from m2ib.evaluation.study import SHUFFLED
from m2ib.folders import sound
from m2ib.metrics import SeedAggregate, mean_over_seeds
from m2ib.paths import local_path

Key = tuple[int, str, str]
"""(side, method, metric)."""


@dataclass(frozen=True)
class Cell:
    """One figure of a table.

    found      mean over the seeds of the means over pairs; its standard error is over seeds
    samples    what is behind it, by pair: the mean over the seeds
    undefined  how many samples have no score
    published  the paper's figure, or None
    """

    found: SeedAggregate
    samples: Mapping[str, float]
    undefined: int
    published: float | None = None


@dataclass(frozen=True)
class Table:
    """One side's.

    side      0 or 1, and its modality
    metrics   the columns
    rows      (method, whether it is a control), in order
    cells     by method and metric
    seconds   by method, the median over pairs of what a map took; None for what was not made
    undefined by method, why it is not there
    """

    side: int
    modality: str
    other: str
    metrics: tuple[str, ...]
    rows: tuple[tuple[str, bool], ...]
    cells: Mapping[tuple[str, str], Cell]
    seconds: Mapping[str, float]
    undefined: Mapping[str, str]


@dataclass(frozen=True)
class Results:
    """Everything that is shown of an evaluation.

    asked     model, data and study; JSON-able
    tables    one for each side
    pairs     how many could be used
    notes     bad rows and pairs: (place, reason)
    settings  of each method by side and method
    cases     the worst ones, see ``cases.py``
    curves    of the sanity check, by side: {"stages": [...], "methods": {name: [...]}}
    warnings  of the maps and their inputs, by side, method and pair, over all seeds
    failures  why a map could not be made, by side, method, seed and pair; "" is what is about all pairs
    batch_sizes  how many maps were made at once: several numbers where the evaluation went on with another one
    """

    folder: Path
    asked: Mapping[str, Any]
    tables: Sequence[Table]
    pairs: int
    notes: Sequence[tuple[str, str]]
    settings: Mapping[tuple[int, str], Mapping[str, Any]]
    curves: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    cases: Sequence[Mapping[str, Any]] = ()
    warnings: Mapping[tuple[int, str, str], Sequence[str]] = field(default_factory=dict)
    failures: Mapping[MapOf, Sequence[str]] = field(default_factory=dict)
    batch_sizes: Sequence[int] = ()


def read_results(folder: str | Path, *, paper: str | None = None) -> Results:
    """The results in a folder that :func:`m2ib.evaluation.run.evaluate` wrote into, finished or not.

    paper  a name in ``m2ib.evaluation.published.PUBLISHED``, for the paper's figures beside

    Raises :class:`StorageError` where there are none.
    """
    folder = local_path(folder)
    if not (folder / FILE).is_file():
        raise StorageError(f"{str(folder)!r} holds no evaluation: {FILE} is missing")
    with Store(folder) as store, sound(store.path):
        asked = store.fact("asked")
        if asked is None:
            raise StorageError(f"{str(folder)!r} holds an evaluation that had not begun")
        tables = read_tables(store, paper)
        settings = {
            (side, method): found
            for side in (0, 1)
            for method in asked["study"]["methods"]
            if (found := store.fact(f"settings {side} {method}")) is not None
        }
        curves = {side: found for side in (0, 1) if (found := store.fact(f"sanity {side}")) is not None}
        notes = [*store.notes("bad row"), *store.notes("bad pair"), *store.notes(UNEMBEDDED)]
        failures = store.failures()
        cases = store.fact("cases") or ()
        warnings: dict[tuple[int, str, str], tuple[str, ...]] = {}
        for (side, method, _, pair), texts in store.warnings().items():
            said = warnings.get((side, method, pair), ())
            warnings[side, method, pair] = tuple(dict.fromkeys((*said, *texts)))
        pairs = store.fact("pairs") or 0
        sizes = tuple(store.fact(BATCH_SIZES) or ())
        return Results(
            folder, asked, tables, pairs, notes, settings, curves, cases, warnings, failures, sizes
        )


def read_tables(store: Store, paper: str | None = None) -> list[Table]:
    """One for each side that has scores."""
    asked, scores = store.fact("asked"), store.scores()
    modalities = asked["data"]["modalities"]
    beside = PUBLISHED.get(paper or "", {})
    undefined = {tuple(place.split(" ", 1)): why for place, why in store.notes("undefined")}
    seconds = {key: float(np.median(took)) for key, took in store.seconds().items()}
    return [
        _table(
            side,
            modalities,
            asked["study"],
            [score for score in scores if score.side == side],
            {method: took for (place, method), took in seconds.items() if place == side},
            {method: why for (place, method), why in undefined.items() if place == str(side)},
            beside.get(modalities[side], {}),
            store.fact("controls") or (),
        )
        for side in sorted({score.side for score in scores})
    ]


def _table(
    side: int,
    modalities: Sequence[str],
    study: Mapping[str, Any],
    scores: Sequence[Score],
    seconds: Mapping[str, float],
    undefined: Mapping[str, str],
    published: Mapping[str, Mapping[str, float]],
    controls: Sequence[str],
) -> Table:
    seeds = list(study["seeds"])
    by_key: dict[tuple[str, str], dict[int, list[Score]]] = {}
    for score in scores:
        if score.seed in seeds:
            by_key.setdefault((score.method, score.metric), {}).setdefault(score.seed, []).append(score)
    there = {method for method, _ in by_key}
    rows: list[tuple[str, bool]] = []
    for method in study["methods"]:
        if method in there:
            rows.append((method, method in controls))
            if method + SHUFFLED in there:
                rows.append((method + SHUFFLED, True))
    rows.sort(key=lambda row: row[1] and not row[0].endswith(SHUFFLED))  # controls of all last
    known = {
        (method, metric)
        for (method, metric), found in by_key.items()
        if any(not math.isnan(score.value) for each in found.values() for score in each)
    }
    metrics = tuple(metric for metric in MEASURES if any((name, metric) in known for name, _ in rows))
    cells = {
        (method, metric): _cell(by_key[method, metric], published.get(method, {}).get(metric))
        for method, _ in rows
        for metric in metrics
        if (method, metric) in by_key
    }
    return Table(
        side,
        modalities[side],
        modalities[1 - side],
        metrics,
        tuple(rows),
        cells,
        seconds,
        {method: why for method, why in undefined.items() if method in study["methods"]},
    )


def _cell(by_seed: Mapping[int, Sequence[Score]], published: float | None) -> Cell:
    found = mean_over_seeds({seed: [s.value for s in scores] for seed, scores in by_seed.items()})
    samples: dict[str, list[float]] = {}
    for scores in by_seed.values():
        for score in scores:
            if not math.isnan(score.value):
                samples.setdefault(score.pair, []).append(score.value)
    undefined = sum(math.isnan(s.value) for scores in by_seed.values() for s in scores)
    return Cell(found, {pair: float(np.mean(v)) for pair, v in samples.items()}, undefined, published)
