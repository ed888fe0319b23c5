"""Depth: metres to disparity to the model's numbers, holes, cameras, and every way it can be wrong."""

from __future__ import annotations

import pickle
import re
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from torch.nn.functional import interpolate

from m2ib.errors import InputError, M2IBWarning, SettingError
from m2ib.notices import collected_warnings
from m2ib_adapters.inputs.depth import SENSORS, DepthPreparation
from m2ib_adapters.inputs.fields import fill_nearest, fit
from m2ib_adapters.towers.patches import Patches

PREPARATION = DepthPreparation()
SMALL = DepthPreparation(size=(32, 32))


def room(rows: int = 480, columns: int = 640, seed: int = 0) -> np.ndarray:
    """(rows, columns) float64 metres: a slanted floor with a box, no holes."""
    depth = np.linspace(4.5, 1.2, rows)[:, None] + np.linspace(0, 0.5, columns)[None, :]
    depth[rows // 4 : rows // 2, columns // 3 : columns // 2] = 1.0
    return depth + np.random.default_rng(seed).normal(0, 0.01, depth.shape)


def naive(metres: np.ndarray, baseline: float = 0.075, focal: float = 518.857901) -> torch.Tensor:
    """The same once more, by torch: clip, disparity, clamp, resize, crop, scale, normalise."""
    disparity = torch.from_numpy(baseline * focal / np.minimum(np.maximum(metres, 0.01), 8.0))
    disparity = torch.minimum(disparity, torch.tensor(75.0, dtype=torch.float64))[None, None]
    rows, columns = metres.shape
    short = min(rows, columns)
    resized = (224 * rows // short, 224 * columns // short)
    small = interpolate(disparity, resized, mode="bilinear", antialias=True, align_corners=False)[0]
    top, left = round((resized[0] - 224) / 2), round((resized[1] - 224) / 2)
    return (small[:, top : top + 224, left : left + 224] / 75 - 0.0418) / 0.0295


@pytest.mark.parametrize("shape", [(480, 640), (640, 480), (224, 224), (150, 190)])
def test_equals_the_naive_pipeline(shape: tuple[int, int]) -> None:
    metres = room(*shape)
    item = PREPARATION.prepare(metres)
    assert isinstance(item.inputs, torch.Tensor)
    assert item.inputs.shape == (1, 224, 224)
    assert item.inputs.dtype == torch.float32
    torch.testing.assert_close(item.inputs.double(), naive(metres), rtol=1e-4, atol=1e-4)


@pytest.mark.filterwarnings("ignore:depth. the model's input is the same everywhere")
def test_a_wall_has_the_numbers_of_the_formula() -> None:
    for distance in (1.0, 2.0, 5.0):
        inputs = SMALL.prepare(np.full((40, 60), distance)).inputs
        expected = (0.075 * 518.857901 / distance / 75 - 0.0418) / 0.0295
        torch.testing.assert_close(inputs, torch.full((1, 32, 32), expected))


@pytest.mark.filterwarnings("ignore:depth. (100% of the pixels|the model)")
def test_near_and_far_are_clipped() -> None:
    def value(metres: float, **options: Any) -> float:
        return float(
            DepthPreparation(size=(32, 32), **options).prepare(np.full((32, 32), metres)).inputs.max()
        )

    assert value(8.0) == value(30.0) != value(7.9)
    assert value(0.05) == pytest.approx((1 - 0.0418) / 0.0295)  # 778 px, clamped to 75
    assert value(30.0, farthest=50) < value(8.0)
    assert value(2.0, max_disparity=None) == pytest.approx(
        (0.075 * 518.857901 / 2 - 0.0418) / 0.0295, rel=1e-6
    )


def test_files_of_every_kind_hold_the_same(tmp_path: Path) -> None:
    millimetres = np.round(room(48, 64) * 1000).astype(np.uint16)
    metres = millimetres / 1000
    Image.fromarray(millimetres).save(tmp_path / "mm.png")
    Image.fromarray(millimetres).save(tmp_path / "mm.tiff")
    Image.fromarray(metres.astype(np.float32)).save(tmp_path / "m.tiff")
    np.save(tmp_path / "m.npy", metres)
    np.save(tmp_path / "swapped.npy", metres.astype(">f4"))
    np.savez(tmp_path / "m.npz", depth=metres)
    rotated = (millimetres << 3) | (millimetres >> 13)
    Image.fromarray(rotated).save(tmp_path / "sun.png")
    raws: list[Any] = [
        tmp_path / name for name in ("mm.png", "mm.tiff", "m.tiff", "m.npy", "swapped.npy", "m.npz")
    ]
    raws += [
        str(tmp_path / "mm.png"),
        metres,
        metres[:, :, None],
        millimetres,
        millimetres.astype(np.int64),
        Image.fromarray(millimetres),
        Image.fromarray(metres.astype(np.float32)),
        {"depth": torch.from_numpy(metres)},
        {"depth": tmp_path / "sun.png", "unit": "sun-rgbd"},
        {"depth": 0.075 * 518.857901 / metres, "unit": "disparity"},
    ]
    expected = SMALL.prepare(metres).inputs
    for raw in raws:
        torch.testing.assert_close(SMALL.prepare(raw).inputs, expected, rtol=1e-5, atol=1e-5)


def test_sun_rgbd_bits_are_those_of_a_uint16() -> None:
    millimetres = np.arange(1, 40001, dtype=np.uint16).reshape(200, 200)
    rotated = ((millimetres.astype(np.uint32) << 3) % 65536 + millimetres // 8192).astype(np.uint16)
    item = DepthPreparation(farthest=50).prepare({"depth": rotated, "unit": "sun-rgbd"})
    np.testing.assert_allclose(item.view.values, millimetres / 1000, rtol=1e-6)
    assert item.origin["measured"] == [0.001, pytest.approx(20.0005), 40.0]


@pytest.mark.parametrize("sensor", SENSORS)
def test_sensors_and_explicit_numbers(sensor: str) -> None:
    metres = room(64, 80)
    baseline, focal = SENSORS[sensor]
    by_name = SMALL.prepare({"depth": metres, "sensor": sensor})
    by_number = SMALL.prepare({"depth": metres, "focal_length": focal, "baseline": baseline})
    torch.testing.assert_close(by_name.inputs, by_number.inputs)
    assert by_name.origin["camera"] == {
        "sensor": sensor,
        "baseline": baseline,
        "focal_length": focal,
        "assumed": False,
    }
    both = DepthPreparation(size=(32, 32), sensor=sensor, focal_length=100.0).prepare(metres)
    assert both.origin["camera"]["focal_length"] == 100.0
    assert both.origin["camera"]["baseline"] == baseline


def test_the_assumed_camera_is_recorded() -> None:
    origin = SMALL.prepare(room(64, 80)).origin
    assert origin["camera"] == {
        "sensor": "kinect-v1",
        "baseline": 0.075,
        "focal_length": 518.857901,
        "assumed": True,
    }
    assert origin["unit"] == "m"
    assert origin["unit_assumed"] is True
    assert origin["holes"] == 0
    assert origin["clipped_to"] == [0.01, 8.0]
    assert origin["max_disparity"] == 75.0


@pytest.mark.filterwarnings("ignore:depth. the model's input is the same everywhere")
def test_holes_take_no_part_and_large_ones_are_filled() -> None:
    metres = np.full((64, 64), 2.0)
    whole = SMALL.prepare(metres).inputs
    metres[::3, ::2] = 0  # next to every pixel of the model
    metres[5, 7] = np.nan
    metres[9, 9] = np.inf
    metres[20:50, 10:40] = 0  # larger than the model's pixels
    item = SMALL.prepare(metres)
    torch.testing.assert_close(item.inputs, whole)
    holes = ~np.isfinite(metres) | (metres == 0)
    assert item.origin["holes"] == pytest.approx(holes.mean())
    np.testing.assert_array_equal(np.isnan(item.view.values), holes)


@settings(max_examples=50)
@given(arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))), st.integers(0, 99))
def test_fill_nearest_is_the_nearest(known: np.ndarray, seed: int) -> None:
    if not known.any():
        known[0, -1] = True
    values = np.where(known, np.random.default_rng(seed).permutation(known.size).reshape(known.shape), np.nan)
    filled = fill_nearest(values)
    places = np.argwhere(known)
    for row, column in np.ndindex(*known.shape):
        apart = ((places - (row, column)) ** 2).sum(1)
        nearest = {values[tuple(place)] for place in places[apart == apart.min()]}
        assert filled[row, column] in nearest


@settings(max_examples=30)
@given(st.integers(20, 90), st.integers(20, 90), st.integers(0, 99))
def test_resized_values_lie_between_the_measured_ones(rows: int, columns: int, seed: int) -> None:
    chance = np.random.default_rng(seed)
    values = chance.uniform(1, 2, (rows, columns))
    values[chance.random((rows, columns)) < 0.3] = np.nan
    values[0, 0] = 1.5
    fitted, region = fit(values, (16, 16), Image.Resampling.BILINEAR, "depth")
    assert fitted.shape == (16, 16)
    measured = fitted[~np.isnan(fitted)]
    assert ((measured >= 1 - 1e-5) & (measured <= 2 + 1e-5)).all()
    short = min(rows, columns)
    assert region[2] - region[0] == pytest.approx(region[3] - region[1], rel=0.1)
    assert region[2] - region[0] <= short * 1.1


def test_the_view_is_in_metres_and_small() -> None:
    metres = room(1200, 2048)
    metres[:100, :100] = 0
    view = PREPARATION.prepare(metres).view
    assert view.values.shape == (600, 1024)
    assert view.values.dtype == np.float32
    assert (view.label, view.unit) == ("depth", "m")
    assert view.scale == (0.5, 0.5)
    assert np.isnan(view.values[:49, :49]).all()
    np.testing.assert_allclose(
        view.values[500], metres[1000:1002].reshape(2, 1024, 2).mean((0, 2)), rtol=0.02
    )
    left, top, right, bottom = view.region
    assert (top, bottom) == (0, 600)
    assert right - left == pytest.approx(600, abs=2)


@pytest.mark.filterwarnings("ignore:depth. the model's input is the same everywhere")
def test_disparity_is_shown_as_it_is_unless_the_camera_is_known() -> None:
    disparity = np.full((40, 40), 10.0)
    item = SMALL.prepare({"depth": disparity, "unit": "disparity"})
    assert (item.view.label, item.view.unit) == ("disparity", "px")
    np.testing.assert_array_equal(item.view.values, disparity)
    assert "camera" not in item.origin
    item = SMALL.prepare({"depth": disparity, "unit": "disparity", "focal_length": 400.0, "baseline": 0.1})
    assert (item.view.label, item.view.unit) == ("depth", "m")
    np.testing.assert_allclose(item.view.values, 4.0)


def test_layout_speaks_of_raw_pixels() -> None:
    layout = PREPARATION.prepare(room(448, 672)).layout
    assert layout.grid == (14, 14)
    assert layout.index == tuple(range(1, 197))
    rows, columns = layout.axes
    assert (rows.name, rows.unit, columns.name, columns.unit) == ("row", "px", "column", "px")
    assert rows.spans[0] == (0, 32)
    assert columns.spans[0] == (112, 144)
    assert columns.spans[-1] == (528, 560)


@settings(max_examples=20)
@given(st.integers(1, 5), st.integers(1, 5))
def test_describe_undoes_prepare(rows: int, columns: int) -> None:
    preparation = DepthPreparation(size=(16 * rows, 16 * columns))
    metres = np.random.default_rng(0).uniform(1, 5, (16 * rows, 16 * columns))
    item = preparation.describe(preparation.prepare(metres).inputs)
    assert item.layout.grid == (rows, columns)
    np.testing.assert_allclose(item.view.values, metres, rtol=1e-4)
    assert item.view.size == (16 * rows, 16 * columns)
    assert item.origin == {"source": "tensor", "input_size": [16 * rows, 16 * columns]}


def test_describe_shows_nothing_where_disparity_is_not_positive() -> None:
    inputs = torch.zeros(1, 16, 16)
    inputs[0, 0, 0] = -2  # below 0 px
    values = DepthPreparation().describe(inputs).view.values
    assert np.isnan(values[0, 0])
    assert values[1, 1] == pytest.approx(0.075 * 518.857901 / (0.0418 * 75))


@pytest.mark.parametrize(
    "tensor",
    [torch.zeros(16, 16), torch.zeros(3, 16, 16), torch.zeros(1, 16, 20), torch.zeros(1, 16, 16).long()],
)
def test_describe_refuses_other_tensors(tensor: torch.Tensor) -> None:
    message = (
        "depth: a preprocessed tensor has the shape (1, rows, columns), multiples of 16 and 16, and a "
        f"floating-point type, not {tuple(tensor.shape)} {tensor.dtype}"
    )
    with pytest.raises(InputError, match=re.escape(message)):
        PREPARATION.describe(tensor)


def test_options() -> None:
    made = DepthPreparation.of({"sensor": "kinect-v2", "unit": "m", "farthest": 20}, size=(32, 32))
    assert (made.sensor, made.unit, made.farthest, made.size) == ("kinect-v2", "m", 20, (32, 32))
    assert made.patches == Patches((16, 16), (16, 16))
    with pytest.raises(FrozenInstanceError):
        made.unit = "mm"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"camera": "x"},
            "depth: no option 'camera'; there are unit, scale, sensor, focal_length, baseline, page, nearest, farthest, "
            "max_disparity, mean, std",
        ),
        (
            {"unit": "cm"},
            "depth: unit is one of m, mm, sun-rgbd, disparity, tum, kitti, void, matterport, vkitti, scannet, not 'cm'",
        ),
        (
            {"sensor": "leica"},
            "depth: sensor 'leica' is not known; give one of kinect-v1, kinect-v2, realsense, xtion, or "
            "focal_length in pixels and baseline in metres",
        ),
        ({"scale": 0}, "depth: scale is a number > 0, not 0"),
        (
            {"scale": 5000, "unit": "mm"},
            "depth: unit='mm' and scale=5000 both say what raw values are; give one of them",
        ),
        ({"page": 1.5}, "depth: page is a whole number from 0 on, not 1.5"),
        ({"focal_length": 0}, "depth: focal_length is a number > 0, not 0"),
        ({"baseline": "7 cm"}, "depth: baseline is a number > 0, not '7 cm'"),
        ({"std": float("nan")}, "depth: std is a number > 0, not nan"),
        ({"mean": None}, "depth: mean is a number, not None"),
        ({"nearest": 9}, "depth: nearest=9 m is not before farthest=8 m"),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=f"^{re.escape(message)}$"):
        DepthPreparation.of(options)


_FLAT = np.full((20, 20), 2.0)
_SLOPE = np.linspace(1, 3, 400).reshape(20, 20)
_NEGATIVE = np.where(np.eye(20) > 0, -3.5, 2.0)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (3, "depth: cannot use a int; give a path, a PIL image or an array (H, W)"),
        (np.zeros((3, 4, 5, 6)), "depth: an array has the shape (H, W) or (H, W, 1), not (3, 4, 5, 6)"),
        (np.zeros((0, 5)), "depth: an array has the shape (H, W) or (H, W, 1), not (0, 5)"),
        (np.zeros((5, 5), bool), "depth: values are whole or floating-point numbers, not bool"),
        (
            np.ones((20, 20, 3)),
            "depth: a picture with 3 channels is not depth; give one value a pixel, as the camera or the depth "
            "estimator wrote it",
        ),
        (
            np.ones((20, 20), np.uint8),
            "depth: values of 8 bits are a picture of depth, not distances; give the file that the camera or the "
            "depth estimator wrote, or say their unit, e.g. unit='m' (options.depth.unit=m)",
        ),
        (
            _NEGATIVE,
            "depth: 20 of 400 values are negative, down to -3.5; distances are positive: turn the sign, mark "
            "holes by 0 or NaN",
        ),
        (_FLAT * 0, "depth: all values are 0, NaN or infinite: nothing was measured"),
        (_FLAT * np.nan, "depth: all values are 0, NaN or infinite: nothing was measured"),
        (
            {"depth": _FLAT, "unit": "sun-rgbd"},
            "depth: unit='sun-rgbd' is for whole numbers of 16 bits, not float64 from 2 to 2",
        ),
        (
            {"depth": _FLAT, "unit": "cm"},
            "depth: unit is one of m, mm, sun-rgbd, disparity, tum, kitti, void, matterport, vkitti, scannet, not 'cm'",
        ),
        (
            {"depth": _FLAT, "farthest": 3},
            "depth: no option 'farthest'; there are unit, scale, sensor, focal_length, baseline, page",
        ),
        ({"image": _FLAT}, "depth: a mapping needs the key 'depth'; it has 'image'"),
        ("nowhere/depth.npy", "depth 'nowhere/depth.npy' does not exist; check the path"),
        ("nowhere/depth.exr", "depth 'nowhere/depth.exr' does not exist; check the path"),
        ("nowhere/depth.png", "depth 'nowhere/depth.png' does not exist; check the path"),
    ],
)
def test_bad_input(raw: Any, message: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        SMALL.prepare(raw)


def test_bad_files(tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(b"not an array")
    (tmp_path / "a.npz").write_bytes(b"PK not an archive")
    np.save(tmp_path / "objects.npy", np.array([{}, None], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "objects.npz", np.array([{}, None], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "two.npz", depth=_FLAT, mask=_FLAT)
    (tmp_path / "pickle.npy").write_bytes(pickle.dumps(_FLAT))
    with ZipFile(tmp_path / "text.npz", "w") as archive:
        archive.writestr("depth.txt", "2.0 2.0")
    np.save(tmp_path / "cut.npy", _FLAT)
    (tmp_path / "cut.npy").write_bytes((tmp_path / "cut.npy").read_bytes()[:300])
    np.save(tmp_path / "four.npy", np.zeros((2, 2, 2, 2)))
    np.save(tmp_path / "flags.npy", _FLAT > 0)
    Image.fromarray((room() * 1000).astype(np.uint16)).save(tmp_path / "whole.png")
    (tmp_path / "half.png").write_bytes((tmp_path / "whole.png").read_bytes()[:20_000])
    for name in ("empty.npy", "empty.png", "empty.exr"):
        (tmp_path / name).touch()
    for name in ("folder.png", "folder.npy"):
        (tmp_path / name).mkdir()
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    for name, message in {
        "a.npy": "is not a numpy file; write it with numpy.save",
        "a.npz": "is damaged, or cut off",
        "text.npz": "is not a numpy file; write it with numpy.savez",
        "cut.npy": "is damaged, or cut off",
        "pickle.npy": "is not a numpy file; write it with numpy.save",
        "objects.npy": "holds Python objects, which may run code and are not opened; save plain numbers",
        "objects.npz": "holds Python objects, which may run code and are not opened; save plain numbers",
        "empty.npy": "is empty: the file holds 0 bytes",
        "empty.png": "is empty: the file holds 0 bytes",
        "empty.exr": "is empty: the file holds 0 bytes",
        "folder.png": "is a folder; name a file",
        "folder.npy": "is a folder; name a file",
        "half.png": "is damaged and cannot be decoded: ",
        "four.npy": "an array has the shape (H, W) or (H, W, 1), not (2, 2, 2, 2)",
        "flags.npy": "values are whole or floating-point numbers, not bool",
        "two.npz": "holds 2 arrays ('depth', 'mask'), not one; load the right one and give the array",
        "a.png": "is not in an image format that can be read",
    }.items():
        with pytest.raises(InputError) as caught:
            SMALL.prepare(tmp_path / name)
        said = str(caught.value)
        assert said.startswith(f"depth '{tmp_path / name}'")
        assert message in said
        assert "\n" not in said
        assert "allow_pickle" not in said


def test_exr_names_the_package_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.exr").write_bytes(b"v/1\x01")
    monkeypatch.setitem(__import__("sys").modules, "OpenEXR", None)
    with pytest.raises(
        InputError, match=r"a\.exr': reading \.exr files needs a package; run `pip install OpenEXR`$"
    ):
        SMALL.prepare(tmp_path / "a.exr")


def test_exr_files(tmp_path: Path) -> None:
    openexr = pytest.importorskip("OpenEXR")
    header = {"compression": openexr.ZIP_COMPRESSION, "type": openexr.scanlineimage}
    metres = room(40, 60).astype(np.float32)
    colours = np.stack([metres, metres, metres + 1], -1)
    openexr.File(header, {"Z": metres}).write(str(tmp_path / "z.exr"))
    openexr.File(header, {"RGB": np.stack([metres] * 3, -1)}).write(str(tmp_path / "grey.exr"))
    openexr.File(header, {"RGB": colours}).write(str(tmp_path / "rgb.exr"))
    for name in ("z.exr", "grey.exr"):
        assert torch.equal(SMALL.prepare(tmp_path / name).inputs, SMALL.prepare(metres).inputs)
    with pytest.raises(InputError, match="has the channels B, G, R and none is named Z, depth or Y"):
        SMALL.prepare(tmp_path / "rgb.exr")


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (
            room(64, 64) * 1000,
            r"read with unit='m', values run from 9\d\d to [\d.e+]+ m with the median at .* say unit='mm' "
            r"\(options\.depth\.unit=mm\)$",
        ),
        (
            np.full((20, 20), 3, np.uint16),
            r"read with unit='mm', .* at 0\.003 m; .*unit='m' \(options\.depth\.unit=m\)$",
        ),
        (
            np.pad(_SLOPE, ((0, 20), (0, 0))),
            None,
        ),
        (
            np.pad(_SLOPE, ((0, 21), (0, 0))),
            r"^depth: 51% of the pixels are holes \(0, NaN or infinite\); they are filled from their neighbours, "
            "so the map says little there$",
        ),
        (
            (np.arange(400, dtype=np.uint16) + 300).reshape(20, 20) * 8,
            r"all values are multiples of 8, as in SUN RGB-D's files with their rotated bits; if it is one, say "
            r"unit='sun-rgbd' \(options\.depth\.unit=sun-rgbd\), else unit='mm' \(options\.depth\.unit=mm\)$",
        ),
        ({"depth": (np.arange(400, dtype=np.uint16) + 300).reshape(20, 20) * 8, "unit": "mm"}, None),
    ],
)
def test_warnings(raw: Any, message: str | None) -> None:
    if message is None:
        SMALL.prepare(raw)
        return
    with pytest.warns(M2IBWarning, match=message):
        SMALL.prepare(raw)


# Whole numbers at other scales.


@pytest.mark.parametrize(
    ("unit", "scale"),
    [("tum", 5000), ("kitti", 256), ("void", 256), ("matterport", 4000), ("vkitti", 100), ("scannet", 1000)],
)
def test_scales_of_the_usual_data_sets(unit: str, scale: float) -> None:
    stored = np.round(room(48, 64) * scale).astype(np.uint16)
    expected = SMALL.prepare(stored / scale)
    for raw in ({"depth": stored, "unit": unit}, {"depth": stored, "scale": scale}):
        item = SMALL.prepare(raw)
        torch.testing.assert_close(item.inputs, expected.inputs)
        np.testing.assert_allclose(item.view.values, stored / scale, rtol=1e-6)
        assert (item.origin["per_metre"], item.origin["unit_assumed"]) == (scale, False)
    torch.testing.assert_close(
        DepthPreparation.of({"scale": scale}, size=(32, 32)).prepare(stored).inputs, expected.inputs
    )


DESK = np.linspace(0.73, 1.76, 4096).reshape(64, 64)  # metres
STREET = np.geomspace(4, 78, 4096).reshape(64, 64)


@pytest.mark.parametrize(
    ("metres", "scale", "runs"),
    [(DESK, 5000, "3.65 to 8.8 m"), (STREET, 256, "1.02 to 20 m"), (room(64, 64), 256, "0.2[45]. to 1.2. m")],
)
def test_an_unlikely_range_is_said(metres: np.ndarray, scale: float, runs: str) -> None:
    said = rf"^depth: read with unit='mm', values run from {runs}, which is unlikely of a depth camera; .*options.depth.scale"
    with pytest.warns(M2IBWarning, match=said):
        assert SMALL.prepare((metres * scale).astype(np.uint16)).origin["unit_assumed"] is True


@pytest.mark.parametrize(("step", "unit"), [(5, "tum"), (4, "matterport")])
def test_a_cameras_millimetres_in_another_scale_are_known_by_their_steps(step: int, unit: str) -> None:
    millimetres = np.arange(600, 856, dtype=np.uint16).reshape(16, 16)
    with pytest.warns(M2IBWarning, match=rf"all values are multiples of {step}, .* say unit='{unit}' "):
        SMALL.prepare(millimetres * step)
    SMALL.prepare(millimetres)


# What is shown is what the model saw.


def test_the_view_runs_over_what_the_model_saw() -> None:
    metres = room(64, 64)
    metres[:20] = 1e10  # a sky
    metres[40, 40] = 0.05
    item = SMALL.prepare(metres)
    assert item.view.limits == pytest.approx((0.075 * 518.857901 / 75, 8.0))
    assert item.view.values.max() == np.float32(1e10)
    disparity = SMALL.prepare({"depth": np.where(metres > 9, 500.0, 20 / metres), "unit": "disparity"})
    assert disparity.view.limits == pytest.approx((20 / metres[metres < 9].max(), 75.0))
    wide = np.concatenate(
        [np.full((32, 32), 7.0), np.linspace(1, 3, 1024).reshape(32, 32), np.full((32, 32), 0.6)], 1
    )
    assert SMALL.prepare(wide).view.limits == pytest.approx((1, 3))  # the crop alone


def test_a_crop_of_holes_only() -> None:
    metres = np.zeros((20, 90))
    metres[:, :24] = metres[:, -24:] = 2.0
    message = "^depth: all pixels in the model's centre crop are holes; crop the input to what was measured$"
    with pytest.raises(InputError, match=message):
        SMALL.prepare(metres)


# What the model cannot tell apart.


def said(preparation: DepthPreparation, raw: Any) -> str:
    with pytest.warns(M2IBWarning) as caught:
        preparation.prepare(raw)
    (warning,) = caught
    return str(warning.message)


def test_outdoor_depth_beyond_the_farthest_is_said(tmp_path: Path) -> None:
    np.save(tmp_path / "street.npy", np.linspace(15, 75, 4096).reshape(64, 64))
    assert said(SMALL, tmp_path / "street.npy") == (
        f"depth '{tmp_path}/street.npy': 100% of the pixels that the model sees are farther than farthest=8 m, and "
        "taken as just there, so the map says little about depth; if the unit is right (options.depth.unit), say "
        "farthest=75 (options.depth.farthest=75)"
    )
    far = DepthPreparation(size=(32, 32), farthest=75)
    inputs = far.prepare(tmp_path / "street.npy").inputs
    assert float(inputs.max() - inputs.min()) > 0.5


@pytest.mark.parametrize(("far", "warns"), [(0.49, False), (0.51, True)])
def test_half_of_the_pixels_may_lie_beyond(far: float, warns: bool) -> None:
    metres = np.where(np.linspace(0, 1, 4096).reshape(64, 64) < far, 20.0, 3.0)
    if warns:
        assert said(SMALL, metres).startswith(
            "depth: 51% of the pixels that the model sees are farther than "
        )
    else:
        SMALL.prepare(metres)


def test_only_what_the_model_sees_counts() -> None:
    metres = np.full((32, 96), 50.0)
    metres[:, 32:64] = np.linspace(1, 3, 1024).reshape(32, 32)
    SMALL.prepare(metres)
    metres[:, :32], metres[:, 32:64], metres[:, 64:] = 2, 50, 3
    assert said(SMALL, metres).startswith(
        "depth: 100% of the pixels that the model sees are farther than farthest=8"
    )


def test_millimetres_read_as_disparity_are_said() -> None:
    millimetres = (room(64, 64) * 1000).astype(np.uint16)
    assert said(SMALL, {"depth": millimetres, "unit": "disparity"}) == (
        "depth: 100% of the pixels that the model sees are above max_disparity=75 px, and taken as just there, so "
        "the map says little about depth; check the unit (options.depth.unit), or raise max_disparity "
        "(options.depth.max_disparity)"
    )


def test_what_is_too_near_is_said() -> None:
    near = np.linspace(0.2, 0.4, 1024).reshape(32, 32)
    assert said(SMALL, near) == (
        "depth: 100% of the pixels that the model sees are nearer than 0.519 m, where max_disparity=75 px ends, and "
        "taken as just there, so the map says little about depth; check unit and sensor (options.depth.unit, "
        "options.depth.sensor), or raise max_disparity (options.depth.max_disparity)"
    )
    assert "are nearer than nearest=1 m, " in said(DepthPreparation(size=(32, 32), nearest=1), near)


def test_a_wall_is_said() -> None:
    assert said(SMALL, _FLAT) == (
        "depth: the model's input is the same everywhere, so the map shows nothing about depth"
    )


def test_warnings_name_the_file(tmp_path: Path) -> None:
    for name, millimetres in {
        "holes.png": np.pad((_SLOPE * 1000).astype(np.uint16), ((0, 30), (0, 0))),
        "units.png": (_SLOPE * 2).astype(np.uint16),
        "rotated.png": np.arange(800, 1200, dtype=np.uint16).reshape(20, 20) * 8,
        "long.png": np.tile((_SLOPE * 1000).astype(np.uint16), (1, 6)),
    }.items():
        Image.fromarray(millimetres).save(tmp_path / name)
        assert said(SMALL, tmp_path / name).startswith(f"depth '{tmp_path / name}'")
        assert said(SMALL, {"depth": str(tmp_path / name)}).startswith(f"depth '{tmp_path / name}'")
    assert said(SMALL, tmp_path / "long.png").startswith(
        f"depth '{tmp_path}/long.png' of 120x20 pixels: the model's centre crop sees 1"
    )


def test_a_warning_is_kept_once() -> None:
    with collected_warnings() as kept, pytest.warns(M2IBWarning):
        SMALL.prepare(np.where(np.eye(20, 120) > 0, np.nan, np.tile(_SLOPE, (1, 6))))  # resized twice
    assert len(kept) == 1


def test_errors_of_options_name_the_file() -> None:
    message = "^depth 'room.png': unit is one of m, mm, sun-rgbd, disparity, tum, kitti, void, matterport, vkitti, scannet, not 'cm'$"
    with pytest.raises(InputError, match=message):
        SMALL.prepare({"depth": "room.png", "unit": "cm"})


def test_an_empty_path() -> None:
    with pytest.raises(InputError, match=r"^depth '' is empty; give a path$"):
        SMALL.prepare("")


def test_what_is_recorded_is_rounded() -> None:
    origin = SMALL.prepare(np.float32(_SLOPE + 0.206)).origin
    assert origin["measured"] == [1.206, 2.206, 3.206]
