"""RISE and Kernel SHAP against their papers, written as loops."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import m2ib
from m2ib.contract.degradation import Fading
from m2ib.methods.kernelshap import coalitions, shapley
from m2ib.methods.rise import SmoothMasks
from scene_model import SceneModel, example, save_scene_model
from toy import BOS, EOS, PAD, toy_model

IDS = torch.tensor([BOS, 5, 9, 33, 17, EOS])
PIXELS = torch.randn(3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def toy64() -> m2ib.Model:
    model = toy_model()
    return m2ib.Model(model.module.double(), model.encoders, model.device, torch.float64, model.origin)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> m2ib.Model:
    scene: SceneModel = save_scene_model(tmp_path_factory.mktemp("tiny") / "weights.safetensors")
    return scene.model


def cosine(model: m2ib.Model, modality: str, x: Tensor, other: tuple[str, Tensor]) -> float:
    """Of one input and the other side, by the model's own embedding."""
    a, b = model.encoder(modality).embed(x[None])[0], model.encoder(other[0]).embed(other[1][None])[0]
    return (a @ b / a.norm() / b.norm()).item()


def naive_rise(f: Callable[[Tensor], float], x: Tensor, masks: Tensor) -> np.ndarray:
    """S at each position of ``masks`` (K, *positions), which are the last axes of x."""
    top, below = np.zeros(masks.shape[1:]), np.zeros(masks.shape[1:])
    for mask in masks:
        top += f(x * mask) * mask.numpy()
        below += mask.numpy()
    return top / below


def block_means(values: np.ndarray, grid: tuple[int, ...]) -> np.ndarray:
    """Of positions, by cells of equal size."""
    found = np.zeros(grid)
    for cell in np.ndindex(*grid):
        sizes = [length // cells for length, cells in zip(values.shape, grid, strict=True)]
        found[cell] = values[*(slice(c * s, c * s + s) for c, s in zip(cell, sizes, strict=True))].mean()
    return found


def kept_words(ids: Tensor, kept: Any) -> Tensor:
    """Start and end always; the others where ``kept``, else padding."""
    last = len(ids) - 1
    return torch.tensor([int(i) if t in (0, last) or kept[t] else PAD for t, i in enumerate(ids)])


# RISE


def test_rise_of_a_picture_is_the_loop_over_its_masks(toy64: m2ib.Model) -> None:
    exp = m2ib.explain(
        toy64,
        image=PIXELS,
        text=IDS,
        method="rise",
        seed=5,
        settings={"masks": {"image": 100, "text": 3}, "keep": 0.4, "cells": 3},
    )
    masks = SmoothMasks.draw(100, (8, 8), (3, 3), 0.4, seed=5)[:]
    s = naive_rise(lambda x: cosine(toy64, "image", x, ("text", IDS)), PIXELS, masks)
    np.testing.assert_allclose(exp["image"].grid, block_means(s, (4, 4)), rtol=0, atol=1e-6)
    assert exp["image"].unit == "cosine"
    assert not exp["image"].additive
    assert exp["image"].settings == {
        "layer": 1,
        "masks": 100,
        "keep": 0.4,
        "cells": 3,
        "seed": 5,
        "target": "similarity",
    }


@pytest.mark.parametrize("modality", ["audio", "imu", "depth"])
def test_rise_of_anything_measured(tiny: m2ib.Model, modality: str) -> None:
    x, image = example(modality, 1), example("image", 2)
    exp = m2ib.explain(
        tiny, (modality, x), ("image", image), method="rise", settings={"masks": 70, "cells": 5}, seed=2
    )
    positions = {"audio": (1, *x.shape[-2:]), "imu": x.shape[-1:], "depth": x.shape[-2:]}[modality]
    masks = SmoothMasks.draw(70, positions, [min(5, n) for n in positions], 0.5, seed=2)[:]
    s = naive_rise(lambda masked: cosine(tiny, modality, masked, ("image", image)), x, masks)
    np.testing.assert_allclose(
        exp[modality].grid, block_means(s, exp[modality].grid.shape), rtol=0, atol=1e-6
    )


def test_rise_of_a_text_is_the_loop_over_its_masks(toy64: m2ib.Model) -> None:
    exp = m2ib.explain(
        toy64, image=PIXELS, text=IDS, method="rise", seed=3, settings={"masks": {"image": 2, "text": 130}}
    )
    masks = np.random.default_rng(3).random((130, len(IDS))) < 0.5
    masks[:, [0, -1]] = True
    scores = [cosine(toy64, "text", kept_words(IDS, mask), ("image", PIXELS)) for mask in masks]
    expected = [
        sum(s for s, mask in zip(scores, masks, strict=True) if mask[t]) / masks[:, t].sum()
        for t in range(len(IDS))
    ]
    np.testing.assert_allclose(exp["text"].grid, expected, rtol=0, atol=1e-12)
    assert exp["text"].grid[0] == pytest.approx(np.mean(scores), abs=1e-12)  # never hidden


def test_a_token_that_no_mask_shows_has_the_mean(toy64: m2ib.Model) -> None:
    exp = m2ib.explain(
        toy64, image=PIXELS, text=IDS, method="rise", settings={"masks": 2, "keep": 1e-9, "cells": 2}
    )
    alone = cosine(toy64, "text", kept_words(IDS, np.zeros(6)), ("image", PIXELS))
    np.testing.assert_allclose(exp["text"].grid, alone, rtol=0, atol=1e-12)
    dark = cosine(toy64, "image", PIXELS * 0, ("text", IDS))
    np.testing.assert_allclose(exp["image"].grid, dark, rtol=0, atol=1e-12)


def test_the_fill_is_the_degradation_s(toy64: m2ib.Model) -> None:
    grey = replace(toy64.encoder("image"), degradation=Fading(0.7))
    model = replace(toy64, encoders={**toy64.encoders, "image": grey})
    exp = m2ib.explain(model, image=PIXELS, text=IDS, method="rise", settings={"masks": 9})
    masks = SmoothMasks.draw(9, (8, 8), (7, 7), 0.5, seed=0)[:]
    s = naive_rise(lambda x: cosine(toy64, "image", x + 0.7, ("text", IDS)), PIXELS - 0.7, masks)
    np.testing.assert_allclose(exp["image"].grid, block_means(s, (4, 4)), rtol=0, atol=1e-6)


def test_masks_are_the_same_in_parts() -> None:
    whole = SmoothMasks.draw(20, (2, 9, 10), (2, 3, 4), 0.5, seed=1)[:]
    drawn = SmoothMasks.draw(20, (2, 9, 10), (2, 3, 4), 0.5, seed=1)
    assert torch.equal(torch.cat([drawn[:7], drawn[7:20]]), whole)
    assert whole.min() >= 0
    assert whole.max() <= 1


def test_an_axis_of_few_positions_is_hidden_whole() -> None:
    masks = SmoothMasks.draw(400, (2, 12), (2, 3), 0.5, seed=0)[:]
    coarse = SmoothMasks.draw(400, (2, 1), (2, 1), 0.5, seed=0)[:]
    assert set(coarse.unique().tolist()) == {0.0, 1.0}
    assert not torch.equal(masks[:, 0], masks[:, 1])
    both = torch.stack([masks[:, 0].flatten(), masks[:, 1].flatten()])
    assert abs(torch.corrcoef(both)[0, 1]) < 0.1


def test_the_paper_s_number_of_masks(toy64: m2ib.Model) -> None:
    for name in ("rise", "kernelshap"):
        (masks,) = (each for each in m2ib.list_methods()[name].spec.settings if each.name == "masks")
        found = {m: masks.default_for(toy64.encoder(m)) for m in ("image", "text")}
        assert found == {"image": 2048, "text": 256}


# Kernel SHAP


def exact_shapley(v: Callable[[frozenset[int]], float], players: int) -> np.ndarray:
    """The definition: the mean gain of joining, over all coalitions of the others by their size."""
    phi = np.zeros(players)
    for i in range(players):
        others = [p for p in range(players) if p != i]
        for size in range(players):
            weight = math.factorial(size) * math.factorial(players - size - 1) / math.factorial(players)
            for members in itertools.combinations(others, size):
                s = frozenset(members)
                phi[i] += weight * (v(s | {i}) - v(s))
    return phi


def test_kernelshap_of_a_text_is_exact_where_all_coalitions_fit(toy64: m2ib.Model) -> None:
    exp = m2ib.explain(
        toy64, image=PIXELS, text=IDS, method="kernelshap", settings={"masks": {"image": 3, "text": 14}}
    )

    def v(kept: frozenset[int]) -> float:
        shown = [t - 1 in kept for t in range(6)]
        return cosine(toy64, "text", kept_words(IDS, shown), ("image", PIXELS))

    found = exp["text"].grid
    assert found[0] == found[-1] == 0
    np.testing.assert_allclose(found[1:-1], exact_shapley(v, 4), rtol=0, atol=1e-12)
    assert exp["text"].unit == "cosine"
    assert exp["text"].additive


def test_kernelshap_of_a_motion_hides_whole_cells(tiny: m2ib.Model) -> None:
    x, image = example("imu", 1), example("image", 2)
    exp = m2ib.explain(
        tiny, imu=x, image=image, method="kernelshap", settings={"masks": {"imu": 90, "image": 2}}, seed=4
    )
    cells = len(exp["imu"].grid)
    rows, weights = coalitions(cells, 90, np.random.default_rng(4))
    width = x.shape[-1] // cells

    def v(kept: Any) -> float:
        mask = torch.tensor(np.repeat(kept, width).astype(float))
        return cosine(tiny, "imu", x * mask, ("image", image))

    none, whole = v(np.zeros(cells)), v(np.ones(cells))
    gains = np.array([v(row) - none for row in rows])
    expected = constrained(rows, weights, gains, whole - none)
    np.testing.assert_allclose(exp["imu"].grid, expected, rtol=0, atol=1e-9)


def constrained(rows: np.ndarray, weights: np.ndarray, gains: np.ndarray, whole: float) -> np.ndarray:
    """Weighted least squares with a Lagrange multiplier, and the solution nearest to equal shares."""
    players = rows.shape[1]
    z = rows.astype(float)
    system = np.zeros((players + 1, players + 1))
    right = np.zeros(players + 1)
    for row, weight, gain in zip(z, weights, gains, strict=True):
        system[:players, :players] += weight * np.outer(row, row)
        right[:players] += weight * gain * row
    system[players, :players] = system[:players, players] = 1
    right[players] = whole
    equal = np.append(np.full(players, whole / players), 0)
    solution = equal + np.linalg.lstsq(system, right - system @ equal, rcond=1e-9)[0]
    return solution[:players]


@given(st.integers(2, 7), st.integers(1, 130), st.integers(0, 99))
@settings(max_examples=60)
def test_the_solution_is_that_of_a_lagrangian(players: int, most: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    rows, weights = coalitions(players, most, random)
    gains, whole = random.normal(size=len(rows)), float(random.normal())
    found = shapley(rows, weights, gains, whole)
    assert found.sum() == pytest.approx(whole, abs=1e-9)
    np.testing.assert_allclose(found, constrained(rows, weights, gains, whole), rtol=0, atol=1e-6)


@given(st.integers(2, 6), st.integers(0, 99))
def test_all_coalitions_give_the_shapley_values_of_any_game(players: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    table = {
        frozenset(np.flatnonzero(row).tolist()): float(random.normal())
        for row in itertools.product([0, 1], repeat=players)
    }
    none, whole = table[frozenset()], table[frozenset(range(players))]
    rows, weights = coalitions(players, 2**players - 2, random)
    assert len(rows) == 2**players - 2
    gains = np.array([table[frozenset(np.flatnonzero(row).tolist())] - none for row in rows])
    expected = exact_shapley(table.__getitem__, players)
    np.testing.assert_allclose(shapley(rows, weights, gains, whole - none), expected, rtol=0, atol=1e-10)


@given(st.integers(2, 12), st.integers(1, 400), st.integers(0, 99))
def test_coalitions(players: int, most: int, seed: int) -> None:
    rows, weights = coalitions(players, most, np.random.default_rng(seed))
    sizes = rows.sum(1)
    assert len(rows) == len(weights) == min(most, 2**players - 2)
    assert sizes.min() >= 1
    assert sizes.max() <= players - 1
    assert (weights > 0).all()
    total = sum((players - 1) / (s * (players - s)) for s in range(1, players))
    assert weights.sum() == pytest.approx(total)  # what is drawn stands for all of its sizes
    if len(rows) == 2**players - 2:
        assert len({tuple(row) for row in rows.tolist()}) == len(rows)
        for size, weight in zip(sizes.tolist(), weights, strict=True):
            kernel = (players - 1) / (math.comb(players, size) * size * (players - size))
            assert weight == pytest.approx(kernel)


def test_outer_sizes_are_complete_and_others_drawn_in_pairs() -> None:
    rows, weights = coalitions(20, 256, np.random.default_rng(0))
    assert len({tuple(row) for row in rows[:40].tolist()}) == 40
    assert set(rows[:40].sum(1).tolist()) == {1, 19}
    assert weights[:40] == pytest.approx(1 / 20)
    assert set(rows[40:].sum(1).tolist()) <= set(range(2, 19))
    assert (rows[40::2] == ~rows[41::2]).all()
    assert len(set(weights[40:].tolist())) == 1


def test_drawn_coalitions_come_near_the_exact_values(toy64: m2ib.Model) -> None:
    """Sixteen patches: all 65,534 coalitions against some."""
    tail = toy64.encoder("image").embed
    target = toy64.encoder("text").embed(IDS[None])[0]

    def v(rows: np.ndarray) -> np.ndarray:
        keep = torch.from_numpy(rows.reshape(-1, 4, 4).repeat(2, 1).repeat(2, 2).astype(float))
        embedded = torch.cat([tail(PIXELS * part[:, None]) for part in keep.split(8192)])
        return torch.cosine_similarity(embedded, target[None], dim=-1).numpy()

    bits = (np.arange(2**16)[:, None] >> np.arange(16)) & 1 == 1  # (65536, 16)
    values = v(bits)
    sizes = bits.sum(1)
    exact = np.zeros(16)
    for i in range(16):
        without = np.flatnonzero(~bits[:, i])
        chance = np.array([1 / (16 * math.comb(15, size)) for size in range(16)])[sizes[without]]
        exact[i] = (chance * (values[without + (1 << i)] - values[without])).sum()

    def error(masks: int, seed: int) -> float:
        exp = m2ib.explain(
            toy64,
            image=PIXELS,
            text=IDS,
            method="kernelshap",
            seed=seed,
            settings={"masks": {"image": masks, "text": 2}},
        )
        found = exp["image"].grid.reshape(-1)
        assert found.sum() == pytest.approx(values[-1] - values[0], abs=1e-12)
        return float(np.linalg.norm(found - exact) / np.linalg.norm(exact))

    few, many = (np.mean([error(masks, seed) for seed in range(4)]) for masks in (200, 3000))
    assert many < 0.05
    assert many < few / 2


def test_a_large_map_of_an_additive_game_is_exact() -> None:
    random = np.random.default_rng(0)
    rows, weights = coalitions(576, 2048, random)
    assert rows.shape == (2048, 576)
    truth = random.normal(size=576)
    np.testing.assert_allclose(shapley(rows, weights, rows @ truth, truth.sum()), truth, rtol=0, atol=1e-9)


@pytest.mark.parametrize("masks", [1, 2, 5, 40])
def test_values_add_up_however_few_the_masks(toy64: m2ib.Model, masks: int) -> None:
    exp = m2ib.explain(toy64, image=PIXELS, text=IDS, method="kernelshap", settings={"masks": masks})
    dark = cosine(toy64, "image", PIXELS * 0, ("text", IDS))
    bare = cosine(toy64, "text", kept_words(IDS, np.zeros(6)), ("image", PIXELS))
    assert exp["image"].grid.sum() == pytest.approx(exp.similarity - dark, abs=1e-12)
    assert exp["text"].grid.sum() == pytest.approx(exp.similarity - bare, abs=1e-12)


def test_one_word_and_no_word(toy64: m2ib.Model) -> None:
    one, none = torch.tensor([BOS, 5, EOS]), torch.tensor([BOS, EOS])
    exp = m2ib.explain(toy64, image=PIXELS, text=one, method="kernelshap", settings={"masks": 8})
    bare = cosine(toy64, "text", torch.tensor([BOS, PAD, EOS]), ("image", PIXELS))
    np.testing.assert_allclose(exp["text"].grid, [0, exp.similarity - bare, 0], rtol=0, atol=1e-12)
    exp = m2ib.explain(toy64, image=PIXELS, text=none, method="kernelshap", settings={"masks": 8})
    assert exp["text"].grid.tolist() == [0, 0]


# Grids that the layer decides; what cannot be hidden


@pytest.mark.parametrize("name", ["rise", "kernelshap"])
def test_the_layer_decides_the_grid_of_a_convolution(photo64: m2ib.Model, name: str) -> None:
    pixels = torch.randn(3, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    ids = torch.tensor([101, 3899, 102])
    shapes = set()
    for layer in (5, 14):
        shared: Any = {"layer": {"image": layer}}
        exp = m2ib.explain(
            photo64,
            image=pixels,
            text=ids,
            method=name,
            settings={**shared, "masks": {"image": 4, "text": 2}},
        )
        shapes.add(exp["image"].grid.shape)
        assert (
            exp["image"].grid.shape
            == m2ib.explain(photo64, image=pixels, text=ids, steps=1, **shared)["image"].grid.shape
        )
    assert len(shapes) == 2


@pytest.mark.parametrize("name", ["rise", "kernelshap"])
def test_an_adapter_that_does_not_say_how_ids_are_hidden(name: str) -> None:
    model = toy_model(text=lambda encoder: replace(encoder, degradation=None))
    with pytest.raises(
        m2ib.InputError, match=r"takes token ids, whose values cannot fade; its adapter has to say"
    ):
        m2ib.explain(model, image=PIXELS.float(), text=IDS, method=name)


@pytest.mark.parametrize("name", ["rise", "kernelshap"])
def test_a_model_that_gives_nan_when_parts_are_hidden(name: str) -> None:
    def brittle(encoder: m2ib.Encoder) -> m2ib.Encoder:
        def embed(ids: Any) -> Tensor:
            broken = (ids == PAD).any(1, keepdim=True)
            return encoder.embed(ids).masked_fill(broken, float("nan"))

        return replace(encoder, embed=embed)

    with pytest.raises(m2ib.InputError) as caught:
        m2ib.explain(
            toy_model(text=brittle), image=PIXELS.float(), text=IDS, method=name, settings={"masks": 9}
        )
    assert str(caught.value) == (
        "text: the model gives NaN or infinite values in torch.float32 for an input with parts hidden; check the "
        "input"
    )


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("rise", {"masks": 0}, "masks for image: 0 is out of range; it must be >= 1"),
        ("kernelshap", {"masks": 0}, "masks for image: 0 is out of range; it must be >= 1"),
        ("rise", {"keep": 1}, "keep for image: 1 is out of range; it must be between 0 and 1"),
        ("rise", {"cells": 0}, "cells for image: 0 is out of range; it must be >= 1"),
        (
            "rise",
            {"mask": 9},
            "settings: 'mask' is unknown; did you mean 'masks'? There are layer, masks, keep, cells, target, those of the method "
            "'rise'",
        ),
        (
            "kernelshap",
            {"keep": 0.5},
            "settings: 'keep' is unknown. There are layer, masks, target, those of the method 'kernelshap'",
        ),
        (
            "rise",
            {"preset": "sharp"},
            "settings: 'preset' is unknown. There are layer, masks, keep, cells, target, those of the method 'rise'",
        ),
        (
            "kernelshap",
            {"preset": "nib"},
            "settings: 'preset' is unknown. There are layer, masks, target, those of the method 'kernelshap'",
        ),
    ],
)
def test_settings_that_cannot_be(name: str, given: dict[str, Any], message: str) -> None:
    with pytest.raises(m2ib.SettingError) as caught:
        m2ib.explain(toy_model(), image=PIXELS.float(), text=IDS, method=name, settings=given)
    assert str(caught.value) == message
