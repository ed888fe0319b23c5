"""Thermal images: what becomes black and white, grey files of every kind, and false colours."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from m2ib.errors import InputError, M2IBWarning, SettingError
from m2ib_adapters.inputs.thermal import ThermalPreparation

PREPARATION = ThermalPreparation()
SMALL = ThermalPreparation(size=(32, 32))


def street(rows: int = 60, columns: int = 80, seed: int = 0) -> np.ndarray:
    """(rows, columns) uint8 grey levels: a warm person before a cool street."""
    levels = np.tile(np.linspace(40, 110, columns), (rows, 1))
    levels[rows // 4 : -5, columns // 2 : columns // 2 + 10] = 220
    return (levels + np.random.default_rng(seed).normal(0, 3, levels.shape)).clip(0, 255).astype(np.uint8)


def naive(pixels: np.ndarray, size: int = 32) -> torch.Tensor:
    """Pixels in [0, 1] resized and cropped once more, by PIL on 8-bit images: exact to a grey level."""
    image = Image.fromarray(np.round(pixels * 255).astype(np.uint8))
    short = min(image.size)
    resized = (size * image.width // short, size * image.height // short)
    left, top = round((resized[0] - size) / 2), round((resized[1] - size) / 2)
    small = image.resize(resized, Image.Resampling.BICUBIC).crop((left, top, left + size, top + size))
    return torch.from_numpy(np.asarray(small) / 255).float()[None]


@pytest.mark.parametrize("shape", [(60, 80), (80, 60), (32, 32), (20, 24)])
def test_eight_bits_are_grey_levels_as_they_are(shape: tuple[int, int]) -> None:
    levels = street(*shape)
    item = SMALL.prepare(levels)
    assert isinstance(item.inputs, torch.Tensor)
    assert (item.inputs.shape, item.inputs.dtype) == ((1, 32, 32), torch.float32)
    assert float((item.inputs - naive(levels / 255)).abs().max()) < 1.6 / 255  # PIL rounds twice
    assert item.origin["stretch"] == "8 bits"
    assert (item.origin["low"], item.origin["high"]) == (0, 255)


def test_mean_and_std() -> None:
    levels = street()
    plain = SMALL.prepare(levels).inputs
    made = ThermalPreparation.of({"mean": 0.48145466, "std": 0.26862954}, size=(32, 32)).prepare(levels)
    torch.testing.assert_close(made.inputs, (plain - 0.48145466) / 0.26862954)
    assert (made.origin["mean"], made.origin["std"]) == (0.48145466, 0.26862954)


def test_files_of_every_kind_hold_the_same(tmp_path: Path) -> None:
    levels = street()
    grey = Image.fromarray(levels)
    grey.save(tmp_path / "l.png")
    grey.save(tmp_path / "l.tiff")
    grey.convert("RGB").save(tmp_path / "rgb.png")
    grey.convert("RGBA").save(tmp_path / "rgba.png")
    grey.convert("LA").save(tmp_path / "la.png")
    grey.convert("P").save(tmp_path / "p.png")
    np.save(tmp_path / "l.npy", levels)
    raws: list[Any] = [
        tmp_path / name for name in ("l.png", "l.tiff", "rgb.png", "rgba.png", "la.png", "p.png", "l.npy")
    ]
    raws += [str(tmp_path / "l.png"), levels[:, :, None], np.stack([levels] * 3, -1), grey, levels / 255]
    raws += [{"thermal": levels}, {"thermal": levels.astype(np.uint16), "low": 0, "high": 255}]
    expected = SMALL.prepare(levels).inputs
    for raw in raws:
        torch.testing.assert_close(SMALL.prepare(raw).inputs, expected, rtol=0, atol=1e-6)


def test_jpeg_grey_stored_as_colour_is_grey(tmp_path: Path) -> None:
    levels = street()
    Image.fromarray(levels).convert("RGB").save(tmp_path / "a.jpg", quality=90)
    inputs = SMALL.prepare(tmp_path / "a.jpg").inputs  # no warning of colours
    assert float((inputs - SMALL.prepare(levels).inputs).abs().max()) < 0.05


def test_turned_upright(tmp_path: Path) -> None:
    levels = street(40, 40)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise
    Image.fromarray(levels).save(tmp_path / "turned.png", exif=exif)
    assert torch.equal(
        SMALL.prepare(tmp_path / "turned.png").inputs, SMALL.prepare(np.rot90(levels, -1).copy()).inputs
    )


@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.float32])
def test_deep_images_are_stretched_by_their_percentiles(kind: type) -> None:
    chance = np.random.default_rng(1)
    raw = chance.integers(29000, 31000, (100, 100)).astype(kind)
    raw[3, 4] = 60000  # a dead pixel
    item = SMALL.prepare(raw)
    low, high = np.sort(raw.ravel())[9], np.sort(raw.ravel())[-10]  # of 10,000: about .1 % at each end
    assert item.origin["stretch"] == "percentiles"
    assert item.origin["low"] == pytest.approx(low, abs=3)
    assert item.origin["high"] == pytest.approx(high, abs=3)
    assert item.origin["measured"] == [raw.min(), 60000]
    pixels = ((raw.astype(float) - item.origin["low"]) / (item.origin["high"] - item.origin["low"])).clip(
        0, 1
    )
    assert float((item.inputs - naive(pixels)).abs().max()) < 1.6 / 255
    assert item.view.values.max() == 60000  # what the pointer reads
    assert item.view.limits == pytest.approx((item.origin["low"], item.origin["high"]), rel=1e-5)


def test_given_limits_are_the_same_for_all_images() -> None:
    celsius = np.linspace(15, 40, 1024).reshape(32, 32)
    preparation = ThermalPreparation(size=(32, 32), low=0, high=50)
    item = preparation.prepare(celsius)
    torch.testing.assert_close(item.inputs[0], torch.from_numpy(celsius / 50).float())
    assert item.origin["stretch"] == "given"
    assert float(preparation.prepare({"thermal": celsius, "low": 20, "high": 30}).inputs.max()) == 1


@pytest.mark.parametrize(
    ("preparation", "raw", "message"),
    [
        (
            SMALL,
            np.full((40, 40), 29000, np.uint16),
            "thermal: all values that the model sees are 29000, so the map shows nothing about heat",
        ),
        (
            SMALL,
            np.zeros((40, 40), np.uint8),
            "thermal: all values that the model sees are 0, so the map shows nothing about heat",
        ),
        (
            ThermalPreparation(size=(32, 32), low=0, high=10),
            np.linspace(20, 40, 1600).reshape(40, 40),
            "thermal: its values from 20 to 40 become one grey level with low=0 and high=10, so the map shows nothing "
            "about heat; say other limits (options.thermal.low, options.thermal.high)",
        ),
    ],
)
def test_one_grey_level_is_said(preparation: ThermalPreparation, raw: np.ndarray, message: str) -> None:
    with pytest.warns(M2IBWarning, match=f"^{re.escape(message)}$"):
        item = preparation.prepare(raw)
    assert float(item.inputs.max() - item.inputs.min()) < 1e-6


@pytest.mark.parametrize(
    ("levels", "unit"),
    [
        (np.linspace(20, 40, 1600).reshape(40, 40), "as given"),
        (np.linspace(-0.5, 0.5, 1600).reshape(40, 40), "as given"),
        (np.linspace(0, 1, 1600).reshape(40, 40), "grey level"),
        (np.arange(1600, dtype=np.uint16).reshape(40, 40), "grey level"),
    ],
)
def test_temperatures_are_not_called_grey_levels(levels: np.ndarray, unit: str) -> None:
    view = SMALL.prepare(levels).view
    assert view.unit == unit
    np.testing.assert_allclose(view.values, levels, rtol=1e-6)


def test_what_is_recorded_is_rounded() -> None:
    origin = SMALL.prepare(
        np.linspace(20, 40, 1600, dtype=np.float32).reshape(40, 40) + np.float32(0.1)
    ).origin
    assert origin["measured"] == [20.1, 40.1]
    assert origin["low"] == float(f"{origin['low']:.6g}")


def test_messages_name_the_file(tmp_path: Path) -> None:
    np.save(tmp_path / "holes.npy", np.where(np.eye(9) > 0, np.nan, 1.0))
    (tmp_path / "empty.png").touch()
    for name, message in {
        "holes.npy": ": 9 of 81 values are NaN or infinite; fill them, or crop the image",
        "empty.png": " is empty: the file holds 0 bytes",
        "": " is a folder; name a file",
    }.items():
        with pytest.raises(InputError, match=f"^{re.escape(f'thermal {str(tmp_path / name)!r}{message}')}$"):
            SMALL.prepare(tmp_path / name)
    Image.fromarray(np.full((40, 40, 3), (255, 120, 0), np.uint8)).save(tmp_path / "colour.png")
    with pytest.warns(M2IBWarning) as caught:
        SMALL.prepare(tmp_path / "colour.png")
    assert [str(each.message).startswith(f"thermal '{tmp_path}/colour.png': ") for each in caught] == [
        True,
        True,
    ]


@settings(max_examples=30)
@given(
    st.integers(16, 70),
    st.integers(16, 70),
    st.sampled_from([np.uint8, np.uint16, np.float64]),
    st.integers(0, 9),
)
def test_inputs_lie_between_black_and_white(rows: int, columns: int, kind: type, seed: int) -> None:
    raw = (np.random.default_rng(seed).random((rows, columns)) * 255).astype(kind)
    item = ThermalPreparation(size=(16, 16)).prepare(raw)
    assert 0 <= float(item.inputs.min()) <= float(item.inputs.max()) <= 1
    np.testing.assert_allclose(item.view.values, raw, rtol=1e-6)


def test_view_and_layout() -> None:
    item = PREPARATION.prepare(street(448, 560))
    view = item.view
    assert (view.label, view.unit, view.size) == ("thermal", "grey level", (224, 224))
    assert view.region == (56, 0, 504, 448)
    assert item.layout.grid == (14, 14)
    assert item.layout.index == tuple(range(1, 197))
    rows, columns = item.layout.axes
    assert rows.spans[1] == (32, 64)
    assert columns.spans[0] == (56, 88)


def test_describe() -> None:
    preparation = ThermalPreparation(mean=0.5, std=0.25)
    inputs = torch.randn(1, 32, 48)
    item = preparation.describe(inputs)
    assert item.inputs is inputs
    assert item.layout.grid == (2, 3)
    torch.testing.assert_close(torch.from_numpy(item.view.values), inputs[0] * 0.25 + 0.5)
    with pytest.raises(
        InputError,
        match=r"^thermal: a preprocessed tensor has the shape \(1, rows, columns\), multiples of 16 and 16, and a "
        r"floating-point type, not \(3, 224, 224\) torch.float32$",
    ):
        preparation.describe(torch.zeros(3, 224, 224))


def test_false_colours_are_said() -> None:
    colours = np.zeros((40, 40, 3), np.uint8)
    colours[:, :20] = (255, 120, 0)
    with pytest.warns(
        M2IBWarning,
        match="^thermal: a picture in false colours is not a measurement: its brightness is taken, which need not "
        "rise with temperature; give the camera's grey image$",
    ):
        item = SMALL.prepare(colours)
    assert float(item.view.values[0, 0]) == pytest.approx(0.299 * 255 + 0.587 * 120, rel=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gain": 2}, "thermal: no option 'gain'; there are low, high, page, mean, std"),
        ({"std": 0}, "thermal: std is a number > 0, not 0"),
        ({"mean": "x"}, "thermal: mean is a number, not 'x'"),
        (
            {"low": 3},
            "thermal: low and high are the raw values of black and white, two numbers in this order, not 3 and None",
        ),
        (
            {"low": 3, "high": 3},
            "thermal: low and high are the raw values of black and white, two numbers in this order, not 3 and 3",
        ),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=f"^{re.escape(message)}$"):
        ThermalPreparation.of(options)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (None, "thermal: cannot use a NoneType; give a path, a PIL image or an array (H, W)"),
        (np.zeros(7), "thermal: an array has the shape (H, W) or (H, W, 1), not (7,)"),
        (np.zeros((8, 8), complex), "thermal: values are whole or floating-point numbers, not complex128"),
        (
            np.where(np.eye(9) > 0, np.nan, 1.0),
            "thermal: 9 of 81 values are NaN or infinite; fill them, or crop the image",
        ),
        (
            {"thermal": street(), "low": 9},
            "thermal: low and high are the raw values of black and white, two numbers in this order, not 9 and None",
        ),
        ({"heat": street()}, "thermal: a mapping needs the key 'thermal'; it has 'heat'"),
        ("nowhere.jpg", "thermal 'nowhere.jpg' does not exist; check the path"),
    ],
)
def test_bad_input(raw: Any, message: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        SMALL.prepare(raw)


def test_damaged_files(tmp_path: Path) -> None:
    Image.fromarray(street(200, 200)).save(tmp_path / "a.jpg")
    whole = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "half.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"half\.jpg' is damaged and cannot be decoded"):
        SMALL.prepare(tmp_path / "half.jpg")
