"""What a search found."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from m2ib.errors import InputError
from m2ib.evaluation.measures import MEASURES
from m2ib.evaluation.results import Cell, Results
from m2ib.metrics import Aggregate, aggregate
from m2ib.tuning.search import Point


@dataclass(frozen=True)
class TrialScore:
    """Of one setting, or of a control.

    mean        over the seeds of the means over pairs
    over_seeds  standard error of the mean; NaN for one seed alone
    over_pairs  standard error over pairs of their means over seeds
    pairs       maps that have a score, the seeds counted once
    undefined   maps that have none
    mass        mean of the maps, each scaled to [0, 1]
    seconds     that a map took, the median
    """

    mean: float
    over_seeds: float
    over_pairs: float
    pairs: int
    undefined: int
    mass: float
    seconds: float


@dataclass(frozen=True)
class Trial:
    """One point, in the order in which they were tried."""

    number: int
    point: Point
    score: TrialScore


@dataclass(frozen=True)
class Tuned:
    """What :func:`m2ib.tuning.run.tune` found for one side.

    folder    where it stands
    asked     model, data and search; JSON-able
    modality, metric
              of the side, and what was tuned by
    trials    all of them
    default   the adapter's setting, which is one of the trials
    best      the trial with the best mean; of equal ones the first, and the default before all others
    held_out  "best", "default", "uniform" and "random" on pairs that no setting was chosen by
    gain      by how much the best one is better than the default there: the mean over pairs, and its standard error;
              below 0 where it is worse
    settings  of every side that was tuned in this folder, as ``m2ib.explain`` takes them: by modality, by name
    """

    folder: Path
    asked: Mapping[str, Any]
    modality: str
    metric: str
    trials: tuple[Trial, ...]
    default: Trial
    best: Trial
    held_out: Mapping[str, TrialScore]
    gain: Aggregate
    settings: Mapping[str, Mapping[str, Any]]


def score_of(results: Results, method: str, metric: str, *, where: str) -> TrialScore:
    """Of one method in an evaluation, over all its sides.

    where  in words, for the error

    Raises :class:`InputError` where no map has a score.
    """
    cells = _cells(results, method, metric)
    means = [
        [cell.found.by_seed[seed].mean for cell in cells if seed in cell.found.by_seed]
        for seed in results.asked["study"]["seeds"]
    ]
    over = aggregate([_mean(row) for row in means])
    if math.isnan(over.mean):
        modality = results.asked["study"]["sides"][0]
        why = ", since none of them has a region on that side" if MEASURES[metric].located else ""
        raise InputError(
            f"tune: metric {metric!r} has no score for {modality} on any of {where}{why}; use another metric, or "
            "other data"
        )
    samples = aggregate(list(samples_of(results, method, metric).values()))
    return TrialScore(
        over.mean,
        over.standard_error,
        samples.standard_error,
        samples.count,
        sum(cell.undefined for cell in cells),
        _mean([cell.found.mean for cell in _cells(results, method, "mass")]),
        _mean([table.seconds.get(method, math.nan) for table in results.tables]),
    )


def samples_of(results: Results, method: str, metric: str) -> dict[tuple[int, str], float]:
    """By side and pair, the mean over the seeds."""
    return {
        (table.side, pair): value
        for table in results.tables
        if (method, metric) in table.cells
        for pair, value in table.cells[method, metric].samples.items()
    }


def _cells(results: Results, method: str, metric: str) -> list[Cell]:
    return [table.cells[method, metric] for table in results.tables if (method, metric) in table.cells]


def _mean(values: list[float]) -> float:
    """Over those that there are; NaN without any."""
    known = [value for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else math.nan


def best_of(trials: tuple[Trial, ...], metric: str) -> Trial:
    """The first one with the best mean."""
    return min(trials, key=partial(rank, metric=metric))


def rank(trial: Trial, metric: str) -> tuple[float, int]:
    """The lowest is the best, of equal ones the first."""
    return -sign_of(metric) * trial.score.mean, trial.number


def sign_of(metric: str) -> int:
    """1 for a metric that is better the higher it is, else -1."""
    return 1 if MEASURES[metric].better == "higher" else -1
