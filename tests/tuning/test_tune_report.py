"""The picture, the tables, and what is said of them."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from matplotlib.axes import Axes
from PIL import Image
from rich.console import Console

from m2ib.cli.tune import settings_yaml
from m2ib.metrics import Aggregate
from m2ib.tuning.heatmap import draw
from m2ib.tuning.report import save, show, verdict
from m2ib.tuning.results import Trial, TrialScore, Tuned, best_of
from m2ib.tuning.search import Point

BETAS, VARIANCES = (0.01, 0.1, 1.0), (0.1, 1.0)
DEFAULT = Point(2, 0.1, 1.0)


def score(mean: float) -> TrialScore:
    return TrialScore(mean, 0.01, 0.02, 10, 0, 0.4, 0.05)


def made_up(
    folder: Path,
    metric: str = "insertion",
    default: Point = DEFAULT,
    layers: tuple[int, ...] = (0, 1, 2),
    gain: float = 0.05,
) -> Tuned:
    """Each value is a digit of its point, so that it can be found again in a picture."""
    grid = [Point(layer, beta, variance) for layer in layers for beta in BETAS for variance in VARIANCES]
    points = list(dict.fromkeys([default, *grid]))
    trials = tuple(
        Trial(n, p, score(p.layer / 10 + BETAS.index(p.beta) / 100 + p.variance / 1000))
        for n, p in enumerate(points)
    )
    asked = {
        "search": {"pairs": 10, "held_out": 20, "seeds": [0, 1], "grid": [list(p) for p in points]},
        "method": {"name": "m2ib"},
        "left out": 0,
    }
    return Tuned(
        folder=folder,
        asked=asked,
        modality="image",
        metric=metric,
        trials=trials,
        default=trials[0],
        best=best_of(trials, metric),
        held_out={"best": score(0.4), "default": score(0.3), "uniform": score(0.2), "random": score(0.1)},
        gain=Aggregate(gain, 0.02, 5),
        settings={"image": best_of(trials, metric).point._asdict()},
    )


def panels(tuned: Tuned) -> dict[str, Axes]:
    return {axes.get_title(): axes for axes in draw(tuned).axes if axes.get_title()}


def cells(axes: Axes) -> dict[tuple[int, float], list[str]]:
    """The words in each cell, by its column and row."""
    found: dict[tuple[int, float], list[str]] = {}
    for text in axes.texts:
        x, y = text.get_position()
        found.setdefault((round(x), round(y)), []).append(text.get_text())
    return found


@pytest.mark.parametrize(
    ("metric", "best"), [("insertion", Point(2, 1.0, 1.0)), ("deletion", Point(0, 0.01, 0.1))]
)
def test_every_value_stands_in_its_cell_and_the_best_is_marked(
    metric: str, best: Point, tmp_path: Path
) -> None:
    tuned = made_up(tmp_path, metric)
    found = panels(tuned)
    assert list(found) == ["layer 0", "layer 1", "layer 2"]
    for layer, axes in enumerate(found.values()):
        words = cells(axes)
        for column, beta in enumerate(BETAS):
            for row, variance in enumerate(VARIANCES):
                point = Point(layer, beta, variance)
                said = [f"{layer / 10 + column / 100 + variance / 1000:.3f}"]
                said += ["best"] * (point == best) + ["default"] * (point == tuned.default.point)
                assert words.pop((column, row)) == said
        assert not words


@pytest.mark.parametrize("metric", ["insertion", "deletion"])
def test_brighter_is_better(metric: str, tmp_path: Path) -> None:
    tuned = made_up(tmp_path, metric)
    brightness = {}
    for title, axes in panels(tuned).items():
        for patch in axes.patches:
            if patch.get_fill():
                x, y = patch.get_xy()  # type: ignore[attr-defined]
                point = Point(int(title[-1]), BETAS[round(x + 0.5)], VARIANCES[round(y + 0.5)])
                brightness[point] = sum(patch.get_facecolor()[:3])  # type: ignore[index, arg-type]
    assert max(brightness, key=lambda point: brightness[point]) == tuned.best.point
    label = next(axes.get_ylabel() for axes in draw(tuned).axes if "better" in axes.get_ylabel())
    assert (
        label
        == {
            "insertion": "insertion AUC ↑  (higher is better)",
            "deletion": "deletion AUC ↓  (lower is better)",
        }[metric]
    )


@pytest.mark.parametrize("layers", [(2,), (0, 1, 2, 3, 4), tuple(range(9))])
def test_any_number_of_layers_makes_a_picture_in_which_no_words_collide(
    layers: tuple[int, ...], tmp_path: Path
) -> None:
    tuned = made_up(tmp_path, layers=layers)
    figure = draw(tuned)
    figure.savefig(tmp_path / "picture.png", dpi=80)
    for axes in figure.axes:
        if not axes.get_title():
            continue
        boxes = [text.get_window_extent() for text in axes.texts]
        for number, box in enumerate(boxes):
            assert not any(box.overlaps(other) for other in boxes[number + 1 :])
    with Image.open(tmp_path / "picture.png") as picture:
        assert np.asarray(picture.convert("L")).std() > 10


def test_a_default_outside_the_grid_stands_in_the_title(tmp_path: Path) -> None:
    tuned = made_up(tmp_path, default=Point(7, 0.1, 1.0))
    assert "layer 7" not in panels(tuned)
    title = draw(tuned).get_suptitle()
    assert title.splitlines() == [
        "insertion AUC of maps of image, 10 pairs: brighter is better",
        "best 0.711 at layer 7, β 0.1, σ² 1",
        "default 0.711 at layer 7, β 0.1, σ² 1",
    ]


def test_equal_values_and_points_that_were_not_tried_make_a_picture(tmp_path: Path) -> None:
    tuned = made_up(tmp_path)
    same = tuple(replace(trial, score=score(0.5)) for trial in tuned.trials[:1] + tuned.trials[2:7])
    tuned = replace(tuned, trials=same, default=same[0], best=same[0])
    draw(tuned).savefig(tmp_path / "picture.png")
    hatched = [p for axes in panels(tuned).values() for p in axes.patches if p.get_hatch()]
    shown = sum(len(axes.texts) for axes in panels(tuned).values())
    assert shown == 6 + 1  # the best one is the default
    assert len(hatched) == 12


def test_tables_on_a_terminal_are_sorted_and_fit(tmp_path: Path) -> None:
    text = io.StringIO()
    tuned = made_up(tmp_path, layers=tuple(range(7)))
    show(tuned, Console(file=text, width=80))
    lines = text.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in lines if line.startswith("│")]
    assert rows[0] == ["best", "6", "1", "1", "0.621", "0.010", "0.020", "0.400"]
    trials = [float(row[4]) for row in rows if row[0] not in ("uniform", "random")][:30]
    assert trials == sorted(trials, reverse=True)
    assert [row[0] for row in rows[-4:]] == ["best", "default", "uniform", "random"]
    assert sum(row[0] == "default" for row in rows) == 2
    assert "12 more are in image-trials.csv" in lines


def test_the_verdict_is_honest(tmp_path: Path) -> None:
    tuned = made_up(tmp_path)
    better = "On the held-out pairs the best setting is better than the default by 0.050 ± 0.020 (standard error over pairs)."
    assert verdict(tuned) == better
    assert verdict(made_up(tmp_path, gain=0.03)) == (
        better.replace("0.050", "0.030") + " That is less than two standard errors."
    )
    luck = " Its lead in the search was luck: keep the default, or tune on more pairs."
    worse = better.replace("0.050", "0.030").replace("better", "worse")
    assert verdict(made_up(tmp_path, gain=-0.03)) == worse + luck
    assert verdict(made_up(tmp_path, gain=0)) == (
        "On the held-out pairs the best setting is no better than the default." + luck
    )
    assert verdict(replace(tuned, best=tuned.default)) == (
        "The default is the best setting of those that were tried."
    )
    beaten = replace(tuned, held_out={**tuned.held_out, "uniform": score(0.4), "random": score(0.5)})
    assert verdict(beaten) == (
        better + " No better than uniform and random: this metric alone does not tell a good map here."
    )
    assert verdict(replace(beaten, metric="deletion")).endswith(
        "No better than uniform: this metric alone does not tell a good map here."
    )
    few = replace(tuned, asked={**tuned.asked, "search": {**tuned.asked["search"], "held_out": 2}})
    assert verdict(few) == better + " That is judged on 2 pairs alone: take it as a hint."
    assert verdict(replace(tuned, asked={**tuned.asked, "batch sizes": [8, 2]})) == (
        better + " Maps were made 8 and 2 at a time, on which the seconds in the CSV files depend."
    )
    alone = replace(tuned, gain=Aggregate(0.05, math.nan, 1), asked={**tuned.asked, "left out": 3})
    assert verdict(alone) == (
        "On the held-out pairs the best setting is better than the default by 0.050. Left out: 3 pairs that the model cannot "
        "take."
    )


def test_settings_are_by_modality_and_hold_what_a_search_was_given(tmp_path: Path) -> None:
    (tmp_path / "clip").mkdir()
    tuned = replace(
        made_up(tmp_path),
        settings={"image": {"steps": 3, "layer": 1, "beta": 1e-05, "variance": 1.0}, "text": {"layer": -1}},
        asked={**made_up(tmp_path).asked, "method": {"name": "other"}},
    )
    text = settings_yaml(tuned, "clip", str(tmp_path / "clip"), {"architecture": "${ViT}"})
    assert yaml.safe_load(text) == {
        "model": "clip",
        "checkpoint": str(tmp_path / "clip"),
        "options": {"architecture": "\\${ViT}"},  # which is read back as it was
        "method": "other",
        "steps": {"image": 3},
        "layer": {"image": 1, "text": -1},
        "beta": {"image": 1e-05},
        "variance": {"image": 1.0},
    }
    settings = {"image": {"unheard-of": 1}}
    assert yaml.safe_load(settings_yaml(replace(tuned, settings=settings), "clip", "tag", {})) == {
        "model": "clip",
        "checkpoint": "tag",
        "method": "other",
        "settings": {"unheard-of": {"image": 1}},
    }


def test_a_relative_checkpoint_becomes_an_absolute_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("weights.pt").write_bytes(b"")
    found = yaml.safe_load(settings_yaml(made_up(tmp_path), "clip", "weights.pt", {}))
    assert found["checkpoint"] == str(tmp_path / "weights.pt")


def test_files_are_written_whole_and_leave_nothing_beside(tmp_path: Path) -> None:
    assert (
        save(made_up(tmp_path), settings_yaml(made_up(tmp_path), "photo", None, {}))
        == tmp_path / "settings.yaml"
    )
    assert {path.name for path in tmp_path.iterdir()} == {
        "image-trials.csv",
        "image-held-out.csv",
        "image.png",
        "settings.yaml",
        "m2ib-folder.json",
    }
