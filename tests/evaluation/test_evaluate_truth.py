"""Whether a map lies where the evidence is: boxes as the model sees them, and the regions of scenes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import m2ib
from m2ib.contract.layout import Axis
from m2ib.contract.targets import Targets
from m2ib.data import Pair, open_pairs
from m2ib.evaluation.degrading import Degraded
from m2ib.evaluation.scoring import scores_of
from m2ib.evaluation.truth import Truth, truth_of
from m2ib.renderers import Box, Region
from naive_degrading import enlarged
from scene_model import SceneModel, save_scene_model

LOCATED = ("iou", "pointing", "mass-in-region")


def by_loop(values: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """The definitions, place by place."""
    flat, inside = values.ravel().tolist(), mask.ravel().tolist()
    ordered = sorted(flat)
    place = 0.75 * (len(ordered) - 1)
    low = int(place)
    threshold = ordered[low] + (place - low) * (ordered[min(low + 1, len(ordered) - 1)] - ordered[low])
    both = either = 0
    for value, there in zip(flat, inside, strict=True):
        both += value > threshold and there
        either += value > threshold or there
    top = max(flat)
    highest = [there for value, there in zip(flat, inside, strict=True) if value == top]
    mass = sum(max(value, 0.0) for value in flat)
    in_it = sum(max(value, 0.0) for value, there in zip(flat, inside, strict=True) if there)
    return {
        "iou": both / either,
        "pointing": sum(highest) / len(highest),
        "mass-in-region": in_it / mass if mass else sum(inside) / len(inside),
    }


def located(
    model: m2ib.Model, modality: str, item: m2ib.Item, grid: np.ndarray, truth: Truth | None
) -> dict[str, float]:
    degraded = Degraded(
        model, modality, item, model.collate(modality, [item]), Targets.of(model, torch.zeros(1, 1))
    )
    return scores_of(grid, LOCATED, degraded, truth, curve_steps=1, seed=0)


def photograph(width: int, height: int) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def drawn_by_loop(size: tuple[int, int], crop: int, seen: int, boxes: list[Box]) -> np.ndarray:
    """A centre crop of the middle ``crop`` pixels, as ``seen`` x ``seen`` pixels of the model's input."""
    width, height = size
    left, top = (width - crop) / 2, (height - crop) / 2
    mask = np.zeros((seen, seen), bool)
    for row in range(seen):
        for column in range(seen):
            x = left + (column + 0.5) / seen * crop
            y = top + (row + 0.5) / seen * crop
            mask[row, column] = any(
                box.x <= x < box.x + box.width and box.y <= y < box.y + box.height for box in boxes
            )
    return mask


@pytest.mark.parametrize("size", [(96, 64), (64, 96), (64, 64), (40, 30)])
def test_boxes_are_cut_as_the_picture_was(clip64: m2ib.Model, size: tuple[int, int]) -> None:
    """The tiny CLIP sees the middle square, at 32 x 32 pixels."""
    width, height = size
    boxes = [Box(width / 2 - 8, height / 2 - 12, 17, 9), Box(0, 0, width * 0.4, height * 0.3)]
    item = clip64.item("image", photograph(width, height))
    pair = Pair("a", (("image", None), ("text", "")), tuple(boxes))
    truth = truth_of(pair, 0, item)
    assert truth is not None
    wanted = drawn_by_loop(size, min(size), 32, boxes)
    assert truth.mask.shape == (32, 32)
    whole = max(size) * 32 % min(size) == 0  # otherwise the resized picture is cut to whole pixels
    assert (truth.mask != wanted).sum() <= (0 if whole else 20)
    assert truth.mask.any()
    assert truth_of(pair, 1, clip64.item("text", torch.tensor([98, 5, 99]))) is None
    for seed in range(3):
        grid = np.random.default_rng(seed).standard_normal((4, 4))
        found = located(clip64, "image", item, grid, truth)
        assert found == pytest.approx(by_loop(enlarged(grid, (32, 32)), truth.mask), abs=1e-9)


def test_boxes_of_a_picture_that_is_shown_smaller(photo64: m2ib.Model) -> None:
    """What is shown has 1024 pixels at most; boxes are in the raw picture's."""
    item = photo64.item("image", photograph(2048, 2048))
    assert item.view.scale == (0.5, 0.5)
    left, top, right, bottom = (2 * edge for edge in item.view.region)
    box = Box(500, 600, 700, 300)
    truth = truth_of(Pair("a", (("image", None), ("text", "")), (box,)), 0, item)
    assert truth is not None
    rows, columns = item.view.size
    for row in range(rows):
        for column in range(columns):
            x, y = (
                left + (column + 0.5) / columns * (right - left),
                top + (row + 0.5) / rows * (bottom - top),
            )
            assert truth.mask[row, column] == (500 <= x < 1200 and 600 <= y < 900)


def test_what_is_cropped_away_has_no_score(clip64: m2ib.Model) -> None:
    item = clip64.item("image", photograph(128, 64))
    outside = Pair("a", (("image", None), ("text", "")), (Box(0, 0, 20, 64),))
    for truth in (truth_of(outside, 0, item), None):
        found = located(clip64, "image", item, np.eye(4), truth)
        assert np.isnan(list(found.values())).all()
        assert set(found) == set(LOCATED)


def test_a_constant_map_is_nowhere_and_everywhere(clip64: m2ib.Model) -> None:
    item = clip64.item("image", photograph(64, 64))
    truth = truth_of(Pair("a", (("image", None), ("text", "")), (Box(0, 0, 32, 32),)), 0, item)
    found = located(clip64, "image", item, np.ones((4, 4)), truth)
    assert found == {"iou": 0.0, "pointing": 0.25, "mass-in-region": 0.25}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> SceneModel:
    return save_scene_model(tmp_path_factory.mktemp("scenes") / "weights.safetensors")


def read_at(axis: Axis, cells: np.ndarray, raster: Axis) -> np.ndarray:
    """(places,) of the cells' values: cells lie where their two ends are in places of the raster, linear in between."""
    edges = [raster.spans[0][0], *(end for _, end in raster.spans)]
    centres = []
    for span in axis.spans:
        start, end = (np.interp(value, edges, np.arange(len(edges))) for value in span)
        centres.append((start + end) / 2)
    return np.interp(np.arange(len(raster.spans)) + 0.5, centres, cells)


@pytest.mark.parametrize("modality", ["image", "depth", "thermal"])
def test_regions_of_pictures(scene: SceneModel, modality: str) -> None:
    for pair in open_pairs("scenes", modality=modality, count=2):
        item = scene.model.item(modality, pair.inputs[0][1])
        truth = truth_of(pair, 0, item)
        assert truth is not None
        grid = np.random.default_rng(1).standard_normal((8, 8))
        np.testing.assert_allclose(truth.place(grid), enlarged(grid, (112, 112)), atol=1e-9)
        assert np.array_equal(truth.mask, pair.regions[0].mask)
        found = located(scene.model, modality, item, grid, truth)
        assert found == pytest.approx(by_loop(enlarged(grid, (112, 112)), truth.mask), abs=1e-9)


def test_regions_of_sounds_are_read_over_all_clips(scene: SceneModel) -> None:
    (pair,) = open_pairs("scenes", modality="audio", count=1)
    item = scene.model.item("audio", pair.inputs[0][1])
    truth = truth_of(pair, 0, item)
    assert truth is not None
    assert item.layout.grid == (1, 4, 20)
    assert truth.mask.shape == (64, 200)
    grid = np.random.default_rng(2).random((1, 4, 20))
    values = truth.place(grid)
    frequency, time = item.layout.axes[1:]
    bands = np.apply_along_axis(lambda cells: read_at(time, cells, pair.regions[0].axes[1]), 1, grid[0])
    wanted = np.apply_along_axis(lambda cells: read_at(frequency, cells, pair.regions[0].axes[0]), 0, bands)
    # The last cell ends beyond the raster, where its axis goes on as it was.
    np.testing.assert_allclose(values[:, :180], wanted[:, :180], atol=1e-9)
    found = located(scene.model, "audio", item, grid, truth)
    assert found == pytest.approx(by_loop(values, truth.mask), abs=1e-9)


def test_regions_of_motion_count_by_time(scene: SceneModel) -> None:
    (pair,) = open_pairs("scenes", modality="imu", count=1)
    item = scene.model.item("imu", pair.inputs[0][1])
    truth = truth_of(pair, 0, item)
    assert truth is not None
    assert pair.regions[0].mask.shape == (6, 200)
    assert np.array_equal(truth.mask, pair.regions[0].mask.any(0))
    grid = np.random.default_rng(2).standard_normal(40)
    np.testing.assert_allclose(truth.place(grid), enlarged(grid, (200,)), atol=1e-9)
    found = located(scene.model, "imu", item, grid, truth)
    assert found == pytest.approx(by_loop(enlarged(grid, (200,)), truth.mask), abs=1e-9)


def test_regions_of_texts_are_words(scene: SceneModel) -> None:
    for pair in open_pairs("scenes", modality="text", count=3):
        item = scene.model.item("text", pair.inputs[0][1])
        truth = truth_of(pair, 0, item)
        assert truth is not None
        words = pair.inputs[0][1].split()
        grid = np.random.default_rng(2).random(len(words) + 2)  # the first and the last token are special
        np.testing.assert_allclose(truth.place(grid), grid[1:-1], atol=0)
        there = [word for word, inside in zip(words, truth.mask, strict=True) if inside]
        assert there == [pair.regions[0].name]
        found = located(scene.model, "text", item, grid, truth)
        assert found == pytest.approx(by_loop(grid[1:-1], truth.mask), abs=1e-9)
        assert truth_of(pair, 1, item) is None


def test_a_word_of_several_tokens_has_their_sum() -> None:
    tokens = (
        m2ib.Token("<s>", 0, 0, special=True),
        m2ib.Token("a", 0, 1),
        m2ib.Token("be", 2, 4),
        m2ib.Token("ll", 4, 6),
        m2ib.Token("</s>", 6, 6, special=True),
    )
    item = m2ib.Item(
        torch.tensor([1, 2, 3, 4, 5]), m2ib.Layout((5,), read=5, tokens=tokens), {"text": "a bell"}, {}
    )
    region = Region("bell", np.array([False, True]), (Axis("word", "characters", ((0, 1), (2, 6))),))
    truth = truth_of(Pair("a", (("text", "a bell"), ("image", None)), regions={0: region}), 0, item)
    assert truth is not None
    assert truth.place(np.array([9.0, 1, 2, 3, 9])).tolist() == [1, 5]


def test_a_map_that_was_made_finer_by_shifts_lies_in_the_same_place(
    scene: SceneModel, tmp_path: Path
) -> None:
    (pair,) = open_pairs("scenes", modality="image", count=1)
    item = scene.model.item("image", pair.inputs[0][1])
    truth = truth_of(pair, 0, item)
    assert truth is not None
    grid = np.random.default_rng(1).random((24, 24))
    np.testing.assert_allclose(truth.place(grid), enlarged(grid, (112, 112)), atol=1e-9)
