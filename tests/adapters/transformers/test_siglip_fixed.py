"""Images at a fixed resolution: the pixels are the image processor's, and every cell is the part of the photo it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import m2ib

CLOSE: dict[str, Any] = {"rtol": 0, "atol": 1e-6}  # a pixel is a number in [-1, 1], 1/127.5 apart


def load(folder: Any, **options: Any) -> Any:
    return m2ib.load_model("siglip", checkpoint=folder, device="cpu", **options)


def photo(rows: int, columns: int) -> np.ndarray:
    return np.random.default_rng(rows + columns).integers(0, 256, (rows, columns, 3), dtype=np.uint8)


@pytest.mark.parametrize("kind", ["first", "second", "ragged"])  # bicubic, bilinear, bicubic
@pytest.mark.parametrize("size", [(32, 32), (17, 90), (200, 31), (3, 5)])
def test_pixels_are_those_of_the_image_processor(
    request: pytest.FixtureRequest, kind: str, size: tuple[int, int]
) -> None:
    from transformers import AutoImageProcessor

    folder = request.getfixturevalue(kind)
    model = load(folder)
    image = Image.fromarray(photo(*size))
    wanted = AutoImageProcessor.from_pretrained(folder, backend="pil")(images=image, return_tensors="pt")
    torch.testing.assert_close(model.preprocess("image", [image]), wanted["pixel_values"], **CLOSE)


def changed_cells(model: Any, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """(rows, columns) how far each patch's embedding moves."""
    stem = model.module.vision_model.embeddings
    item = model.item("image", before)
    with torch.no_grad():
        first, second = (
            stem(**inputs) if isinstance(inputs, dict) else stem(inputs)
            for inputs in (model.preprocess("image", [image]) for image in (before, after))
        )  # (1, T, C)
    moved = (first - second).abs().sum(-1)[0]  # (T,)
    grid: np.ndarray = item.layout.to_grid(moved.double().numpy())
    return grid


@pytest.mark.parametrize("kind", ["first", "ragged"])
@pytest.mark.parametrize("cell", [(0, 0), (1, 3), (3, 2)])
def test_a_change_inside_one_cell_of_the_photo_moves_that_cell_alone(
    request: pytest.FixtureRequest, kind: str, cell: tuple[int, int]
) -> None:
    model = load(request.getfixturevalue(kind))
    before = photo(144, 288)
    after = before.copy()
    rows, columns = (
        axis.spans[at] for axis, at in zip(model.item("image", before).layout.axes, cell, strict=True)
    )
    inside = [slice(round(a + 0.4 * (b - a)), round(a + 0.6 * (b - a))) for a, b in (rows, columns)]
    after[inside[0], inside[1]] = 255 - after[inside[0], inside[1]]
    moved = changed_cells(model, before, after)
    assert moved[cell] > 0
    assert np.count_nonzero(moved) == 1


def test_the_cells_tile_the_photo(first: Path) -> None:
    model = load(first)
    layout = model.item("image", photo(64, 96)).layout
    assert layout.grid == (4, 4)
    rows, columns = layout.axes
    assert (rows.name, rows.unit, rows.spans) == ("row", "px", ((0, 16), (16, 32), (32, 48), (48, 64)))
    assert (columns.name, columns.unit, columns.spans) == (
        "column",
        "px",
        ((0, 24), (24, 48), (48, 72), (72, 96)),
    )


def test_where_patches_do_not_fill_the_square_the_cells_end_with_the_last_patch(ragged: Path) -> None:
    model = load(ragged)
    item = model.item("image", photo(72, 90))  # 36 pixels of which 4 x 8 are read
    rows, columns = item.layout.axes
    assert item.layout.grid == (4, 4)
    assert rows.spans == ((0, 16), (16, 32), (32, 48), (48, 64))
    assert columns.spans == ((0, 20), (20, 40), (40, 60), (60, 80))
    assert item.view.region == (0, 0, 80, 64)
    pixels = model.preprocess("image", [photo(72, 90)])
    beyond = pixels.clone()
    beyond[..., 32:, :] += 1
    beyond[..., 32:] += 1
    torch.testing.assert_close(model.embed("image", beyond), model.embed("image", pixels), rtol=0, atol=0)


def test_a_map_lies_over_what_is_read_of_the_photo(ragged: Path) -> None:
    model = load(ragged)
    attribution = m2ib.explain(model, image=photo(72, 90), text="a dog", steps=1, samples=1)["image"]
    assert attribution.grid.shape == (4, 4)
    assert attribution.axes[1].spans[-1] == (60, 80)
    assert attribution.scores.shape == (36, 36)


def test_an_image_that_is_ready_is_taken_as_it_is(first: Path) -> None:
    model = load(first)
    pixels = model.preprocess("image", [photo(50, 40)])[0]
    item = model.item("image", pixels)
    assert torch.equal(item.inputs, pixels)
    assert item.layout.grid == (4, 4)
    shown = Image.fromarray(photo(50, 40)).resize((32, 32), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(item.view.pixels, np.asarray(shown))


def test_a_tensor_of_another_size_is_refused(first: Path) -> None:
    model = load(first)
    with pytest.raises(
        m2ib.InputError, match=r"has the shape \(3, 32, 32\) and a floating-point type, not \(3, 32, 40\)"
    ):
        model.item("image", torch.zeros(3, 32, 40))


def test_shifts_split_the_cells(first: Path) -> None:
    model = load(first)
    shifts = {"image": 4, "text": 1}
    explanation = m2ib.explain(model, image=photo(64, 64), text="a dog", steps=1, samples=1, shifts=shifts)
    assert explanation["image"].grid.shape == (8, 8)


@pytest.mark.parametrize("kind", ["first", "ragged"])
def test_the_sharp_preset(request: pytest.FixtureRequest, kind: str) -> None:
    model = load(request.getfixturevalue(kind))
    explanation = m2ib.explain(model, image=photo(72, 90), text="a dog", preset="sharp", steps=1, samples=1)
    grid = explanation["image"].grid
    assert grid.shape[0] > 4
    assert grid.std() > 0


@pytest.mark.parametrize(
    "change",
    [
        {"do_normalize": False},
        {"do_rescale": False},
        {"rescale_factor": 1 / 127.5, "image_mean": 1.0},
        {"do_center_crop": True, "size": {"shortest_edge": 36}, "crop_size": 32},
        {"do_resize": False, "do_center_crop": True, "crop_size": {"height": 32, "width": 32}},
    ],
)
def test_every_step_that_the_image_processor_takes_is_taken(
    first: Path, edited: Any, change: dict[str, Any]
) -> None:
    from transformers import AutoImageProcessor

    folder = edited(first, "preprocessor_config.json", **change)
    image = Image.fromarray(photo(50, 81))
    wanted = AutoImageProcessor.from_pretrained(folder, backend="pil")(images=image, return_tensors="pt")
    torch.testing.assert_close(
        load(folder).preprocess("image", [image]), wanted["pixel_values"].float(), **CLOSE
    )


def test_an_image_processor_of_another_size_is_refused(first: Path, edited: Any) -> None:
    folder = edited(first, "preprocessor_config.json", size={"height": 40, "width": 40})
    with pytest.raises(m2ib.CheckpointError, match=r"makes images of 40x40 pixels .* its model takes 32x32"):
        load(folder)
