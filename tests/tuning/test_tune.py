"""The search: what it tries, what it finds against naive loops, and that it goes on as if nothing had happened."""

from __future__ import annotations

import csv
import math
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from optuna.trial import TrialState

import m2ib
from m2ib.data.pairs import Pair, Pairs, Row
from m2ib.errors import InputError, StorageError
from m2ib.evaluation.measures import MEASURES
from m2ib.folders import MARKER, open_folder
from m2ib.tuning import run as tuning_run
from m2ib.tuning.report import save
from m2ib.tuning.results import Trial, TrialScore, Tuned, best_of
from m2ib.tuning.run import tune
from m2ib.tuning.search import METRICS, Point, Search, check, layers_around, points_of
from m2ib.tuning.split import check_rows, split
from m2ib.tuning.trials import EVALUATIONS, FILE, KIND, suggest
from toy import toy_model
from where_run import noted, others

WORDS = ["dog", "cat", "house", "tree", "river", "stone", "lamp", "cloud", "road", "boat"]
GRID: Mapping[str, Sequence[Any]] = {"layer": [0, 1], "beta": [0.1, 2.0], "variance": [1.0]}
QUICK: Mapping[str, Any] = {"steps": 6, "samples": 2}
SEARCH = Search("image", "drop", GRID, pairs=3, held_out=2, settings=QUICK, seeds=(0, 1), batch_size=2)
DEFAULT = Point(1, 0.1, 1.0)


def toys(
    count: int = 8, bad: Sequence[int] = (), sides: tuple[str, str] = ("image", "text"), *, salt: int = 0
) -> Pairs:
    """Random pictures and words; those in ``bad`` are no numbers."""

    def raw(modality: str, number: int, place: int) -> Any:
        if modality == "text":
            return f"a {WORDS[(number + place) % len(WORDS)]} by the {WORDS[(3 * number + 1) % len(WORDS)]}"
        value = np.random.default_rng((number, place, salt)).random((8, 8, 3))
        return torch.full((3, 8, 8), math.nan) if number in bad else value

    def rows() -> Iterator[Row]:
        for number in range(count):
            first, second = ((m, raw(m, number, place)) for place, m in enumerate(sides))
            yield Row(f"row {number}", partial(Pair, str(number), (first, second)))

    return Pairs("toys", sides, rows, numbered=True)


def quiet_tune(folder: Path, search: Search = SEARCH, pairs: Pairs | None = None, **breaks: Any) -> Tuned:
    return tune(toy_model(**breaks), pairs or toys(), search, folder, show_progress=False)


def table(tuned: Tuned, part: str = "trials") -> list[dict[str, str]]:
    """What is written, without the times."""
    save(tuned, "")
    with (tuned.folder / f"{tuned.modality}-{part}.csv").open(newline="", encoding="utf-8") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def states(folder: Path, side: str = "image") -> list[TrialState]:
    study = optuna.load_study(study_name=side, storage=f"sqlite:///{folder / FILE}")
    return [trial.state for trial in study.trials]


@pytest.fixture(autouse=True)
def _quiet_tests() -> Iterator[None]:
    """Of the tests' own use of Optuna."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(optuna.logging.INFO)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    return quiet_tune(tmp_path_factory.mktemp("whole"))


# What is tried


def test_every_point_of_the_grid_is_tried_once_and_the_default_first(whole: Tuned) -> None:
    points = [trial.point for trial in whole.trials]
    assert points == [DEFAULT, Point(0, 0.1, 1.0), Point(0, 2.0, 1.0), Point(1, 2.0, 1.0)]
    assert [trial.number for trial in whole.trials] == [0, 1, 2, 3]
    assert whole.default is whole.trials[0]
    assert states(whole.folder) == [TrialState.COMPLETE] * 4


def test_a_default_outside_the_grid_is_tried_too(tmp_path: Path) -> None:
    search = replace(SEARCH, grid={"layer": [0], "beta": [5.0, 5, 7.0], "variance": [0.5]}, seeds=(0,))
    found = quiet_tune(tmp_path, search)
    assert [trial.point for trial in found.trials] == [DEFAULT, Point(0, 5.0, 0.5), Point(0, 7.0, 0.5)]


def test_defaults_are_those_of_the_fixed_settings_and_of_the_paper() -> None:
    model, pairs = toy_model(), toys()
    points = points_of(check(Search("text", "drop"), pairs), model, pairs.modalities)
    assert points[0] == DEFAULT
    betas = variances = (1.0, 0.1, 0.01)
    wanted = {Point(layer, beta, variance) for layer in (0, 1) for beta in betas for variance in variances}
    assert set(points) == wanted
    assert len(points) == 18


@pytest.mark.parametrize(
    ("default", "blocks", "layers"),
    [
        (9, 12, (7, 8, 9)),
        (14, 18, (12, 13, 14)),
        (1, 4, (0, 1, 2)),
        (1, 3, (0, 1)),
        (0, 12, (0, 1, 2)),
        (-1, 3, (-1, 0, 1)),
        (2, 3, (0, 1, 2)),
        (0, 1, (0,)),
    ],
)
def test_layers_end_with_the_default_where_there_are_enough(
    default: int, blocks: int, layers: tuple[int, ...]
) -> None:
    encoder = toy_model().encoder("image")
    encoder = replace(
        encoder, layers=encoder.layers[:1] * blocks, defaults=replace(encoder.defaults, layer=default)
    )
    assert layers_around(encoder) == layers


# What is found


def naive_drop(number: int, point: Point, seed: int) -> float:
    """Of one picture, from the map that ``m2ib.explain`` gives."""
    model = toy_model()
    pair = next(pair for pair in toys() if pair.id == str(number))
    (_, picture), (_, text) = pair.inputs
    fitted = {name: {"image": value} for name, value in point._asdict().items()}
    explanation = m2ib.explain(model, image=picture, text=text, seed=seed, **QUICK, **fitted)
    grid = explanation["image"].grid
    wide = np.zeros((8, 8))
    for row in range(8):
        for column in range(8):
            down, right = (min(max((place + 0.5) / 2 - 0.5, 0), 3) for place in (row, column))
            top, left = int(down), int(right)
            bottom, far = min(top + 1, 3), min(left + 1, 3)
            upper = grid[top, left] * (1 - right + left) + grid[top, far] * (right - left)
            lower = grid[bottom, left] * (1 - right + left) + grid[bottom, far] * (right - left)
            wide[row, column] = upper * (1 - down + top) + lower * (down - top)
    kept = (wide - wide.min()) / (wide.max() - wide.min())
    pixels = model.preprocess("image", [picture])
    assert isinstance(pixels, torch.Tensor)
    target = model.embed("text", model.preprocess("text", [text]))
    degraded = model.embed("image", pixels * torch.from_numpy(kept).float())
    return 100 * max(0.0, explanation.similarity - float((degraded * target).sum()))


def test_scores_and_the_best_are_those_of_a_naive_loop(whole: Tuned) -> None:
    naive: dict[Point, float] = {}
    for trial in whole.trials:
        means = []
        for seed in (0, 1):
            drops = [naive_drop(number, trial.point, seed) for number in range(3)]
            means.append(sum(drops) / 3)
        naive[trial.point] = sum(means) / 2
        assert trial.score.mean == pytest.approx(naive[trial.point], abs=1e-3)
        assert trial.score.over_seeds == pytest.approx(abs(means[0] - means[1]) / 2, abs=1e-3)
        assert (trial.score.pairs, trial.score.undefined) == (3, 0)
    assert whole.best.point == min(naive, key=lambda point: naive[point])


def test_held_out_scores_and_the_gain_are_those_of_a_naive_loop(whole: Tuned) -> None:
    assert list(whole.held_out) == ["best", "default", "uniform", "random"]
    rows = {
        name: [sum(naive_drop(n, point, seed) for seed in (0, 1)) / 2 for n in (3, 4)]
        for name, point in (("best", whole.best.point), ("default", whole.default.point))
    }
    for name, drops in rows.items():
        assert whole.held_out[name].mean == pytest.approx(sum(drops) / 2, abs=1e-3)
        assert whole.held_out[name].over_pairs == pytest.approx(abs(drops[0] - drops[1]) / 2, abs=1e-3)
    gains = [usual - best for usual, best in zip(rows["default"], rows["best"], strict=True)]
    assert whole.gain.mean == pytest.approx(sum(gains) / 2, abs=1e-3)
    assert whole.gain.standard_error == pytest.approx(abs(gains[0] - gains[1]) / 2, abs=1e-3)
    assert (whole.held_out["uniform"].mean, whole.held_out["uniform"].mass) == (0, 1)  # the trap


def test_two_workers_find_what_one_process_does(tmp_path: Path) -> None:
    search = replace(SEARCH, grid={"layer": [1], "beta": [0.1], "variance": [1.0]})
    found = []
    for workers in (1, 2):
        model = noted(toy_model(), "image", tmp_path / f"processes-{workers}")
        folder = tmp_path / f"{workers}"
        found.append(tune(model, toys(), search, folder, workers=workers, show_progress=False))
        assert bool(others(tmp_path / f"processes-{workers}")) == (workers == 2)
    for part in ("trials", "held-out"):
        assert table(found[0], part) == table(found[1], part)
    with pytest.raises(m2ib.SettingError, match="workers: 0 is out of range"):
        tune(toy_model(), toys(), search, tmp_path / "none", workers=0)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("metric", METRICS)
def test_the_best_follows_the_direction_of_its_metric(metric: str) -> None:
    nothing = math.nan
    trials = tuple(
        Trial(n, Point(n, 1, 1), TrialScore(mean, nothing, nothing, 1, 0, nothing, nothing))
        for n, mean in enumerate((2.0, 1.0, 3.0, 3.0, 1.0))
    )
    lower = metric in ("drop", "deletion")
    assert MEASURES[metric].better == ("lower" if lower else "higher")
    assert best_of(trials, metric).number == (1 if lower else 2)


def test_higher_is_better_in_a_whole_search_and_optuna_agrees(tmp_path: Path) -> None:
    found = quiet_tune(tmp_path, replace(SEARCH, metric="insertion", curve_steps=4))
    assert found.best.score.mean == max(trial.score.mean for trial in found.trials)
    study = optuna.load_study(study_name="image", storage=f"sqlite:///{tmp_path / FILE}")
    assert Point(**study.best_params) == found.best.point
    assert study.best_value == found.best.score.mean


def test_both_sides_of_one_modality_count(tmp_path: Path) -> None:
    search = replace(SEARCH, modality="text", grid={"layer": [0], "beta": [1.0], "variance": [1.0]})
    found = quiet_tune(tmp_path, search, toys(sides=("text", "text")))
    assert found.default.score.pairs == 6  # two sides of three pairs


# Held-out pairs


def test_held_out_pairs_follow_those_that_settings_are_chosen_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, set[tuple[str, ...]]] = {"tuning": set(), "held-out": set()}
    real = tuning_run.evaluate

    def watched(model: Any, pairs: Pairs, study: Any, folder: Path, **more: Any) -> Path:
        part = "held-out" if "held-out" in folder.name else "tuning"
        seen[part].add(tuple(pair.id for pair in pairs))
        return real(model, pairs, study, folder, **more)

    monkeypatch.setattr(tuning_run, "evaluate", watched)
    found = quiet_tune(tmp_path, pairs=toys(bad=(1, 4)))  # which the model cannot take
    assert seen == {"tuning": {("0", "2", "3")}, "held-out": {("5", "6")}}
    assert found.asked["left out"] == 2


def test_without_numbers_the_pairs_are_split_in_half(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("m2ib.tuning.split.MOST", 3)
    for count, asked, parts in (
        (4, (None, None), ("01", "23")),
        (5, (None, None), ("012", "34")),
        (8, (None, None), ("012", "345")),
        (8, (1, None), ("0", "123")),
        (8, (None, 6), ("01", "234567")),
        (5, (3, None), ("012", "34")),
        (8, (4, 1), ("0123", "4")),
    ):
        found = split(toy_model(), toys(count), *asked)
        assert ("".join(found.tuning_ids), "".join(found.held_out_ids)) == parts
        assert tuple("".join(pair.id for pair in part) for part in (found.tuning, found.held_out)) == parts
    for count, asked, said in (
        (3, (None, None), "pairs of at least 2 with held_out of at least 2 need 4; give more data"),
        (4, (3, None), "pairs=3 with held_out of at least 2 need 5; give fewer, or more data"),
    ):
        with pytest.raises(InputError) as caught:
            split(toy_model(), toys(count), *asked)
        assert str(caught.value) == f"tune: 'toys' has {count} pairs that can be used, and {said}"
        with pytest.raises(InputError) as caught:  # before there is a model
            check_rows(Pairs("toys", ("image", "text"), tuple, total=lambda count=count: count), *asked)
        assert str(caught.value) == f"tune: 'toys' has {count} rows, and {said}"


def test_too_few_pairs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        quiet_tune(tmp_path, pairs=toys(5, bad=(1,)))
    assert str(caught.value) == (
        "tune: 'toys' has 4 pairs that can be used, and pairs=3 with held_out=2 need 5; give fewer, or more data "
        "(left out: 1: image: the tensor holds NaN or infinite values)"
    )


def test_a_metric_without_a_score_is_refused(tmp_path: Path) -> None:
    pairs = toys()
    pairs.located = True
    with pytest.raises(InputError) as caught:
        quiet_tune(tmp_path, replace(SEARCH, metric="iou"), pairs)
    assert str(caught.value) == (
        "tune: metric 'iou' has no score for image on any of the tuning pairs, since none of them has a region on that "
        "side; use another metric, or other data"
    )
    assert states(tmp_path) == [TrialState.FAIL]


# Going on


class Interrupted(Exception):
    pass


def interrupt(monkeypatch: pytest.MonkeyPatch, after: int, error: type[BaseException]) -> None:
    real, calls = tuning_run.evaluate, [0]

    def stopped(*words: Any, **more: Any) -> Path:
        calls[0] += 1
        if calls[0] > after:
            raise error
        return real(*words, **more)

    monkeypatch.setattr(tuning_run, "evaluate", stopped)


@pytest.mark.parametrize(
    ("after", "error"),
    [(0, Interrupted), (2, Interrupted), (2, KeyboardInterrupt), (4, KeyboardInterrupt), (5, Interrupted)],
)
def test_a_search_that_was_stopped_ends_like_one_that_was_not(
    after: int, error: type[BaseException], tmp_path: Path, whole: Tuned, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        interrupt(patch, after, error)
        with pytest.raises(error):
            quiet_tune(tmp_path)
    left = {Interrupted: TrialState.FAIL, KeyboardInterrupt: TrialState.RUNNING}[error]
    assert states(tmp_path) == [TrialState.COMPLETE] * min(after, 4) + [left] * (after < 4)
    again = quiet_tune(tmp_path)
    for part in ("trials", "held-out"):
        assert table(again, part) == table(whole, part)
    assert again.gain == whole.gain
    assert again.best.point == whole.best.point
    assert states(tmp_path).count(TrialState.FAIL) == (after < 4)
    assert states(tmp_path).count(TrialState.COMPLETE) == 4


def test_a_point_that_was_queued_and_never_begun_does_not_matter(tmp_path: Path, whole: Tuned) -> None:
    with pytest.MonkeyPatch.context() as patch:
        interrupt(patch, 1, Interrupted)
        with pytest.raises(Interrupted):
            quiet_tune(tmp_path)
    study = optuna.load_study(study_name="image", storage=f"sqlite:///{tmp_path / FILE}")
    study.enqueue_trial(Point(1, 2.0, 1.0)._asdict())
    assert table(quiet_tune(tmp_path)) == table(whole)


def test_nothing_is_done_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = quiet_tune(tmp_path)
    trials = [0]
    real = tuning_run.evaluate

    def counted(model: Any, pairs: Any, study: Any, folder: Path, **more: Any) -> Path:
        trials[0] += "tuning" in folder.name
        return real(model, pairs, study, folder, **more)

    monkeypatch.setattr(tuning_run, "evaluate", counted)
    again = quiet_tune(tmp_path)
    assert trials == [0]
    assert table(again) == table(first)


# TPE


def scored(points: Sequence[Point], value: Callable[[Point], float]) -> list[Trial]:
    nothing = math.nan
    return [
        Trial(n, point, TrialScore(value(point), nothing, nothing, 1, 0, nothing, nothing))
        for n, point in enumerate(points)
    ]


ALL = [Point(layer, beta, v) for layer in range(6) for beta in (1.0, 0.1, 0.01) for v in (1.0, 0.1)]


def test_tpe_proposes_new_points_until_there_are_none() -> None:
    done = scored(ALL[:1], lambda point: point.layer)
    while len(done) < len(ALL):
        point = suggest(ALL, done, "higher")
        assert point == suggest(ALL, done, "higher")
        assert point not in {trial.point for trial in done}
        done = scored([*(trial.point for trial in done), point], lambda point: point.layer)


@pytest.mark.parametrize(("better", "good"), [("higher", 5), ("lower", 0)])
def test_tpe_goes_where_it_is_better(better: str, good: int) -> None:
    done = scored(ALL[1:20:2] + ALL[20::2], lambda point: point.layer)
    assert abs(suggest(ALL, done, better).layer - good) <= 1


def test_tpe_is_the_same_when_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grid = {"layer": [0, 1], "beta": [0.1, 1.0, 3.0], "variance": [1.0, 0.5]}
    search = replace(SEARCH, grid=grid, sampler="tpe", trials=8, pairs=1, held_out=1, seeds=(0,))
    one = quiet_tune(tmp_path / "one", search)
    assert len({trial.point for trial in one.trials}) == len(one.trials) == 8
    for after in (1, 4):
        with monkeypatch.context() as patch:
            interrupt(patch, after, KeyboardInterrupt)
            with pytest.raises(KeyboardInterrupt):
                quiet_tune(tmp_path / "two", search)
    assert table(quiet_tune(tmp_path / "two", search)) == table(one)
    more = quiet_tune(tmp_path / "two", replace(search, trials=99))
    assert len({trial.point for trial in more.trials}) == len(more.trials) == 12
    assert table(more)[:8] == [
        {**row, "best": str(int(n == more.best.number))} for n, row in enumerate(table(one))
    ]


# The folder


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"metric": "increase"}, "search metric"),
        ({"pairs": 2}, "data held-out pairs, data tuning pairs, search pairs (3, now 2)"),
        ({"seeds": (0,)}, "search seeds"),
        ({"settings": {"steps": 3, "samples": 2}}, "search settings steps (6, now 3)"),
        ({"grid": {**GRID, "beta": [0.5]}}, "search grid"),
    ],
)
def test_a_folder_of_another_search_is_refused(change: dict[str, Any], what: str, whole: Tuned) -> None:
    with pytest.raises(StorageError) as caught:
        quiet_tune(whole.folder, replace(SEARCH, **change))
    assert str(caught.value) == (
        f"the folder holds a search with another {what}: use another folder, or begin anew with --force"
    )


def test_another_batch_size_goes_on_where_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    search = replace(SEARCH, sampler="tpe", trials=2, pairs=2, held_out=1, seeds=(0,))
    quiet_tune(tmp_path / "r", search)
    more = replace(search, trials=3)
    whole = quiet_tune(tmp_path / "whole", more)
    folders = []
    real = tuning_run.evaluate

    def watched(model: Any, pairs: Pairs, study: Any, folder: Path, **given: Any) -> Path:
        folders.append(folder.name)
        return real(model, pairs, study, folder, **given)

    monkeypatch.setattr(tuning_run, "evaluate", watched)
    capsys.readouterr()
    found = tune(toy_model(), toys(), replace(more, batch_size=1), tmp_path / "r")
    assert capsys.readouterr().err == "m2ib: tune: going on: 2 of 3 settings were there already\n"
    assert sum("-tuning-" in name for name in folders) == 1
    assert [trial.point for trial in found.trials] == [trial.point for trial in whole.trials]
    for mine, theirs in zip(found.trials, whole.trials, strict=True):
        assert mine.score.mean == pytest.approx(theirs.score.mean, rel=1e-3, abs=1e-5)
    assert (found.asked["batch sizes"], whole.asked["batch sizes"]) == ([2, 1], [2])


def test_other_data_and_another_model_are_refused(whole: Tuned) -> None:
    with pytest.raises(StorageError, match=r"another data held-out pairs, data tuning pairs: use"):
        quiet_tune(whole.folder, pairs=toys(bad=(0,)))
    model = replace(toy_model(), origin={"adapter": "toy", "checkpoint": "other"})
    for side in ("image", "text"):
        with pytest.raises(StorageError, match=r"holds a search with another model checkpoint: use"):
            tune(model, toys(), replace(SEARCH, modality=side), whole.folder, show_progress=False)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    quiet_tune(tmp_path, replace(SEARCH, pairs=1, held_out=1, seeds=(0,)))
    (tmp_path / FILE).write_bytes(b"no database at all" * 100)
    with pytest.raises(StorageError) as caught:
        quiet_tune(tmp_path)
    text = str(caught.value)
    assert text.startswith(f"cannot use {str(tmp_path / FILE)!r}: ")
    assert text.endswith("file is not a database; use another folder, or begin anew with --force")


@pytest.mark.parametrize(
    "command",
    [
        "UPDATE trial_user_attributes SET value_json = '3'",
        "UPDATE trial_user_attributes SET value_json = '{'",
        "UPDATE study_user_attributes SET value_json = '[]'",
        "UPDATE trial_params SET param_value = 99",
        "UPDATE trial_params SET distribution_json = 'null'",
        "UPDATE trials SET state = 'LAUGHING'",
    ],
)
def test_a_file_that_somebody_changed_is_refused(tmp_path: Path, command: str) -> None:
    search = replace(SEARCH, pairs=1, held_out=1, seeds=(0,))
    quiet_tune(tmp_path, search)
    with sqlite3.connect(tmp_path / FILE) as connection:
        connection.execute(command)
    connection.close()
    with pytest.raises(StorageError) as caught:
        quiet_tune(tmp_path, search)
    assert f"{str(tmp_path / FILE)!r}" in str(caught.value)
    assert str(caught.value).endswith("; use another folder, or begin anew with --force")


def test_any_folder_name_will_do(tmp_path: Path) -> None:
    folder = tmp_path / "a {b}?c=%20#d é"
    search = replace(SEARCH, grid={"layer": [1], "beta": [0.1], "variance": [1.0]}, pairs=1, held_out=1)
    found = quiet_tune(folder, search)
    assert (folder / FILE).is_file()
    assert found.best is found.default
    assert found.gain.mean == 0


def test_forgetting_removes_what_a_search_made_and_nothing_else(tmp_path: Path) -> None:
    quiet_tune(tmp_path, replace(SEARCH, pairs=1, held_out=1, seeds=(0,)))
    kept = tmp_path / EVALUATIONS / "mine" / "notes.txt"
    kept.parent.mkdir()
    kept.write_text("mine")
    open_folder(tmp_path, KIND, force=True).discard()
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == {kept, tmp_path / MARKER}


def test_what_has_changed_is_told_and_searched_again(tmp_path: Path) -> None:
    """Other pictures under the same ids, then other weights: what a new folder gives."""
    search, model = replace(SEARCH, pairs=2, held_out=1, seeds=(0,)), toy_model()
    before = tune(model, toys(3), search, tmp_path / "one", show_progress=False)
    for number, (pairs, what) in enumerate(
        ((toys(3, salt=1), "the pairs"), (toys(3, salt=1), "the model's weights or files"))
    ):
        if number:
            with torch.no_grad():
                model.module.get_parameter("image_head.weight")[0] += 0.5
        with pytest.warns(m2ib.M2IBWarning) as told:
            found = tune(model, pairs, search, tmp_path / "one", show_progress=False)
        assert [str(each.message) for each in told] == [
            f"tune: {what} have changed since; everything is computed again"
        ]
        anew = tune(model, pairs, search, tmp_path / f"anew {number}", show_progress=False)
        assert scores(found) == scores(anew)
        assert scores(found) != scores(before)
        before = found
        assert scores(tune(model, pairs, search, tmp_path / "one", show_progress=False)) == scores(anew)


def scores(tuned: Tuned) -> list[Any]:
    return [tuned.best.point, tuned.gain, *((each.point, each.score.mean) for each in tuned.trials)]


def test_two_sides_share_a_folder(tmp_path: Path) -> None:
    search = replace(SEARCH, pairs=1, held_out=1, seeds=(0,))
    first = quiet_tune(tmp_path, search)
    assert set(first.settings) == {"image"}
    second = quiet_tune(tmp_path, replace(search, modality="text", metric="insertion"))
    assert second.settings == {
        "image": {**QUICK, **first.best.point._asdict()},
        "text": {**QUICK, **second.best.point._asdict()},
    }


def test_nothing_is_said_and_optuna_is_left_as_it_was(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    optuna.logging.set_verbosity(optuna.logging.DEBUG)
    quiet_tune(tmp_path, replace(SEARCH, pairs=1, held_out=1, sampler="tpe", trials=3))
    assert capfd.readouterr() == ("", "")
    assert optuna.logging.get_verbosity() == optuna.logging.DEBUG
