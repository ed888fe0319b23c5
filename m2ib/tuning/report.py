"""What a search found: on a terminal, as CSV, as a picture, and as settings."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from m2ib.evaluation.published import PUBLISHED_GRIDS
from m2ib.evaluation.report import head, number
from m2ib.evaluation.study import controls
from m2ib.folders import open_folder
from m2ib.renderers.plotting import write
from m2ib.results.files import csv_text, write_files
from m2ib.tuning.heatmap import draw, pairs_text
from m2ib.tuning.results import Trial, TrialScore, Tuned, rank, sign_of
from m2ib.tuning.search import AXES
from m2ib.tuning.trials import BATCH_SIZES, KIND

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

SETTINGS = "settings.yaml"
_ROWS = 30  # of a table on a terminal
_FEW = 20  # pairs held out


def show(tuned: Tuned, console: Console, *, paper: str | None = None) -> None:
    """The trials, the best one first, and the judgement on the held-out pairs.

    paper  whose Table 2 stands beside the trials, where the metric is its own: a name in ``PUBLISHED_GRIDS``
    """
    published = PUBLISHED_GRIDS.get(paper or "", {}).get(tuned.modality, {}) if tuned.metric == "roar" else {}
    search = tuned.asked["search"]
    trials = sorted(tuned.trials, key=partial(rank, metric=tuned.metric))
    kept = [trial for n, trial in enumerate(trials) if n < _ROWS or trial is tuned.default]
    title = f"Maps of {tuned.modality}: {len(trials)} settings on {pairs_text(search['pairs'])}"
    table = _table(title, tuned)
    if published:
        table.add_column("Wang et al. 2023", justify="right")
    for trial in kept:
        marks = ", ".join(name for name, which in _chosen(tuned).items() if trial is which)
        beside = [number(published.get(trial.point, math.nan), "roar")] if published else []
        style = "bold" if trial is tuned.best else None
        table.add_row(marks, *_point(trial), *_cells(trial.score, tuned), *beside, style=style)
    console.print(table)
    if len(kept) < len(trials):
        console.print(f"{len(trials) - len(kept)} more are in {tuned.modality}-trials.csv")
    title = f"The same on {pairs_text(search['held_out'])} held out, which no setting was chosen by"
    table = _table(title, tuned)
    for name, score in tuned.held_out.items():
        chosen = _chosen(tuned).get(name)
        point = [""] * len(AXES) if chosen is None else _point(chosen)
        table.add_row(name, *point, *_cells(score, tuned), style="dim" if chosen is None else None)
    console.print(table)
    console.print(verdict(tuned))


def verdict(tuned: Tuned) -> str:
    """In words, whether tuning gained anything."""
    gain, error = tuned.gain.mean, tuned.gain.standard_error
    by = number(abs(gain), tuned.metric)
    if error == error:
        by += f" ± {number(error, tuned.metric)} (standard error over pairs)"
    if tuned.best is tuned.default:
        text = "The default is the best setting of those that were tried."
    elif gain > 0:
        text = f"On the held-out pairs the best setting is better than the default by {by}."
        if gain < 2 * error:
            text += " That is less than two standard errors."
    else:
        text = "On the held-out pairs the best setting is "
        text += f"worse than the default by {by}." if gain < 0 else "no better than the default."
        text += " Its lead in the search was luck: keep the default, or tune on more pairs."
    sign, best = sign_of(tuned.metric), tuned.held_out["best"].mean
    unbeaten = [name for name in controls() if not sign * best > sign * tuned.held_out[name].mean]
    if unbeaten:
        text += f" No better than {' and '.join(unbeaten)}: this metric alone does not tell a good map here."
    held_out = tuned.asked["search"]["held_out"]
    if held_out < _FEW:
        text += f" That is judged on {pairs_text(held_out)} alone: take it as a hint."
    if tuned.asked["left out"]:
        text += f" Left out: {pairs_text(tuned.asked['left out'])} that the model cannot take."
    if len(sizes := tuned.asked.get(BATCH_SIZES, ())) > 1:
        text += f" Maps were made {' and '.join(map(str, sizes))} at a time, on which the seconds in the CSV files depend."
    return text


def _table(title: str, tuned: Tuned) -> Table:
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    table.add_column("", no_wrap=True)
    for name in (*AXES, head(tuned.metric), *_errors(tuned), "mass"):
        table.add_column(name, justify="right")
    return table


def _errors(tuned: Tuned) -> dict[str, str]:
    """Which standard errors there are: their column, and their name in a score."""
    seeds = {"± seeds": "over_seeds"} if len(tuned.asked["search"]["seeds"]) > 1 else {}
    pairs = {"± pairs": "over_pairs"} if any(not math.isnan(t.score.over_pairs) for t in tuned.trials) else {}
    return {**seeds, **pairs}


def _chosen(tuned: Tuned) -> dict[str, Trial]:
    return {"best": tuned.best, "default": tuned.default}


def _point(trial: Trial) -> list[str]:
    return [f"{value:g}" for value in trial.point]


def _cells(score: TrialScore, tuned: Tuned) -> list[str]:
    errors = [getattr(score, name) for name in _errors(tuned).values()]
    return [*(number(value, tuned.metric) for value in (score.mean, *errors)), number(score.mass, "mass")]


def save(tuned: Tuned, settings: str) -> Path:
    """``<side>-trials.csv``, ``<side>-held-out.csv``, ``<side>.png`` and ``settings.yaml`` into the folder.

    settings  the text of ``settings.yaml``, for every side that was tuned in this folder

    Gives the path of ``settings.yaml``. Raises :class:`StorageError`.
    """
    picture = io.BytesIO()
    write(draw(tuned), picture, 150)
    files: dict[str, str | bytes] = {
        f"{tuned.modality}-trials.csv": csv_text(_trials(tuned)),
        f"{tuned.modality}-held-out.csv": csv_text(_held_out(tuned)),
        f"{tuned.modality}.png": picture.getvalue(),
        SETTINGS: settings,
    }
    write_files(open_folder(tuned.folder, KIND, force=True), files)
    return tuned.folder / SETTINGS


_FIGURES = ("mean", "over_seeds", "over_pairs", "pairs", "undefined", "mass", "seconds")


def _trials(tuned: Tuned) -> Iterator[tuple[Any, ...]]:
    yield ("trial", *AXES, "metric", *_FIGURES, "default", "best")
    for trial in tuned.trials:
        yield (
            trial.number, *trial.point, tuned.metric, *_figures(trial.score),
            int(trial is tuned.default), int(trial is tuned.best),
        )  # fmt: skip


def _held_out(tuned: Tuned) -> Iterator[tuple[Any, ...]]:
    yield ("what", *AXES, "metric", *_FIGURES)
    for name, score in tuned.held_out.items():
        trial = _chosen(tuned).get(name)
        point = ("",) * len(AXES) if trial is None else trial.point
        yield name, *point, tuned.metric, *_figures(score)


def _figures(score: TrialScore) -> list[Any]:
    values = asdict(score)
    return [values[name] for name in _FIGURES]
