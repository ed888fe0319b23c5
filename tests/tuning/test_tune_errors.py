"""What a search refuses before a model is loaded, in one line that says what to do."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from m2ib.data import open_pairs
from m2ib.data.pairs import Pairs
from m2ib.errors import AdapterError, SettingError
from m2ib.registry.discovery import default_registry
from m2ib.tuning.run import tune
from m2ib.tuning.search import PAPER, Search, check
from toy import toy_model

SEARCH = Search("image", "insertion")


@pytest.fixture(scope="module")
def pairs() -> Pairs:
    return open_pairs("scenes", modality="image", count=2, split="tune")


METRICS = "drop, increase, deletion, insertion, iou, pointing, mass-in-region, roar"
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"metric": "insertoin"}, f"metric 'insertoin' is unknown; did you mean 'insertion'? There is {METRICS}"),
    (
        {"metric": "rank-correlation"},
        f"metric 'rank-correlation' does not tell which of two settings is better; there is {METRICS}",
    ),
    ({"modality": "audio"}, "side 'audio' is not a modality of the pairs; they are image and text"),
    (
        {"grid": {"betta": [1]}},
        "grid 'betta' is unknown; did you mean 'beta'? The search is over layer, beta, variance",
    ),
    ({"grid": {"beta": 0.1}}, "grid 'beta' is a list of values, as in grid.beta=[1, 2], not 0.1"),
    ({"grid": {"beta": []}}, "grid 'beta' is a list of values, as in grid.beta=[1, 2], not []"),
    ({"grid": {"beta": "0.1"}}, "grid 'beta' is a list of values, as in grid.beta=[1, 2], not '0.1'"),
    ({"grid": [1]}, "grid is a dict by name, as in {'beta': [1, 0.1]}, not [1]"),
    ({"grid": {"beta": [1, "x"]}}, "grid 'beta': 'x' is not a finite number"),
    ({"grid": {"beta": [float("nan")]}}, "grid 'beta': nan is not a finite number"),
    ({"grid": {"beta": [-1]}}, "grid 'beta': -1 is out of range; it must be >= 0"),
    ({"grid": {"variance": [0]}}, "grid 'variance': 0 is out of range; it must be > 0"),
    ({"grid": {"layer": [1.5]}}, "grid 'layer': 1.5 is not a whole number"),
    ({"grid": {"layer": [True]}}, "grid 'layer': True is not a whole number"),
    ({"grid": {"layer": [-2]}}, "grid 'layer': -2 is out of range; it must be >= -1"),
    ({"held_out": 0}, "held_out 0 is out of range; it must be >= 1"),
    ({"pairs": 0}, "pairs 0 is out of range; it must be >= 1"),
    ({"pairs": True}, "pairs True is out of range; it must be >= 1"),
    ({"sampler": "random"}, "sampler 'random' is unknown; it is grid or tpe"),
    ({"sampler": "tpe"}, "the sampler 'tpe' needs trials: how many points it may try"),
    ({"sampler": "tpe", "trials": 0}, "trials 0 is out of range; it must be >= 1"),
    (
        {"trials": 5},
        "trials 5 has no effect, since the sampler 'grid' tries every point; give sampler=tpe, or a smaller grid",
    ),
    (
        {"settings": {"beta": 1}},
        "'beta' is searched, so it is no fixed setting; for one value give grid.beta=[...]",
    ),
    (
        {"method": "gradcam"},
        "the method 'gradcam' has no setting 'beta'; the search is over layer, beta, variance, as the method 'm2ib' "
        "has them",
    ),
    ({"seeds": ()}, "give at least one seed"),
    ({"seeds": (-1,)}, "seed -1 is not a whole number >= 0"),
    ({"batch_size": 0}, "batch_size 0 is out of range; it must be >= 1"),
]


@pytest.mark.parametrize(("change", "message"), REFUSED)
def test_what_does_not_hold_together_is_refused(change: dict[str, Any], message: str, pairs: Pairs) -> None:
    with pytest.raises(SettingError) as caught:
        check(replace(SEARCH, **change), pairs)
    assert str(caught.value) == f"tune: {message}"


def test_a_setting_that_the_method_has_not_is_refused(pairs: Pairs) -> None:
    with pytest.raises(SettingError, match=r"^tune: the method 'm2ib' has no setting 'stepps'; did you mean"):
        check(replace(SEARCH, settings={"stepps": 1}), pairs)
    with pytest.raises(
        SettingError, match=r"^tune: settings are a dict by name, as in {'steps': 20}, not 3$"
    ):
        check(replace(SEARCH, settings=3), pairs)  # type: ignore[arg-type]


def test_a_located_metric_needs_pairs_with_regions() -> None:
    pairs = Pairs("plain", ("image", "text"), lambda: ())
    with pytest.raises(SettingError) as caught:
        check(replace(SEARCH, metric="iou"), pairs)
    assert str(caught.value) == (
        "tune: metric 'iou' needs to know where the evidence is, and the data 'plain' has no boxes or regions; leave it "
        "out, or give pairs with boxes"
    )


def test_a_model_that_does_not_take_the_data_is_refused() -> None:
    pairs = open_pairs("scenes", modality="imu", count=2, split="tune")
    with pytest.raises(
        SettingError, match=r"^tune: the data 'scenes: imu' has imu and text, and the model 'clip'"
    ):
        check(replace(SEARCH, modality="imu"), pairs, default_registry().adapters.find("clip"))


def test_an_unknown_method_is_refused(pairs: Pairs) -> None:
    with pytest.raises((SettingError, AdapterError), match="m2bi"):
        check(replace(SEARCH, method="m2bi"), pairs)


def test_a_grid_is_filled_in_and_has_each_value_once(pairs: Pairs) -> None:
    assert check(SEARCH, pairs).grid == PAPER
    grid = check(replace(SEARCH, grid={"layer": [3, 2, 3], "beta": [1, 1.0, 2]}), pairs).grid
    assert grid == {"layer": (3, 2), "beta": (1.0, 2.0), "variance": PAPER["variance"]}


def test_a_layer_that_the_model_has_not_is_refused_before_anything_is_tried(
    tmp_path: Path, pairs: Pairs
) -> None:
    with pytest.raises(SettingError) as caught:
        tune(toy_model(), pairs, replace(SEARCH, grid={"layer": [1, 3]}), tmp_path / "out")
    assert str(caught.value) == (
        "layer for image: 3 is out of range; this encoder has the blocks 0 to 2, and -1 for its embedding output "
        "(default 1)"
    )
    assert not (tmp_path / "out").exists()


def test_without_optuna_it_is_said_what_to_install(
    tmp_path: Path, pairs: Pairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(SettingError) as caught:
        tune(toy_model(), pairs, SEARCH, tmp_path)
    assert str(caught.value) == (
        "tune: it needs optuna, which cannot be imported: pip install 'm2ib[evaluate]'"
    )
