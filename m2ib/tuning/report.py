"""What a search found: on a terminal, as CSV, as a picture, and as settings for ``m2ib explain --config``."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from m2ib.errors import StorageError
from m2ib.evaluation.published import PUBLISHED_GRIDS
from m2ib.evaluation.report import head, number
from m2ib.evaluation.study import MEASURES
from m2ib.tuning.heatmap import draw, pairs_text
from m2ib.tuning.results import Score, Trial, Tuned
from m2ib.tuning.search import AXES

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

SETTINGS = "settings.yaml"
_ROWS = 30  # of a table on a terminal


def show(tuned: Tuned, console: Console, *, paper: str | None = None) -> None:
    """The trials, the best one first, and the judgement on the held-out pairs.

    paper  whose Table 2 stands beside the trials, where the metric is its own: a name in ``PUBLISHED_GRIDS``
    """
    published = PUBLISHED_GRIDS.get(paper or "", {}).get(tuned.modality, {}) if tuned.metric == "roar" else {}
    search = tuned.asked["search"]
    trials = sorted(tuned.trials, key=lambda trial: _rank(trial, tuned.metric))
    kept = [trial for n, trial in enumerate(trials) if n < _ROWS or trial is tuned.default]
    table = _table(
        f"Maps of {tuned.modality}: {len(trials)} settings on {pairs_text(search['pairs'])}", tuned
    )
    if published:
        table.add_column("Wang et al. 2023", justify="right")
    for trial in kept:
        marks = ", ".join(name for name, which in _chosen(tuned).items() if trial is which)
        beside = [number(published.get(trial.point, math.nan), "roar")] if published else []
        table.add_row(
            marks,
            *_point(trial),
            *_cells(trial.score, tuned),
            *beside,
            style="bold" if trial is tuned.best else None,
        )
    console.print(table)
    if len(kept) < len(trials):
        console.print(f"{len(trials) - len(kept)} more are in {tuned.modality}-trials.csv")
    table = _table(
        f"The same on {pairs_text(search['held_out'])} held out, which no setting was chosen by", tuned
    )
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
    better = tuned.held_out["best"]
    unbeaten = [
        name for name in ("uniform", "random") if not _beats(better, tuned.held_out[name], tuned.metric)
    ]
    if unbeaten:
        text += f" No better than {' and '.join(unbeaten)}: this metric alone does not tell a good map here."
    if tuned.asked["left out"]:
        text += f" Left out: {pairs_text(tuned.asked['left out'])} that the model cannot take."
    return text


def _beats(mine: Score, other: Score, metric: str) -> bool:
    return mine.mean < other.mean if MEASURES[metric].better == "lower" else mine.mean > other.mean


def _rank(trial: Trial, metric: str) -> tuple[float, int]:
    sign = 1 if MEASURES[metric].better == "lower" else -1
    return sign * trial.score.mean, trial.number


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


def _cells(score: Score, tuned: Tuned) -> list[str]:
    errors = [getattr(score, name) for name in _errors(tuned).values()]
    return [*(number(value, tuned.metric) for value in (score.mean, *errors)), number(score.mass, "mass")]


def save(
    tuned: Tuned, *, model: str, checkpoint: Any = None, options: Mapping[str, Any] | None = None
) -> Path:
    """``<side>-trials.csv``, ``<side>-held-out.csv``, ``<side>.png`` and ``settings.yaml`` into the folder.

    model, checkpoint, options  as the model was loaded; a checkpoint that is a path is written as an absolute one

    ``settings.yaml`` holds what was found for every side that was tuned in this folder. Gives its path. Raises
    :class:`StorageError`.
    """
    picture = io.BytesIO()
    draw(tuned).savefig(picture, dpi=150, format="png")
    files = {
        f"{tuned.modality}-trials.csv": _csv(_trials(tuned)).encode(),
        f"{tuned.modality}-held-out.csv": _csv(_held_out(tuned)).encode(),
        f"{tuned.modality}.png": picture.getvalue(),
        SETTINGS: settings_yaml(tuned, model, checkpoint, options or {}).encode(),
    }
    try:
        for name, content in files.items():
            beside = tuned.folder / f"{name}.part"
            beside.write_bytes(content)
            os.replace(beside, tuned.folder / name)  # whole or not at all
    except OSError as error:
        raise StorageError(f"cannot write into {str(tuned.folder)!r}: {error.strerror or error}") from error
    return tuned.folder / SETTINGS


def settings_yaml(tuned: Tuned, model: str, checkpoint: Any, options: Mapping[str, Any]) -> str:
    """A configuration of ``m2ib explain``, each setting by modality."""
    import yaml

    from m2ib.cli.config import ExplainConfig
    from m2ib.cli.options import as_yaml

    given: dict[str, Any] = {"model": model}
    if checkpoint is not None:
        there = Path(str(checkpoint))
        given["checkpoint"] = str(there.absolute()) if there.exists() else str(checkpoint)
    if options:
        given["options"] = dict(options)
    if tuned.asked["method"]["name"] != ExplainConfig.method:
        given["method"] = tuned.asked["method"]["name"]
    for modality, settings in tuned.settings.items():
        for name, value in settings.items():
            known = name in ExplainConfig.__dataclass_fields__
            place = given if known else given.setdefault("settings", {})
            place.setdefault(name, {})[modality] = value
    written = yaml.safe_load(as_yaml(ExplainConfig(**given)))
    text = yaml.safe_dump({name: written[name] for name in given}, sort_keys=False, allow_unicode=True)
    return f"# m2ib explain --config {SETTINGS}\n{text}"


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


def _figures(score: Score) -> list[Any]:
    values = asdict(score)
    return [values[name] for name in _FIGURES]


def _csv(rows: Iterator[tuple[Any, ...]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
