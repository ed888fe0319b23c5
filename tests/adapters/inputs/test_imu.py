"""Inertial measurements: tables and arrays, time, units, resampling, and every way they can be wrong."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from m2ib.errors import InputError, M2IBWarning, SettingError
from m2ib_adapters.inputs.imu import ImuPreparation, resample
from m2ib_adapters.inputs.recordings import open_recording

PREPARATION = ImuPreparation()
TIMES = np.arange(2000) / 400
HEADER = ("time", "acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z")


def walk(times: np.ndarray) -> np.ndarray:
    """(6, T): steps at 2 Hz, gravity along z, a slow turn; a smooth function of time."""
    swing = np.sin(2 * np.pi * 2 * times)
    return np.stack(
        [swing, 0.5 * np.cos(2 * np.pi * times), 9.81 + 2 * swing, 0.3 * swing, 0 * times, 0.1 + 0.2 * swing]
    )


def write(path: Path, columns: dict[str, np.ndarray | list[str]], delimiter: str = ",") -> Path:
    rows = [
        delimiter.join(columns),
        *(delimiter.join(map(str, row)) for row in zip(*columns.values(), strict=True)),
    ]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def table(times: np.ndarray, samples: np.ndarray, names: tuple[str, ...] = HEADER) -> dict[str, Any]:
    return dict(zip(names, [times.tolist(), *samples.tolist()], strict=True))


def naive(times: np.ndarray, samples: np.ndarray, start: float = 0.0) -> np.ndarray:
    """Linear interpolation once more, point by point."""
    result = np.zeros((6, 2000))
    for n in range(2000):
        moment = start + n / 400
        after = int(np.sum(times <= moment))
        if after == len(times):
            result[:, n] = samples[:, -1]
            continue
        share = (moment - times[after - 1]) / (times[after] - times[after - 1])
        result[:, n] = (1 - share) * samples[:, after - 1] + share * samples[:, after]
    return result


def close(item_inputs: Any, expected: np.ndarray, atol: float = 1e-5) -> None:
    assert item_inputs.shape == (6, 2000)
    assert item_inputs.dtype == torch.float32
    np.testing.assert_allclose(item_inputs.numpy(), expected, rtol=1e-5, atol=atol)


def test_what_fits_stays_as_it_is() -> None:
    samples = walk(TIMES)
    for raw in (
        samples,
        samples.T,
        torch.from_numpy(samples),
        {"imu": samples},
        (samples, 400),
        [samples.T, 400.0],
        {"imu": samples, "rate": 400},
    ):
        close(PREPARATION.prepare(raw).inputs, samples)
    origin = PREPARATION.prepare(samples).origin
    assert origin["times"] == "assumed"
    assert origin["rate"] == 400
    assert origin["resampling"] == "linear"
    assert origin["padded_samples"] == 0
    assert PREPARATION.prepare((samples, 400)).origin["times"] == "by the rate"


@pytest.mark.parametrize("rate", [50.0, 198.7, 400.3, 450.0])
@pytest.mark.parametrize("start", [0.0, 1.23])
def test_linear_interpolation(rate: float, start: float) -> None:
    times = np.arange(int(rate * 7)) / rate
    samples = walk(times)
    item = PREPARATION.prepare({"imu": samples, "rate": rate, "start": start})
    close(item.inputs, naive(times, samples, start))
    assert item.origin["span"] == [start, start + 5]


@settings(max_examples=25)
@given(st.integers(0, 999), st.floats(0, 2))
def test_uneven_times(seed: int, start: float) -> None:
    chance = np.random.default_rng(seed)
    times = np.cumsum(chance.uniform(0.003, 0.012, 1200))
    times -= times[0]
    samples = walk(times)
    names = np.rec.fromarrays([times + 1e6, *samples], names=",".join(("time_s", *HEADER[1:])))
    if times[-1] < start + 5:
        return
    close(
        ImuPreparation(start=start).prepare(np.asarray(names)).inputs, naive(times, samples, start), atol=1e-4
    )


def test_fast_recordings_are_averaged_not_sampled() -> None:
    times = np.arange(25_600) / 5120
    samples = walk(times)
    hum = 3 * np.sin(2 * np.pi * 395 * times)  # sampled 400 times a second it would look like 5 Hz
    item = PREPARATION.prepare((samples + hum, 5120))
    assert item.origin["resampling"] == "mean over each step"
    np.testing.assert_allclose(item.inputs[:, 1:-1], walk(TIMES)[:, 1:-1], atol=0.06)
    sampled = np.stack([np.interp(TIMES, times, trace) for trace in samples + hum])
    assert np.abs(sampled - walk(TIMES)).max() > 2.9


@settings(max_examples=25)
@given(st.integers(0, 999), st.floats(1.3, 20))
def test_the_mean_is_the_area_over_the_step(seed: int, faster: float) -> None:
    chance = np.random.default_rng(seed)
    wanted = np.linspace(0.5, 2.5, 9)  # a step of .25
    times = np.arange(0, 4, 0.25 / faster)
    samples = chance.normal(size=(2, len(times)))
    result, method = resample(samples, times, wanted)
    assert method == "mean over each step"
    piece = np.diff(times)[0]
    for trace, row in enumerate(samples):
        area = np.concatenate([[0], np.cumsum([(a + b) / 2 * piece for a, b in pairwise(row)])])
        for n, moment in enumerate(wanted):
            begin, end = (np.interp(moment + side, times, area) for side in (-0.125, 0.125))
            assert result[trace, n] == pytest.approx((end - begin) / 0.25, abs=1e-9)
    constant, _ = resample(np.full((1, len(times)), 7.0), times, wanted)
    np.testing.assert_allclose(constant, 7.0)


@pytest.mark.parametrize(
    "names",
    [
        HEADER,
        ("timestamp", "AccX", "AccY", "AccZ", "GyroX", "GyroY", "GyroZ"),
        ("t", "ax", "ay", "az", "gx", "gy", "gz"),
        ("Time (s)", *(f"{sensor} {axis}" for sensor in ("Accelerometer", "Gyroscope") for axis in "XYZ")),
        ("ts", "accl_x", "accl_y", "accl_z", "gyr_x", "gyr_y", "gyr_z"),
        ("seconds_elapsed", "imu_acc_x", "imu_acc_y", "imu_acc_z", "imu_gyro_x", "imu_gyro_y", "imu_gyro_z"),
        (
            "time",
            *(f"{sensor}.{axis}" for sensor in ("linear_acceleration", "angular_velocity") for axis in "xyz"),
        ),
        ("time", "accel-x", "accel-y", "accel-z", "omega_x", "omega_y", "omega_z"),
    ],
)
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_tables_in_any_order(tmp_path: Path, names: tuple[str, ...], delimiter: str) -> None:
    times = np.arange(1100) / 200
    samples = walk(times)
    columns = table(times, samples, names)
    columns = {name: columns[name] for name in reversed(names)} | {
        "activity": ["walking"] * 1100,
        "mag_x": times,
    }
    item = PREPARATION.prepare(write(tmp_path / "walk.csv", columns, delimiter))
    close(item.inputs, naive(times, samples))
    assert item.origin["times"] == "recorded"
    assert item.origin["columns"] == list(names[1:])
    assert item.origin["rate"] == pytest.approx(200)
    assert len(item.origin["sha256"]) == 64


def test_ego4d(tmp_path: Path) -> None:
    times = 1000 * np.arange(1200) / 198
    names = ("canonical_timestamp_ms", "accl_x", "accl_y", "accl_z", "gyro_x", "gyro_y", "gyro_z")
    path = write(
        tmp_path / "ego.csv", {"component_idx": [0] * 1200, **table(times, walk(times / 1000), names)}
    )
    close(PREPARATION.prepare(path).inputs, naive(times / 1000, walk(times / 1000)))


@pytest.mark.parametrize("rate", [20.0, 200.0, 1600.0])
@pytest.mark.parametrize("per_second", [1, 1000, 1_000_000, 1_000_000_000])
def test_the_unit_of_time_is_the_plausible_one(tmp_path: Path, rate: float, per_second: int) -> None:
    times = np.arange(int(rate * 6)) / rate
    path = write(tmp_path / "a.csv", table((times + 3) * per_second, walk(times)))
    recording, _ = open_recording(path)
    assert recording.times is not None
    np.testing.assert_allclose(recording.times, times, atol=1e-9)


@pytest.mark.parametrize("name", ["time_ms", "time [ms]", "timestamp(ms)", "t_ms", "elapsed.ms"])
def test_the_unit_of_time_can_be_named(tmp_path: Path, name: str) -> None:
    times = np.arange(20) * 1.0  # 1 Hz, which would not be plausible
    path = write(tmp_path / "a.csv", table(1000 * times, walk(times), (name, *HEADER[1:])))
    recording, _ = open_recording(path)
    np.testing.assert_allclose(recording.times, times)


def test_rows_that_are_no_samples(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", table(TIMES, walk(TIMES)))
    path.write_text("\ufeff# a note\n\n" + path.read_text(encoding="utf-8") + "\n\n", encoding="utf-8")
    close(PREPARATION.prepare(path).inputs, walk(TIMES))


def test_units_convert() -> None:
    samples = walk(TIMES)
    foreign = np.concatenate([samples[:3] / 9.80665, np.degrees(samples[3:])])
    units = {"accelerometer_unit": "g", "gyroscope_unit": "deg/s"}
    item = PREPARATION.prepare({"imu": foreign, **units})
    close(item.inputs, samples)
    close(ImuPreparation.of(units).prepare(foreign).inputs, samples)
    assert item.view.units == ("g",) * 3 + ("deg/s",) * 3
    np.testing.assert_allclose(item.view.samples, foreign, rtol=1e-6)  # as measured


@pytest.mark.parametrize(
    ("accelerometer", "gyroscope"),
    [
        ("acc_{} [g]", "gyr_{}_deg"),
        ("acc_{}_g", "gyro_{} (deg/s)"),
        ("a{} (g)", "g{} (°/s)"),
        ("Acc{} [g]", "Gyr{}_dps"),
    ],
)
def test_units_in_the_names(tmp_path: Path, accelerometer: str, gyroscope: str) -> None:
    samples = walk(TIMES)
    names = (
        "time",
        *(accelerometer.format(axis) for axis in "xyz"),
        *(gyroscope.format(axis) for axis in "xyz"),
    )
    foreign = np.concatenate([samples[:3] / 9.80665, np.degrees(samples[3:])])
    item = PREPARATION.prepare(write(tmp_path / "a.csv", table(TIMES, foreign, names)))
    close(item.inputs, samples)
    assert (item.origin["accelerometer_unit"], item.origin["gyroscope_unit"]) == ("g", "deg/s")


def test_short_recordings_are_filled_with_zeros_and_said() -> None:
    times = np.arange(600) / 200  # 3 s
    with pytest.warns(
        M2IBWarning,
        match="^imu: the recording ends 2 s before the 5 s that the model sees; zeros stand there, so the map says "
        "little there$",
    ):
        item = PREPARATION.prepare((walk(times), 200))
    assert isinstance(item.inputs, torch.Tensor)
    np.testing.assert_allclose(item.inputs[:, :1200], naive(times, walk(times))[:, :1200], atol=1e-5)
    assert not item.inputs[:, 1200:].any()
    assert item.origin["padded_samples"] == 800


def test_a_recording_of_exactly_five_seconds_needs_no_filling(tmp_path: Path) -> None:
    for rate in (100, 200, 333):
        times = np.arange(5 * rate) / rate
        item = PREPARATION.prepare(write(tmp_path / "a.csv", table(times, walk(times))))
        assert item.origin["padded_samples"] == 0


def test_layout_and_view() -> None:
    times = np.arange(12_000) / 400  # 30 s
    item = PREPARATION.prepare({"imu": walk(times), "rate": 400, "start": 10.0})
    layout = item.layout
    assert layout.grid == (250,)
    assert layout.index == tuple(range(1, 251))
    (axis,) = layout.axes
    assert (axis.name, axis.unit) == ("time", "s")
    assert axis.spans[0] == pytest.approx((10.0, 10.02))
    assert axis.spans[-1] == pytest.approx((14.98, 15.0))
    view = item.view
    assert view.names == tuple(
        f"{sensor} {axis}" for sensor in ("accelerometer", "gyroscope") for axis in "xyz"
    )
    assert view.units == ("m/s²",) * 3 + ("rad/s",) * 3
    assert view.span == (10.0, 15.0)
    assert view.size == 2000
    assert view.samples.dtype == np.float32
    assert (view.times[0], view.times[-1]) == pytest.approx(
        (5.0, 19.9975)
    )  # the model's part and its neighbours
    np.testing.assert_allclose(view.samples, walk(view.times), rtol=1e-5, atol=1e-5)


def test_a_fast_view_is_thinned() -> None:
    times = np.arange(50_000) / 10_000
    view = PREPARATION.prepare((walk(times), 10_000)).view
    assert view.samples.shape == (6, 10_000)
    assert view.times[1] == pytest.approx(0.0005)


def test_describe() -> None:
    inputs = torch.randn(6, 2000)
    item = ImuPreparation(start=3.0).describe(inputs)
    assert item.inputs is inputs
    assert item.layout.grid == (250,)
    assert item.view.span == (0.0, 5.0)
    np.testing.assert_array_equal(item.view.samples, inputs.numpy())
    assert item.origin == {"source": "tensor", "input_size": [6, 2000]}
    for wrong in (torch.zeros(2000, 6), torch.zeros(6, 1000), torch.zeros(6, 2000, dtype=torch.int64)):
        message = (
            "imu: a preprocessed tensor has the shape (6, 2000) and a floating-point type, not "
            f"{tuple(wrong.shape)} {wrong.dtype}"
        )
        with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
            PREPARATION.describe(wrong)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hz": 9}, "imu: no option 'hz'; there are rate, start, accelerometer_unit, gyroscope_unit"),
        ({"rate": -1}, "imu: rate is a number > 0, not -1"),
        ({"start": -1}, "imu: start is a number of seconds, 0 or more, not -1"),
        ({"accelerometer_unit": "ft"}, "imu: accelerometer_unit is one of m/s2, g, mg, not 'ft'"),
        ({"gyroscope_unit": "rpm"}, "imu: gyroscope_unit is one of rad/s, deg/s, mdeg/s, not 'rpm'"),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=f"^{re.escape(message)}$"):
        ImuPreparation.of(options)


_WALK = walk(TIMES)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (
            7,
            "imu: cannot use a int; give a .csv or .npy file, an array (6, T), or (array, rate)",
        ),
        (
            _WALK[:5],
            "imu: an array has the shape (6, T) or (T, 6), accelerometer x y z and gyroscope x y z, not (5, 2000)",
        ),
        (
            np.zeros((6, 0)),
            "imu: an array has the shape (6, T) or (T, 6), accelerometer x y z and gyroscope x y z, not (6, 0)",
        ),
        (
            np.zeros((6, 6)),
            "imu: in an array (6, 6) nothing says which axis is time; give more samples",
        ),
        (np.zeros((6, 9), bool), "imu: samples are whole or floating-point numbers, not bool"),
        (np.zeros((6, 1)), "imu: 1 sample is no movement; give at least two"),
        ((_WALK, -5), "imu: rate is a number > 0, not -5"),
        ({"array": _WALK}, "imu: a mapping needs the key 'imu'; it has 'array'"),
        (__file__, f"imu {__file__!r}: cannot read .py; give a .csv or .npy file"),
        (str(Path(__file__).parent), f"imu {str(Path(__file__).parent)!r} is a folder; name a file"),
        ("", "imu '' is empty; give a path"),
        (
            {"imu": "walk.csv", "hz": 9},
            "imu 'walk.csv': no option 'hz'; there are rate, start, accelerometer_unit, gyroscope_unit",
        ),
        ("nowhere.csv", "imu 'nowhere.csv' does not exist; check the path"),
        ("nowhere.npy", "imu 'nowhere.npy' does not exist; check the path"),
        (
            {"imu": _WALK, "rate": 400, "start": 60},
            "imu: start=60 s is not within the recording, which ends at 4.997 s",
        ),
        (
            np.where(np.arange(12_000).reshape(6, 2000) % 2000 == 4, np.nan, 1.0),
            "imu: empty, NaN or infinite samples in accelerometer x (1), accelerometer y (1), accelerometer z (1), "
            "gyroscope x (1), gyroscope y (1), gyroscope z (1); fill them, or remove their rows",
        ),
        (
            np.zeros(9, [("acc_x", "U3"), ("acc_y", float)]),
            "imu: the field 'acc_x' is not one number a sample but <U3",
        ),
    ],
)
def test_bad_input(raw: Any, message: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        PREPARATION.prepare(raw)


def _without(name: str) -> dict[str, Any]:
    return {key: value for key, value in table(TIMES[:9], _WALK[:, :9]).items() if key != name}


def _with(name: str, values: list[Any]) -> dict[str, Any]:
    return table(TIMES[:9], _WALK[:, :9]) | {name: values}


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            _without("gyro_y"),
            "no column for gyroscope y among 'time', 'acc_x', 'acc_y', 'acc_z', 'gyro_x', 'gyro_z'; name the columns "
            "acc_x, acc_y, acc_z, gyro_x, gyro_y, gyro_z",
        ),
        (
            _with("accel_x", [1] * 9),
            "both 'acc_x' and 'accel_x' can be the accelerometer x; remove or rename one",
        ),
        (_with("timestamp", [1] * 9), "'time', 'timestamp' can all be the time; keep one of them"),
        (
            _with("acc_z", [1, 2, "high", *range(6)]),
            ", row 4, column 'acc_z': 'high' is not a number; repair or remove the row",
        ),
        (
            _with("acc_z", [1, 2, "", "nan", *range(5)]),
            "a.csv': empty, NaN or infinite samples in acc_z (2); fill them, or remove their rows",
        ),
        (
            _with("time", [0, "", 2, 3, 4, 5, 6, 7, 8]),
            "empty, NaN or infinite cells in the column 'time' (1); repair or remove these rows",
        ),
        (
            _with("time", [0, 0.01, 0.02, 0.015, 0.03, 0.04, 0.05, 0.05, 0.06]),
            "a.csv': the time in the column 'time' does not rise from sample 3 (0.02) to sample 4 (0.015), and 2 times "
            "in all; sort and repair the samples, or say their rate, e.g. rate=200 (options.imu.rate=200)",
        ),
        (
            _with("time", [0, 0.01, 0.02, 0.03, 0.03, 0.04, 0.05, 0.06, 0.07]),
            "a.csv': the time in the column 'time' does not rise from sample 4 (0.03) to sample 5 (0.03); sort and "
            "repair the samples, or say their rate, e.g. rate=200 (options.imu.rate=200)",
        ),
        (
            _with("time", [1700000000] * 9),
            "a.csv': the time in the column 'time' does not rise from sample 1 (0) to sample 2 (0), and 8 times in all; "
            "sort and repair the samples, or say their rate, e.g. rate=200 (options.imu.rate=200)",
        ),
        (
            _with("acc_z", [1, '"0,113037"', *range(7)]),
            "a.csv', row 3, column 'acc_z': '0,113037' has a decimal comma; save it with decimal points",
        ),
        (
            _with("acc_z", [f"{n},5" for n in range(9)]),
            "a.csv', row 2: 8 cells under 7 columns; save numbers with decimal points, not commas",
        ),
        (
            _with("time", [0.15 * n for n in range(9)]),
            "the unit of the column 'time' is not clear from its median step of 0.15; call it time_s, time_ms, "
            "time_us or time_ns",
        ),
        (
            {name: [1] * 9 for name in ("ax (g)", "ay (g)", "az", "gx", "gy", "gz")},
            "the names of the accelerometer's columns say different units: g, none",
        ),
    ],
)
def test_bad_tables(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    path = write(tmp_path / "a.csv", columns)
    with pytest.raises(InputError, match=f"{re.escape(message)}$"):
        PREPARATION.prepare(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty: the file holds 0 bytes"),
        ("\n", "holds 0 rows; a header and one row a sample are needed"),
        (
            "ax;ay;az;gx;gy;gz\n1;2;3;4;5;0,113037\n",
            ", row 2, column 'gz': '0,113037' has a decimal comma; save it with decimal points",
        ),
        ("time,ax\n", "holds 1 rows; a header and one row a sample are needed"),
        (
            "1,2,3,4,5,6\n1,2,3,4,5,6\n",
            "has no header; its first row must name the columns, e.g. time,acc_x,acc_y,acc_z,gyro_x,gyro_y,gyro_z",
        ),
        ("ax,ay,az,gx,gy,gz\n1,2,3,4,5,6\n1,2,3\n", ", row 3: 3 cells under 6 columns; repair the file"),
    ],
)
def test_bad_text(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.csv").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=f"{re.escape(message)}$"):
        PREPARATION.prepare(tmp_path / "a.csv")


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(InputError, match=r"a\.csv' cannot be read as text: 'utf-8' codec"):
        PREPARATION.prepare(tmp_path / "a.csv")


@pytest.mark.parametrize("lost", [0.1, 0.4, 0.6])
def test_gaps(tmp_path: Path, lost: float) -> None:
    times = np.arange(1100) / 200
    times = times[(times <= 2) | (times > 2 + lost - 0.005 + 1e-9)]
    path = write(tmp_path / "a.csv", table(times, walk(times)))
    if lost > 0.5:
        message = (
            f"imu {str(path)!r}: nothing was recorded for 0.6 s from 2 s on, more than the 0.5 s that can be "
        )
        message += "bridged; no other start has 5 s behind it; give a longer recording"
        with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
            PREPARATION.prepare(path)
        return
    message = f"imu {str(path)!r}: gaps in time (1), the longest of {lost:g} s from 2 s on; bridged by straight lines"
    with pytest.warns(M2IBWarning, match=f"^{re.escape(message)}$"):
        item = PREPARATION.prepare(path)
    close(item.inputs, naive(times, walk(times)))
    assert item.origin["gaps"] == 1
    assert item.origin["longest_gap"] == [2.0, pytest.approx(lost)]


def test_gaps_and_holes_outside_the_part_that_is_seen_do_not_matter() -> None:
    times = np.concatenate([np.arange(1100) / 200, 60 + np.arange(100) / 200])
    samples = walk(times)
    samples[:, -1] = np.nan
    recording = np.rec.fromarrays([times, *samples], names=",".join(HEADER))
    close(PREPARATION.prepare(np.asarray(recording)).inputs, naive(times, samples))


def broken(*parts: tuple[float, float]) -> np.ndarray:
    """Records of a walk at 200 Hz during these (start, end), with a sample at each start."""
    times = np.concatenate([start + np.arange(round((end - start) * 200)) / 200 for start, end in parts])
    return np.asarray(np.rec.fromarrays([times, *walk(times)], names=",".join(("time_s", *HEADER[1:]))))


@pytest.mark.parametrize("start", [60.0, 59.9, 59.6])
def test_a_start_after_a_gap_is_not_refused_for_it(start: float) -> None:
    """Recorded from 60.003 s on: what lies before the start does not matter, some tenths after it are bridged."""
    recorded = broken((0, 2), (60.003, 66))
    if start == 60.0:
        item = PREPARATION.prepare({"imu": recorded, "start": start})
        assert item.origin["gaps"] == 0
    else:
        with pytest.warns(
            M2IBWarning, match=rf"^imu: gaps in time \(1\), the longest of 0\.[14]03 s from {start} s on"
        ):
            item = PREPARATION.prepare({"imu": recorded, "start": start})
        assert item.origin["longest_gap"] == [start, pytest.approx(60.003 - start)]
    near = TIMES >= 0.5
    np.testing.assert_allclose(item.inputs[:, near], walk(start + TIMES)[:, near], atol=0.01)


def test_a_gap_behind_the_end_does_not_matter() -> None:
    item = PREPARATION.prepare(broken((0, 5.0), (90, 91)))
    assert item.origin["gaps"] == 0
    assert item.origin["padded_samples"] == 0


def test_a_start_that_works_is_named() -> None:
    recorded = broken((0, 2), (4, 6), (10.5, 17))
    message = (
        "imu: nothing was recorded for 2 s from 1.995 s on, more than the 0.5 s that can be bridged; say start=10.5 "
        "(options.imu.start=10.5)"
    )
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        PREPARATION.prepare(recorded)
    assert PREPARATION.prepare({"imu": recorded, "start": 10.5}).origin["gaps"] == 0


def test_a_rate_stands_in_for_times_that_do_not_rise(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", table(np.zeros(2000), walk(TIMES)))
    item = PREPARATION.prepare({"imu": path, "rate": 400})
    close(item.inputs, walk(TIMES))
    assert item.origin["times"] == "by the rate"


def test_what_is_recorded_is_rounded(tmp_path: Path) -> None:
    times = np.arange(1200) / 200 + 1e-12 * np.arange(1200) ** 1.5
    item = ImuPreparation(start=0.1 + 0.2).prepare(write(tmp_path / "a.csv", table(times, walk(times))))
    assert item.origin["rate"] == 200
    assert item.origin["span"] == [0.3, 5.3]


def test_messages_name_the_file(tmp_path: Path) -> None:
    times = np.arange(600) / 200
    path = write(tmp_path / "a.csv", table(times, 200 * walk(times)))
    with pytest.warns(M2IBWarning) as caught:
        PREPARATION.prepare(path)
    assert [str(each.message).split(":")[0] for each in caught] == [f"imu {str(path)!r}"] * 3
    for raw, message in {
        "start": (
            {"imu": path, "start": 60},
            "start=60 s is not within the recording, which ends at 2.995 s",
        ),
        "short": (write(tmp_path / "one.csv", table(times[:1], walk(times[:1]))), "1 sample is no movement"),
    }.values():
        with pytest.raises(InputError, match=rf"^imu '{tmp_path}/(a|one)\.csv': {message}"):
            PREPARATION.prepare(raw)


def test_acceleration_without_gravity_is_said_even_where_the_columns_name_a_unit(tmp_path: Path) -> None:
    names = (
        '"Time (s)"',
        *(f'"Linear Acceleration {axis} (m/s^2)"' for axis in "xyz"),
        *(f'"Gyroscope {axis} (rad/s)"' for axis in "xyz"),
    )  # as phyphox writes them
    samples = walk(TIMES)
    path = write(tmp_path / "phyphox.csv", table(TIMES, samples, names))
    close(PREPARATION.prepare(path).inputs, samples)
    moving = samples - np.array([[0], [0], [9.81], [0], [0], [0]])
    write(path, table(TIMES, moving, names))
    message = (
        r"phyphox\.csv': the acceleration's median length is [\d.]+ m/s², where gravity alone is 9\.81; "
    )
    with pytest.warns(M2IBWarning, match=message):
        close(PREPARATION.prepare(path).inputs, moving)
    close(PREPARATION.prepare({"imu": path, "accelerometer_unit": "m/s2"}).inputs, moving)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (
            walk(TIMES) / np.array([[9.80665]] * 3 + [[1]] * 3),
            "imu: the acceleration's median length is 1 m/s², where gravity alone is 9.81; if it is in g, say "
            "accelerometer_unit='g' (options.imu.accelerometer_unit=g); if gravity was taken out, put it back, or say "
            "accelerometer_unit='m/s2'",
        ),
        (
            walk(TIMES) * np.array([[1]] * 3 + [[500]] * 3),
            "imu: the gyroscope's values reach 150, read as rad/s where 35 is the most that sensors measure; if they "
            "are in degrees, say gyroscope_unit='deg/s' (options.imu.gyroscope_unit=deg/s), else gyroscope_unit='rad/s'",
        ),
    ],
)
def test_implausible_units(samples: np.ndarray, message: str) -> None:
    with pytest.warns(M2IBWarning, match=f"^{re.escape(message)}$"):
        PREPARATION.prepare(samples)
    said = {"imu": samples, "accelerometer_unit": "m/s2", "gyroscope_unit": "rad/s"}
    close(PREPARATION.prepare(said).inputs, samples)  # no warning: the user said so


def test_an_assumed_span_is_said() -> None:
    times = np.arange(900) / 180
    message = (
        "imu: without times or a rate, 900 samples are taken to span 5 s, 180 a second; if that is wrong, say "
        "their rate, e.g. rate=200 (options.imu.rate=200)"
    )
    with pytest.warns(M2IBWarning, match=f"^{re.escape(message)}$"):
        item = PREPARATION.prepare(walk(times))
    close(item.inputs, naive(times, walk(times)))


def test_numpy_files(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", _WALK.T)
    np.savez(tmp_path / "a.npz", imu=_WALK)
    named = np.zeros(2000, [(name, "f8") for name in HEADER])
    for name, values in zip(HEADER, [TIMES, *_WALK], strict=True):
        named[name] = values
    np.save(tmp_path / "named.npy", named)
    for name in ("a.npy", "a.npz", "named.npy"):
        close(PREPARATION.prepare(tmp_path / name).inputs, _WALK)
    assert PREPARATION.prepare(tmp_path / "named.npy").origin["times"] == "recorded"
