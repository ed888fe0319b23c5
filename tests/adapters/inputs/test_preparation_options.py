"""Options of all preparations, and raw inputs at the edge of what they take."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from m2ib.errors import InputError, SettingError
from m2ib_adapters.inputs.audio import AudioPreparation
from m2ib_adapters.inputs.depth import DepthPreparation
from m2ib_adapters.inputs.imu import ImuPreparation
from m2ib_adapters.inputs.thermal import ThermalPreparation
from m2ib_adapters.inputs.video import VideoPreparation
from m2ib_adapters.towers.patches import Patches


@pytest.mark.parametrize(
    ("preparation", "options", "message"),
    [
        (DepthPreparation, {"nearest": None}, "depth: nearest is a number > 0, not None"),
        (DepthPreparation, {"std": None}, "depth: std is a number > 0, not None"),
        (DepthPreparation, {"sensor": ["xtion"]}, r"depth: sensor \['xtion'\] is not known"),
        (ThermalPreparation, {"std": None}, "thermal: std is a number > 0, not None"),
        (AudioPreparation, {"std": None}, "audio: std is a number > 0, not None"),
        (VideoPreparation, {"seconds": None}, "video: seconds is a number > 0, not None"),
        (ImuPreparation, {"gyroscope_unit": ["deg/s"]}, r"imu: gyroscope_unit is one of .* not \['deg/s'\]"),
    ],
)
def test_values_that_are_none_or_lists(preparation: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        preparation.of(options)


@pytest.mark.parametrize(
    ("preparation", "options", "message"),
    [
        (AudioPreparation, {"clips": 0}, "audio: clips is a whole number > 0, not 0"),
        (AudioPreparation, {"clips": True}, "audio: clips is a whole number > 0, not True"),
        (
            AudioPreparation,
            {"seconds": 10},
            "audio: seconds=10 is more than the 2.055 s that the model's 204 frames hold; give 2.055 or less",
        ),
        (AudioPreparation, {"seconds": 0.02}, "audio: seconds is a number, 0.025 or more, not 0.02"),
        (AudioPreparation, {"mean": "loud"}, "audio: mean is a number, not 'loud'"),
        (AudioPreparation, {"std": 0}, "audio: std is a number > 0, not 0"),
        (AudioPreparation, {"rate": 8000}, "audio: no option 'rate'; there are clips, seconds, mean, std"),
        (VideoPreparation, {"crops": 2}, "video: crops is 1 or 3, not 2"),
        (VideoPreparation, {"clips": 0}, "video: clips is a whole number > 0, not 0"),
        (VideoPreparation, {"clips": 2.0}, "video: clips is a whole number > 0, not 2.0"),
        (VideoPreparation, {"seconds": -1}, "video: seconds is a number > 0, not -1"),
        (VideoPreparation, {"frames": 4}, "video: no option 'frames'; there are clips, seconds, crops"),
    ],
)
def test_options_that_cannot_be(preparation: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError) as caught:
        preparation.of(options)
    assert str(caught.value) == message


def test_numbers_may_be_numpys() -> None:
    walk = np.random.default_rng(0).normal(0, 1, (6, 1000)) + np.array([0, 0, 9.81, 0, 0, 0])[:, None]
    item = ImuPreparation().prepare((walk, np.int64(200)))
    assert item.origin["rate"] == 200
    AudioPreparation.of({"clips": np.int64(2), "seconds": np.float32(1.5)})


def test_a_start_at_the_last_sample_is_refused() -> None:
    walk = np.random.default_rng(0).normal(0, 1, (6, 1000)) + np.array([0, 0, 9.81, 0, 0, 0])[:, None]
    with pytest.raises(InputError, match=r"imu: start=4.996 s leaves one sample, which is no movement"):
        ImuPreparation.of({"rate": 200, "start": 4.996}).prepare(walk)


def test_a_cell_may_hold_a_line_break(tmp_path: Path) -> None:
    path = tmp_path / "walk.csv"
    rows = [f'{n / 400},0,0,9.81,0,0,0,"one\ntwo"' for n in range(2000)]
    header = "time,acc_x,acc_y,acc_z,gyro_x,gyro_y,gyro_z,note"
    path.write_text("\n".join([header, *rows]), encoding="utf-8")
    item = ImuPreparation().prepare(path)
    assert isinstance(item.inputs, torch.Tensor)
    np.testing.assert_allclose(item.inputs[2], 9.81, rtol=1e-6)


def test_a_cell_without_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "walk.csv"
    path.write_text("time,acc_x\n0," + "1" * 200_000, encoding="utf-8")
    before = csv.field_size_limit(131_072)  # Python's own; reading pairs raises it for the process
    try:
        with pytest.raises(InputError, match="cannot be read as a table: field larger than field limit"):
            ImuPreparation().prepare(path)
    finally:
        csv.field_size_limit(before)


def test_tensors_of_halves_can_be_raw_inputs() -> None:
    metres = torch.linspace(1, 4, 64 * 64).reshape(64, 64)
    halves = DepthPreparation().prepare({"depth": metres.bfloat16()}).inputs
    floats = DepthPreparation().prepare({"depth": metres.bfloat16().float()}).inputs
    assert isinstance(halves, torch.Tensor)
    assert isinstance(floats, torch.Tensor)
    assert torch.equal(halves, floats)
    walk = torch.randn(6, 2000, generator=torch.Generator().manual_seed(0)).bfloat16()
    walk[2] += 9.81
    ImuPreparation().prepare({"imu": walk})


@pytest.mark.parametrize("preparation", [DepthPreparation, ThermalPreparation])
def test_axes_end_where_the_last_whole_patch_ends(preparation: Any) -> None:
    made = preparation(patches=Patches((60, 60), (60, 60)))
    item = made.prepare(np.random.default_rng(0).uniform(0.7, 0.9, (448, 448)).astype(np.float32))
    assert item.layout.grid == (3, 3)
    for axis in item.layout.axes:  # two raw pixels for each of the model's
        np.testing.assert_allclose(axis.spans, [(0, 120), (120, 240), (240, 360)])


def test_rows_and_columns_of_several_crops_are_those_of_the_crop() -> None:
    frames = np.random.default_rng(0).integers(0, 255, (20, 60, 90, 3), dtype=np.uint8)
    three = VideoPreparation.of({"clips": 1}).prepare((frames, 8)).layout.axes
    one = VideoPreparation.of({"clips": 1, "crops": 1}).prepare((frames, 8)).layout.axes
    assert [axis.unit for axis in three] == ["s", "px of the crop", "px of the crop"]
    assert [axis.unit for axis in one] == ["s", "px", "px"]
