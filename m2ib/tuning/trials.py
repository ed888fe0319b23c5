"""The trials of a search in Optuna's SQLite storage: ``study.db``, with one Optuna study for each side.

SQLite writes whole transactions, so whatever moment a search is killed at, the file can be opened again; a journal file
of Optuna's can end in half a line, and its lock stays. A trial that was running then is marked as failed, and its
point is run again. The next point depends on the complete trials alone.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from m2ib.errors import SettingError, StorageError
from m2ib.evaluation.measures import MEASURES
from m2ib.folders import ResultFolder, sound
from m2ib.notices import warn
from m2ib.results.resume import WEIGHTS, differences
from m2ib.tuning.results import Trial, TrialScore
from m2ib.tuning.search import AXES, Point

if TYPE_CHECKING:
    from optuna import Study
    from optuna.storages import RDBStorage

KIND = "search"
FILE = "study.db"
FILES = tuple(f"{FILE}{end}" for end in ("", "-journal", "-wal", "-shm"))
EVALUATIONS = "evaluations"
CONTENTS = "contents"
BATCH_SIZES = "batch sizes"  # all that a search was given with, each once
_CHANGES = {f"model {WEIGHTS}": "the model's weights or files", f"data {CONTENTS}": "the pairs"}
_MAY_DIFFER = ("batch_size",)
_ASKED, _FOUND, _SCORE = "asked", "found", "score"
_STARTUP = 6  # points that TPE draws blindly
_TRIES = 50  # until it proposes a new one


def require_optuna() -> None:
    """Raises :class:`SettingError` naming what to install where Optuna is missing."""
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        raise SettingError(
            f"tune: it needs {error.name or 'optuna'}, which cannot be imported: pip install 'm2ib[evaluate]'"
        ) from error


@dataclass
class Trials:
    """One side's, in the file ``path``. Made by :func:`open_trials`. What is there is refused where it is damaged."""

    path: Path
    study: Study
    others: Mapping[str, Study]
    metric: str

    @property
    def asked(self) -> Mapping[str, Any]:
        """What decides the figures, and with which batch sizes they were made."""
        asked: Mapping[str, Any] = self.study.user_attrs[_ASKED]
        return asked

    def fail_unfinished(self) -> None:
        """Trials that nobody works on any more."""
        from optuna.trial import TrialState

        with sound(self.path):
            while self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
                self.study.ask()
            for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                self.study.tell(trial.number, state=TrialState.FAIL)

    @contextmanager
    def running(self, point: Point, points: Sequence[Point]) -> Iterator[list[TrialScore]]:
        """A trial of one point; it is complete when a score was put into the list, and failed when something raises."""
        from optuna.distributions import BaseDistribution, CategoricalDistribution
        from optuna.trial import TrialState

        self.study.enqueue_trial(point._asdict())
        ladders = zip(AXES, zip(*points, strict=True), strict=True)
        space: dict[str, BaseDistribution] = {
            name: CategoricalDistribution(sorted(set(values))) for name, values in ladders
        }
        trial = self.study.ask(fixed_distributions=space)
        found: list[TrialScore] = []
        try:
            yield found
        except Exception:
            self.study.tell(trial, state=TrialState.FAIL, skip_if_finished=True)
            raise
        trial.set_user_attr(_SCORE, asdict(found[0]))
        self.study.tell(trial, found[0].mean, skip_if_finished=True)

    def done(self, points: Sequence[Point], most: int | None = None) -> tuple[Trial, ...]:
        """The complete ones, each point once; at most the first ``most``."""
        from optuna.trial import TrialState

        found: dict[Point, TrialScore] = {}
        with sound(self.path):
            for trial in self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
                point = Point(*(trial.params[name] for name in AXES))
                found.setdefault(points[points.index(point)], TrialScore(**trial.user_attrs[_SCORE]))
        return tuple(Trial(n, point, score) for n, (point, score) in enumerate(found.items()))[:most]

    def next(self, points: Sequence[Point], sampler: str, most: int | None) -> Point | None:
        """The first point, the default, comes first; None when all is done."""
        done = self.done(points)
        left = _left(points, done)
        if not left or (most is not None and len(done) >= most):
            return None
        if not done or sampler == "grid":
            return left[0]
        return suggest(points, done, MEASURES[self.metric].better)

    def finish(self, settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """Keep what was found; gives it with that of the other sides that are finished."""
        self.study.set_user_attr(_FOUND, dict(settings))
        sides = {**self.others, self.study.study_name: self.study}
        return {
            name: study.user_attrs[_FOUND]
            for name, study in sorted(sides.items())
            if _FOUND in study.user_attrs
        }


def suggest(points: Sequence[Point], done: Sequence[Trial], better: str) -> Point:
    """The point that TPE proposes, none of those that are done; a function of its arguments alone."""
    import optuna
    from optuna.distributions import IntDistribution

    ladders = [sorted({point[axis] for point in points}) for axis in range(len(AXES))]
    space = {name: IntDistribution(0, len(ladder) - 1) for name, ladder in zip(AXES, ladders, strict=True)}
    sampler = optuna.samplers.TPESampler(seed=len(done), n_startup_trials=_STARTUP)
    study = optuna.create_study(sampler=sampler, direction=_direction(better))
    for trial in done:
        places = [ladder.index(value) for ladder, value in zip(ladders, trial.point, strict=True)]
        params = dict(zip(AXES, places, strict=True))
        tried = optuna.trial.create_trial(params=params, distributions=dict(space), value=trial.score.mean)
        study.add_trial(tried)
    left = _left(points, done)
    for _ in range(_TRIES):
        chosen = study.ask(fixed_distributions=dict(space)).params
        proposed = Point(*(ladder[chosen[name]] for name, ladder in zip(AXES, ladders, strict=True)))
        if proposed in left:
            return proposed
    return left[0]


def _left(points: Sequence[Point], done: Sequence[Trial]) -> list[Point]:
    known = {trial.point for trial in done}
    return [point for point in points if point not in known]


def _direction(better: str) -> Literal["maximize", "minimize"]:
    return "maximize" if better == "higher" else "minimize"


def _trials(path: Path, storage: RDBStorage, modality: str, metric: str) -> Trials:
    import optuna

    study = optuna.create_study(
        storage=storage,
        study_name=modality,
        sampler=optuna.samplers.RandomSampler(seed=0),
        direction=_direction(MEASURES[metric].better),
        load_if_exists=True,
    )
    others = {
        name: optuna.load_study(study_name=name, storage=storage)
        for name in optuna.get_all_study_names(storage)
        if name != modality
    }
    return Trials(path, study, others, metric)


def _check_asked(trials: Trials, asked: Mapping[str, Any]) -> str | None:
    """What was found stands for: None for this search, or in words what has changed since. Raises :class:`StorageError`."""
    alike: list[tuple[Study, Sequence[str]]] = [(trials.study, ("model", "data", "search", "versions"))]
    alike += [(other, ("model", "method")) for other in trials.others.values()]
    changed: dict[str, None] = {}
    for study, groups in alike:
        differs = differences(study.user_attrs.get(_ASKED), asked, groups, _MAY_DIFFER)
        if others := [each for each in differs if each not in _CHANGES]:
            raise StorageError(
                f"the folder holds a search with another {', '.join(others)}: use another folder, or begin anew with --force"
            )
        changed |= {_CHANGES[each]: None for each in differs}
    return " and ".join(changed) or None


@contextmanager
def open_trials(
    place: ResultFolder, modality: str, metric: str, asked: Mapping[str, Any]
) -> Iterator[Trials]:
    """One side's trials in a folder, new or old; Optuna says nothing meanwhile.

    asked  what decides the figures. What other weights and other pairs of the same names gave is forgotten, with a warning

    Raises :class:`StorageError`, for a folder of another search too.
    """
    import optuna
    from optuna.exceptions import OptunaError
    from optuna.storages import RDBStorage
    from sqlalchemy.exc import SQLAlchemyError

    path = place.path.absolute() / FILE

    def connect() -> sqlite3.Connection:  # a path in a URL would have signs with a meaning
        return sqlite3.connect(path, timeout=30, check_same_thread=False)

    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage: RDBStorage | None = None
    try:
        try:
            storage = RDBStorage(f"sqlite:///{FILE}", engine_kwargs={"creator": connect})
        except RuntimeError as error:  # of another version of Optuna
            raise OptunaError(str(error)) from error
        asked = json.loads(json.dumps(asked))  # as it is read back
        with sound(path):
            trials = _trials(path, storage, modality, metric)
            changed = _check_asked(trials, asked)
        if changed:
            place.discard(f"{EVALUATIONS}/")
            for name in optuna.get_all_study_names(storage):
                optuna.delete_study(study_name=name, storage=storage)
            warn(f"tune: {changed} have changed since; everything is computed again")
            trials = _trials(path, storage, modality, metric)
        before = trials.study.user_attrs.get(_ASKED, {}).get(BATCH_SIZES, ())
        sizes = list(dict.fromkeys([*before, asked["search"]["batch_size"]]))
        trials.study.set_user_attr(_ASKED, {**asked, BATCH_SIZES: sizes})
        yield trials
    except (SQLAlchemyError, OptunaError, sqlite3.Error) as error:
        raise StorageError(
            f"cannot use {str(place.path / FILE)!r}: {str(error).splitlines()[0]}; use another folder, or begin anew with "
            "--force"
        ) from error
    finally:
        if storage is not None:
            storage.remove_session()
            storage.engine.dispose()
        optuna.logging.set_verbosity(level)
