"""The search: an evaluation for each point, kept so that it goes on where it was cut off, and a judgement on pairs that
no setting was chosen by.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from m2ib.contract.model import Model
from m2ib.contract.settings import own_value
from m2ib.corpus.backends import backend_for
from m2ib.data.pairs import Pairs
from m2ib.evaluation.results import Results, read_results
from m2ib.evaluation.run import evaluate
from m2ib.evaluation.study import controls
from m2ib.folders import ResultFolder, open_folder
from m2ib.metrics import aggregate
from m2ib.paths import local_path
from m2ib.progress import going_on, progress
from m2ib.promises import leaves_nothing
from m2ib.registry.discovery import check_model
from m2ib.results.resume import model_facts, version_facts
from m2ib.tuning.results import Tuned, best_of, samples_of, score_of, sign_of
from m2ib.tuning.search import Point, Search, check, points_of
from m2ib.tuning.split import Split, split
from m2ib.tuning.trials import CONTENTS, EVALUATIONS, FILES, KIND, open_trials, require_optuna

_MAY_GROW = ("trials",)


@leaves_nothing
def tune(
    model: Model,
    pairs: Pairs,
    search: Search,
    folder: str | Path,
    *,
    workers: int = 1,
    ray: str | None = None,
    show_progress: bool = True,
) -> Tuned:
    """Find the best layer, beta and variance for one side.

    The first ``search.pairs`` pairs that the model can take decide; the next ``search.held_out`` ones, half of them each where
    it is not said, are seen by no trial, and on them the best setting and the adapter's own are evaluated at the end, beside maps that know nothing.
    What is found is kept in ``folder``, and what is there already is not done again. A folder holds one search for
    each side.

    workers, ray  where maps and scores are made, as for :func:`m2ib.run`; the workers begin anew for each point

    Raises :class:`SettingError` for a search that does not hold together and without Optuna, :class:`StorageError`
    for a folder of another search, and :class:`InputError` for too few pairs, a metric without a score
    or a ``model`` that is none.
    """
    check_model(model, "tune")
    backend_for(workers, ray, model)  # what is wrong with them shows now
    search = check(search, pairs)
    require_optuna()
    points = points_of(search, model, pairs.modalities)
    parts = split(model, pairs, search.pairs, search.held_out)
    search = replace(search, pairs=len(parts.tuning_ids), held_out=len(parts.held_out_ids))
    place = open_folder(local_path(folder), KIND, force=True)
    place.own(*FILES)
    most = len(points) if search.trials is None else min(search.trials, len(points))
    evaluated = partial(_evaluated, model, search, place, workers, ray)
    asked = _asked(model, pairs, search, points, parts)
    opened = open_trials(place, search.modality, search.metric, asked)
    with opened as trials, progress("tune", show=show_progress) as bar:
        trials.fail_unfinished()
        advance = bar.steps(most + 2)
        known = trials.done(points, most)
        going_on("tune", len(known), most, "settings", show=show_progress)
        for _ in known:
            bar.advance(skipped=True)
        while (point := trials.next(points, search.sampler, most)) is not None:
            with trials.running(point, points) as found:
                results = evaluated(parts.tuning, point, "tuning")
                found.append(score_of(results, search.method, search.metric, where="the tuning pairs"))
            advance()
        done = trials.done(points, most)
        default, best = done[0], best_of(done, search.metric)
        usual = evaluated(parts.held_out, default.point, "held-out")
        advance()
        better = usual
        if best != default:
            better = evaluated(parts.held_out, best.point, "held-out")
        advance()
        score = partial(score_of, metric=search.metric, where="the held-out pairs")
        held_out = {"best": score(better, search.method), "default": score(usual, search.method)}
        held_out |= {name: score(usual, name) for name in controls()}
        settings = trials.finish(_settings(search, best.point, pairs.modalities))
    sign = sign_of(search.metric)
    before = samples_of(usual, search.method, search.metric)
    after = samples_of(better, search.method, search.metric)
    gain = aggregate([sign * (after[key] - before[key]) for key in before if key in after])
    return Tuned(
        place.path,
        trials.asked,
        search.modality,
        search.metric,
        done,
        default,
        best,
        held_out,
        gain,
        settings,
    )


def _evaluated(
    model: Model,
    search: Search,
    folder: ResultFolder,
    workers: int,
    ray: str | None,
    pairs: Pairs,
    point: Point,
    part: str,
) -> Results:
    """One point on one part of the pairs, in a folder of its own: done, or gone on with, or read."""
    place = "-".join(f"{name}{value!r}" for name, value in point._asdict().items())
    where = f"{EVALUATIONS}/{search.modality}-{part}-{place}"
    study = search.study(point, controls=part == "held-out")
    originals = f"{EVALUATIONS}/original-{part}"  # the same for all settings
    folder.own(where, originals)
    inside = folder.path / where, folder.path / originals
    evaluated = evaluate(
        model, pairs, study, inside[0], workers=workers, ray=ray, originals=inside[1], show_progress=False
    )
    return read_results(evaluated)


def _asked(
    model: Model, pairs: Pairs, search: Search, points: tuple[Point, ...], parts: Split
) -> dict[str, Any]:
    """What decides the figures."""
    given = {name: value for name, value in asdict(search).items() if name not in _MAY_GROW}
    return {
        "model": model_facts(model),
        "data": {
            "name": pairs.name,
            "modalities": list(pairs.modalities),
            "tuning pairs": _digest(parts.tuning_ids),
            "held-out pairs": _digest(parts.held_out_ids),
            CONTENTS: _digest(parts.contents),
        },
        "search": {**given, "grid": [list(point) for point in points]},
        "method": {"name": search.method},
        "versions": version_facts(),
        "left out": parts.left_out,
    }


def _digest(ids: tuple[str, ...]) -> str:
    return hashlib.sha256("\n".join(ids).encode()).hexdigest()


def _settings(search: Search, point: Point, modalities: tuple[str, str]) -> dict[str, Any]:
    """All that ``m2ib.explain`` needs for the maps of this side."""
    given = search.settings.items()
    fixed = {name: own_value(name, value, search.modality, modalities) for name, value in given}
    return {**{name: value for name, value in fixed.items() if value is not None}, **point._asdict()}
