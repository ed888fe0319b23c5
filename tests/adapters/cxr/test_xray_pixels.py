"""An X-ray's pixels against a plain computation, and where in the image each of them lies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import interpolate

import m2ib
from m2ib import Layout
from m2ib_adapters.cxr.preprocess import XrayPreparation, equalized
from m2ib_adapters.inputs.images import ImagePreparation, pixel_axes
from xrays import save_dicom, xray

LAYOUT = Layout((4, 4), tuple(range(1, 17)))
SIZES = ((400, 400), (700, 401), (100, 333), (1, 9), (641, 640))


def picture(rows: int, columns: int) -> np.ndarray:
    return xray(rows, columns, 255).astype(np.uint8)


def naive_mimic(grey: np.ndarray, size: int) -> torch.Tensor:
    height, width = grey.shape
    ratio = 320 / max(height, width)
    inner = max(1, int(width * ratio)), max(1, int(height * ratio))
    square = np.zeros((320, 320), np.float32)
    left, top = (320 - inner[0]) // 2, (320 - inner[1]) // 2
    resized = np.asarray(Image.fromarray(grey).resize(inner, Image.Resampling.LANCZOS))
    square[top : top + inner[1], left : left + inner[0]] = resized
    normalised = torch.from_numpy((np.stack([square] * 3) - np.float32(101.48761)) / np.float32(83.43944))
    return interpolate(normalised[None], (size, size), mode="bicubic", align_corners=False, antialias=False)[
        0
    ]


@pytest.mark.parametrize(("rows", "columns"), SIZES)
@pytest.mark.parametrize("size", [224, 320, 32])
def test_mimic_equals_the_plain_computation(rows: int, columns: int, size: int) -> None:
    grey = picture(rows, columns)
    item = XrayPreparation("mimic", size).prepare(grey, LAYOUT)
    assert item.inputs.dtype == torch.float32
    assert torch.allclose(item.inputs, naive_mimic(grey, size), atol=2e-6)


@pytest.mark.parametrize(("rows", "columns"), SIZES)
def test_chexpert_equals_the_plain_computation(rows: int, columns: int) -> None:
    grey = picture(rows, columns)
    item = XrayPreparation("chexpert", 224).prepare(grey, LAYOUT)
    resized = np.asarray(Image.fromarray(grey).resize((224, 224), Image.Resampling.BICUBIC), dtype=np.float32)
    expected = torch.from_numpy((np.stack([resized] * 3) - 129.4185) / 73.3378)
    assert torch.allclose(item.inputs, expected, atol=2e-6)
    assert item.view.region == (0, 0, columns, rows)


def test_a_colour_picture_becomes_grey() -> None:
    colours = np.random.default_rng(0).integers(0, 256, (50, 40, 3), dtype=np.uint8)
    grey = np.asarray(Image.fromarray(colours).convert("L"))
    made, expected = (XrayPreparation("mimic", 32).prepare(each, LAYOUT).inputs for each in (colours, grey))
    assert torch.equal(made, expected)


def test_region_and_axes_lie_in_pixels_of_the_raw_image() -> None:
    item = XrayPreparation("mimic", 32).prepare(picture(600, 300), LAYOUT)
    assert item.view.region == (-150, 0, 450, 600)  # 80 of 320 columns are padding on either side
    down, across = item.layout.axes
    assert (down.name, down.unit, down.spans[0], down.spans[-1]) == ("row", "px", (0, 150), (450, 600))
    assert (across.name, across.unit) == ("column", "px")
    assert across.spans == ((-150, 0), (0, 150), (150, 300), (300, 450))


def test_the_region_is_where_the_image_is() -> None:
    """A white spot at a place that the axes give comes out in that cell, also where sides are rounded down."""
    rows, columns = 2021, 1543
    for row, column in ((3, 1), (0, 2), (1, 1)):
        grey = np.zeros((rows, columns), np.uint8)
        down, across = XrayPreparation("mimic", 64).prepare(grey, LAYOUT).layout.axes
        (top, bottom), (left, right) = down.spans[row], across.spans[column]
        grey[round(top) : round(bottom), max(0, round(left)) : round(right)] = 255
        pixels = XrayPreparation("mimic", 64).prepare(grey, LAYOUT).inputs[0] * 83.43944 + 101.48761
        cells = pixels.unfold(0, 16, 16).unfold(1, 16, 16).mean((-1, -2))  # (4, 4)
        share = (min(right, columns) - max(left, 0)) / (right - left)
        expected = torch.zeros(4, 4)
        expected[row, column] = 255 * share
        assert (cells - expected).abs().max() < 6


def test_a_large_image_is_shown_smaller_with_its_scale() -> None:
    view = XrayPreparation("mimic", 32).prepare(picture(3000, 1500), LAYOUT).view
    assert view.pixels.shape == (1024, 512, 3)
    assert view.scale == pytest.approx((512 / 1500, 1024 / 3000))
    assert view.region == pytest.approx((-256, 0, 768, 1024))


def test_every_step_is_recorded() -> None:
    assert XrayPreparation("mimic", 224, equalize=True).prepare(picture(30, 20), LAYOUT).origin == {
        "source": "array",
        "size": [20, 30],
        "preprocess": "mimic",
        "grey": True,
        "equalize": True,
        "square": 320,
        "mean": 101.48761,
        "std": 83.43944,
        "input_size": [224, 224],
    }


def test_a_preprocessed_tensor_is_shown_with_mean_and_deviation_undone() -> None:
    preparation = XrayPreparation("mimic", 32)
    grey = picture(400, 400)
    item = preparation.prepare(grey, LAYOUT)
    again = preparation.describe(item.inputs, LAYOUT)
    assert torch.equal(again.inputs, item.inputs)
    shown = item.inputs[0] * 83.43944 + 101.48761
    assert np.abs(again.view.pixels[..., 0] - shown.clamp(0, 255).numpy()).max() <= 0.51
    assert again.layout.axes[0].spans[-1] == (24, 32)
    with pytest.raises(m2ib.InputError, match=r"image: a preprocessed tensor has the shape \(3, 32, 32\)"):
        preparation.describe(torch.zeros(3, 31, 32), LAYOUT)


def test_equalizing_makes_all_levels_equally_frequent() -> None:
    grey = (np.random.default_rng(0).beta(2, 9, (200, 300)) * 255).astype(np.uint8)
    table = np.zeros(256)
    darkest, counts = grey.min(), [int((grey == level).sum()) for level in range(256)]
    for level in range(int(darkest) + 1, 256):
        table[level] = round(sum(counts[darkest + 1 : level + 1]) * 255 / (grey.size - counts[darkest]))
    assert np.array_equal(equalized(grey), table.astype(np.uint8)[grey])
    assert abs(equalized(grey).mean() - 127.5) < 5
    assert np.array_equal(equalized(np.full((4, 4), 9, np.uint8)), np.full((4, 4), 9))
    made = XrayPreparation("mimic", 32, equalize=True).prepare(grey, LAYOUT)
    plain = XrayPreparation("mimic", 32).prepare(equalized(grey), LAYOUT)
    assert torch.equal(made.inputs, plain.inputs)
    assert np.array_equal(made.view.pixels, plain.view.pixels)


def test_the_model_takes_the_way_it_is_told(vit_file: Path) -> None:
    grey = picture(60, 40)
    for way in ("mimic", "chexpert"):
        model = m2ib.load_model(
            "cxr-repair", checkpoint=vit_file, device="cpu", preprocess=way, equalize=True
        )
        expected = XrayPreparation(way, 32, equalize=True).prepare(grey, LAYOUT).inputs
        assert torch.equal(model.preprocess("image", [grey])[0], expected)


# DICOMs, as MIMIC-CXR-JPG's files were made of them.


def naive_jpg(stored: np.ndarray, inverted: bool) -> np.ndarray:
    """Least value to 0, greatest to 255, cut to whole levels, turned round, equalised."""
    shifted = stored.astype(np.int64) - int(stored.min())
    grey = np.array([value * 255 // int(shifted.max()) for value in shifted.reshape(-1)]).reshape(
        stored.shape
    )
    return equalized((255 - grey if inverted else grey).astype(np.uint8))


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("dtype", [np.uint16, np.int16])
def test_equalizing_a_dicom_is_the_training_sets_recipe(
    tmp_path: Path, photometric: str, dtype: type
) -> None:
    pixels = (xray(400, 300).astype(np.int64) - (500 if dtype == np.int16 else 0)).astype(dtype)
    tags = {
        "PhotometricInterpretation": photometric,
        "WindowCenter": 900,
        "WindowWidth": 50,
        "RescaleSlope": 3,
    }
    file = save_dicom(tmp_path / "x.dcm", pixels, BitsStored=16, **tags)
    expected = naive_jpg(pixels, photometric == "MONOCHROME1")
    item = XrayPreparation("mimic", 32, equalize=True).prepare(file, LAYOUT)
    assert torch.allclose(item.inputs, naive_mimic(expected, 32), atol=2e-6)
    assert np.array_equal(item.view.pixels[..., 0], expected)
    assert item.origin["dicom"]["levels"]["by"] == "least and greatest value, cut to whole levels"


def test_a_dicom_is_equalized_unless_the_user_says_otherwise(tmp_path: Path) -> None:
    file = save_dicom(tmp_path / "x.dcm", xray(), BitsStored=12)
    said = XrayPreparation("mimic", 32, equalize=True).prepare(file, LAYOUT)
    assumed = XrayPreparation("mimic", 32).prepare(file, LAYOUT)
    assert torch.equal(assumed.inputs, said.inputs)
    assert (assumed.origin["equalize"], assumed.origin["equalize_assumed"]) == (True, True)
    assert "equalize_assumed" not in said.origin
    picture = np.round(xray() / 4095 * 255).astype(np.uint8)
    for preparation in (XrayPreparation("mimic", 32, equalize=False), XrayPreparation("chexpert", 32)):
        plain = preparation.prepare(file, LAYOUT)
        assert torch.equal(plain.inputs, preparation.prepare(picture, LAYOUT).inputs)
        assert plain.origin["equalize"] is False


def test_a_window_that_is_passed_over_is_said(tmp_path: Path) -> None:
    file = save_dicom(tmp_path / "x.dcm", xray(), WindowCenter=900, WindowWidth=50)
    said = r"^image .*x\.dcm': its window is passed over and its histogram equalised, .* say equalize=False "
    with pytest.warns(m2ib.M2IBWarning, match=said):
        XrayPreparation("mimic", 32).prepare(file, LAYOUT)
    for equalize in (True, False):
        XrayPreparation("mimic", 32, equalize=equalize).prepare(file, LAYOUT)


def test_limits_of_a_dicom_are_equalized_as_they_are(tmp_path: Path) -> None:
    file = save_dicom(tmp_path / "x.dcm", xray(), WindowCenter=900, WindowWidth=50)
    made = XrayPreparation("mimic", 32).prepare({"image": file, "minimum": 1000, "maximum": 3000}, LAYOUT)
    grey = np.round((xray().clip(1000, 3000) - 1000.0) / 2000 * 255).astype(np.uint8)
    assert torch.equal(made.inputs, XrayPreparation("mimic", 32, equalize=True).prepare(grey, LAYOUT).inputs)


# What all image adapters share.


def test_pixel_axes() -> None:
    down, across = pixel_axes((2, 3), (-15, 10, 15, 30))
    assert (down.name, down.unit, down.spans) == ("row", "px", ((10, 20), (20, 30)))
    assert (across.name, across.unit, across.spans) == ("column", "px", ((-15, -5), (-5, 5), (5, 15)))


@pytest.mark.parametrize(
    ("fit", "rows", "columns"),
    [
        ("squash", ((0, 25), (75, 100)), ((0, 50), (150, 200))),
        ("crop", ((0, 25), (75, 100)), ((50, 75), (125, 150))),
        ("pad", ((-50, 0), (100, 150)), ((0, 50), (150, 200))),
    ],
)
def test_every_fit_gives_its_axes(
    fit: str, rows: tuple[tuple[int, int], ...], columns: tuple[tuple[int, int], ...]
) -> None:
    preparation = ImagePreparation((32, 32), (0.5,) * 3, (0.5,) * 3, fit=fit)
    down, across = preparation.prepare(picture(100, 200), LAYOUT).layout.axes
    assert (down.spans[0], down.spans[-1]) == rows
    assert (across.spans[0], across.spans[-1]) == columns
    assert preparation.prepare(picture(100, 200), Layout()).layout.axes == ()
