"""What maps do to inputs that are degraded by them, against the definitions of the paper in loops."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import m2ib
from m2ib.contract.targets import Targets
from m2ib.evaluation.degrading import Degraded, hideable_cells, shuffled
from m2ib.evaluation.scoring import scores_of
from naive_degrading import (
    curve_areas,
    enlarged,
    multiplied,
    replaced,
    similarity,
    unit_range,
    weighed,
    without_cells,
    without_tokens,
)
from scene_model import MODALITIES, SceneModel, example, save_scene_model
from tiny_clip import END, START
from toy import BOS, EOS, PAD, toy_model

METRICS = ("drop", "increase", "deletion", "insertion", "mass")
Case = tuple[m2ib.Model, str, Any, str, Any]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> SceneModel:
    return save_scene_model(tmp_path_factory.mktemp("scenes") / "weights.safetensors")


@pytest.fixture(scope="module")
def case(clip64: m2ib.Model, photo64: m2ib.Model, scene: SceneModel) -> Callable[[str], Case]:
    """(model, modality, input, the other modality, the other input) by name."""

    def made(name: str) -> Case:
        kind, modality = name.split()
        if kind == "scene":
            other = "text" if modality != "text" else "image"
            return scene.model, modality, example(modality, 1), other, example(other, 2)
        ids = {
            "toy": torch.tensor([BOS, 5, 9, 30, 17, EOS]),
            "clip": torch.tensor([START, *range(5, 16), END]),
            "photo": "two red cats asleep on a sofa",
        }
        size = {"toy": 8, "clip": 32, "photo": 64}[kind]
        dtype = torch.float32 if kind == "toy" else torch.float64
        pixels = torch.randn(3, size, size, generator=torch.Generator().manual_seed(3), dtype=dtype)
        model = {"toy": toy_model(), "clip": clip64, "photo": photo64}[kind]
        pair = {"image": pixels, "text": ids[kind]}
        other = "image" if modality == "text" else "text"
        return model, modality, pair[modality], other, pair[other]

    return made


CASES = [
    *(f"{kind} {modality}" for kind in ("toy", "clip", "photo") for modality in ("image", "text")),
    *(f"scene {modality}" for modality in MODALITIES),
]


def target_of(model: m2ib.Model, modality: str, raw: Any) -> Tensor:
    """(D,) of length 1, in the model's precision."""
    inputs = model.collate(modality, [model.item(modality, raw)])
    with torch.no_grad():
        found = model.encoder(modality).embed(inputs)[0]
    return found / found.norm()


def towards(model: m2ib.Model, target: Tensor) -> Targets:
    return Targets.of(model, target[None])


def degraded_of(case: Case) -> Degraded:
    model, modality, raw, other, against = case
    item = model.item(modality, raw)
    return Degraded(
        model,
        modality,
        item,
        model.collate(modality, [item]),
        towards(model, target_of(model, other, against)),
    )


def shape_of(degraded: Degraded) -> tuple[int, ...]:
    grid = degraded.item.layout.grid
    return grid if grid is not None else (4, 4)


def effect_by_loop(degraded: Degraded, grid: np.ndarray, steps: int) -> dict[str, float]:
    model, modality, inputs = degraded.model, degraded.modality, degraded.inputs[0]  # type: ignore[index]
    if modality == "text":
        special = [token.special for token in degraded.item.layout.tokens]
        padding = model.encoder("text").degradation.padding  # type: ignore[union-attr]
        after = replaced(inputs, grid, special, padding)
        cells = [(n,) for n, fixed in enumerate(special) if not fixed]
    else:
        after = multiplied(modality, inputs, grid)
        cells = list(itertools.product(*map(range, grid.shape)))

    def cosine(gone: set[tuple[int, ...]]) -> float:
        if modality == "text":
            changed = without_tokens(inputs, gone, padding)
        else:
            changed = without_cells(modality, inputs, grid.shape, gone)
        return similarity(model, modality, changed, degraded.target.vectors[0, 0])

    before = similarity(model, modality, inputs, degraded.target.vectors[0, 0])
    s = similarity(model, modality, after, degraded.target.vectors[0, 0])
    deletion, insertion = curve_areas(grid, cells, steps, cosine)
    return {
        "drop": 100 * max(0.0, before - s),
        "increase": 100.0 * (before < s),
        "deletion": deletion,
        "insertion": insertion,
        "mass": float(unit_range(grid).mean()),
    }


@pytest.mark.parametrize("name", CASES)
def test_scores_are_those_of_a_loop(case: Callable[[str], Case], name: str) -> None:
    degraded, modality = degraded_of(case(name)), name.split()[1]
    shape, tolerance = shape_of(degraded), 1e-4 if name.startswith("toy") else 1e-7
    for seed, steps in ((0, 4), (1, 3))[: 1 if modality == "image" and name != "toy image" else 2]:
        grid = np.random.default_rng(seed).standard_normal(shape)
        found = scores_of(grid, METRICS, degraded, None, curve_steps=steps, seed=0)
        wanted = effect_by_loop(degraded, grid, steps)
        assert list(found) == list(METRICS)
        assert found == pytest.approx(wanted, rel=tolerance, abs=tolerance)


def test_multiplying_is_one_weight_for_each_position() -> None:
    inputs, weights = torch.randn(2, 3, 4, 5), np.random.default_rng(0).random((2, 4, 5))
    grid = np.random.default_rng(1).random((2, 2, 3))
    weights = unit_range(enlarged(grid, (2, 4, 5)))
    torch.testing.assert_close(multiplied("audio", inputs, grid), weighed(inputs, weights, (0, 2, 3)))


def test_that_enlarging_is_bilinear() -> None:
    grid = np.random.default_rng(0).random((3, 4))
    wide = torch.nn.functional.interpolate(torch.from_numpy(grid)[None, None], size=(14, 9), mode="bilinear")
    np.testing.assert_allclose(enlarged(grid, (14, 9)), wide[0, 0].numpy(), atol=1e-12)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("value", [1.0, 0.3])
def test_a_constant_map_drops_and_increases_exactly_nothing(
    case: Callable[[str], Case], name: str, value: float
) -> None:
    degraded = degraded_of(case(name))
    grid = np.full(shape_of(degraded), value)
    found = scores_of(grid, ("drop", "increase", "mass"), degraded, None, curve_steps=1, seed=0)
    assert found == {"drop": 0.0, "increase": 0.0, "mass": 1.0}


def test_half_of_the_tokens_with_one_highest_score_stay() -> None:
    model = toy_model()
    item = model.item("text", torch.tensor([BOS, 5, 9, 30, 17, EOS]))
    target = target_of(model, "image", torch.randn(3, 8, 8))
    degraded = Degraded(model, "text", item, model.collate("text", [item]), towards(model, target))
    for scores, left in (
        ([9.0, 1, 2, 3, 4, 9], [BOS, PAD, PAD, 30, 17, EOS]),
        ([0.0, 2, 2, 2, 1, 0], [BOS, 5, 9, 30, PAD, EOS]),  # none is above the median
        ([0.0, 1, 1, 1, 1, 5], [BOS, 5, 9, 30, 17, EOS]),
        ([0.0, -4, -1, -2, -3, 0], [BOS, PAD, 9, 30, PAD, EOS]),
    ):
        wanted = similarity(model, "text", torch.tensor(left), target)
        assert degraded.effect(np.array(scores)).degraded == pytest.approx(wanted, abs=1e-6)


def test_curves_begin_and_end_with_the_whole_input_and_with_nothing(clip64: m2ib.Model) -> None:
    item = clip64.item("image", torch.randn(3, 32, 32, dtype=torch.float64))
    target = target_of(clip64, "text", torch.tensor([START, 7, END]))
    degraded = Degraded(clip64, "image", item, clip64.collate("image", [item]), towards(clip64, target))
    found = degraded.effect(np.random.default_rng(0).random((4, 4)), curves=5)
    nothing = similarity(clip64, "image", torch.zeros(3, 32, 32, dtype=torch.float64), target)
    assert found.fractions.tolist() == [0, 3 / 16, 6 / 16, 10 / 16, 13 / 16, 1]
    for curve in (found.deletion, found.insertion[::-1]):
        assert curve[0] == pytest.approx(found.original, abs=1e-9)
        assert curve[-1] == pytest.approx(nothing, abs=1e-9)
    without = degraded.effect(np.random.default_rng(0).random((4, 4)), confidence=False)
    assert np.isnan(without.degraded)
    assert (without.fractions.size, without.deletion.size, without.insertion.size) == (0, 0, 0)


def test_equal_cells_go_in_an_order_of_the_seed_alone(clip64: m2ib.Model) -> None:
    item = clip64.item("image", torch.randn(3, 32, 32, dtype=torch.float64))
    target = target_of(clip64, "text", torch.tensor([START, 7, END]))
    degraded = Degraded(clip64, "image", item, clip64.collate("image", [item]), towards(clip64, target))
    one, again, other = (degraded.effect(np.ones((4, 4)), curves=4, seed=seed).deletion for seed in (1, 1, 2))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def test_a_text_of_special_tokens_alone_has_no_curves() -> None:
    model = toy_model()
    item = model.item("text", torch.tensor([BOS, EOS]))
    item = replace(item, layout=m2ib.Layout((2,), read=2, tokens=item.layout.tokens[:1] * 2))
    degraded = Degraded(
        model,
        "text",
        item,
        model.collate("text", [item]),
        towards(model, target_of(model, "image", torch.randn(3, 8, 8))),
    )
    found = scores_of(np.array([1.0, 2.0]), METRICS, degraded, None, curve_steps=5, seed=0)
    assert (found["drop"], found["increase"]) == (0, 0)
    assert np.isnan([found["deletion"], found["insertion"]]).all()


@pytest.mark.parametrize("name", CASES)
def test_the_control_has_the_map_s_own_values_in_other_places(case: Callable[[str], Case], name: str) -> None:
    degraded = degraded_of(case(name))
    grid = np.random.default_rng(0).standard_normal(shape_of(degraded))
    hideable = hideable_cells(degraded.model, degraded.modality, degraded.item, grid.shape)
    moved = shuffled(grid, hideable, np.random.default_rng(2))
    assert sorted(moved.ravel()) == sorted(grid.ravel())
    assert np.array_equal(moved[~hideable], grid[~hideable])
    assert not np.array_equal(moved, grid)
    special = [token.special for token in degraded.item.layout.tokens]
    assert (~hideable).tolist() == special if special else hideable.all()
