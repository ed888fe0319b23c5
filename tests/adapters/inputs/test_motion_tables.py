"""Tables of motion as programs write them: the same motion in every flavour is the same input."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from m2ib.errors import InputError, M2IBWarning
from m2ib_adapters.inputs.imu import ImuPreparation

RATE = 100
TIMES = np.arange(6 * RATE) / RATE
SWING = np.sin(2 * np.pi * 2 * TIMES)
ACC = np.stack([SWING, 0.5 * np.cos(2 * np.pi * TIMES), 9.81 + SWING])  # (3, T) m/s²
GYR = np.stack([0.3 * SWING, 0.05 + 0 * TIMES, 0.1 + 0.2 * SWING])  # (3, T) rad/s
G, DEG = 9.80665, 180 / np.pi
PREPARATION = ImuPreparation()
EXPECTED = PREPARATION.prepare((np.concatenate([ACC, GYR]), RATE)).inputs

Columns = dict[str, Any]


def three(form: str, values: np.ndarray, axes: str | tuple[str, ...] = "xyz") -> Columns:
    return {form.format(axis): row for axis, row in zip(axes, values, strict=True)}


def text(
    columns: Columns, delimiter: str = ",", before: str = "", units: list[str] | None = None, end: str = ""
) -> str:
    rows = [delimiter.join(columns) + end]
    if units:
        rows.append(delimiter.join(units) + end)
    cells = [
        [value if isinstance(value, str) else repr(float(value)) for value in column]
        for column in columns.values()
    ]
    rows += [delimiter.join(row) + end for row in zip(*cells, strict=True)]
    return before + "\n".join(rows) + "\n"


def clock(seconds: float, form: str = "{:02d}:{:02d}:{:02d}.{:03d}") -> str:
    whole = round(seconds * 1000)
    return form.format(whole // 3_600_000 % 24, whole // 60_000 % 60, whole // 1000 % 60, whole % 1000)


def ego4d() -> str:
    parts = np.concatenate([TIMES[:300] * 1000, TIMES[300:] * 1000 - 3000])  # of a video of two parts
    columns: Columns = {
        "component_idx": 1.0 * (TIMES >= 3),
        "component_timestamp_ms": parts,
        "canonical_timestamp_ms": TIMES * 1000,
    }
    return text(columns | three("gyro_{}", GYR) | three("accl_{}", ACC))


def euroc() -> str:
    columns: Columns = {
        "#timestamp [ns]": [f"{1403636579758555392 + round(moment * 1e9)}" for moment in TIMES]
    }
    return text(columns | three("w_RS_S_{} [rad s^-1]", GYR) | three("a_RS_S_{} [m s^-2]", ACC))


def xsens(ticks: float, wrapping: bool = False) -> str:
    fine = (2**32 - 1000 * ticks if wrapping else 5000) + TIMES * 1e4 * ticks
    columns: Columns = {"PacketCounter": np.arange(len(TIMES)) + 3583, "SampleTimeFine": fine % 2**32}
    columns |= (
        three("Acc_{}", ACC, "XYZ") | three("FreeAcc_{}", ACC - 9.81, "XYZ") | three("Gyr_{}", GYR, "XYZ")
    )
    columns |= three("Mag_{}", ACC, "XYZ") | {"Roll": TIMES, "Pitch": TIMES, "Yaw": TIMES}
    return text(
        columns, "\t", "// Start Time: Unknown\n// Update Rate: 100.0Hz\n// Filter Profile: human (46.1)\n"
    )


def xsens_without_times() -> str:
    columns: Columns = {"PacketCounter": np.arange(len(TIMES)), "SampleTimeFine": [""] * len(TIMES)}
    columns |= three("Acc_{}", ACC, "XYZ") | three("Gyr_{}", GYR, "XYZ") | {"Mat[1][1]": TIMES}
    return text(columns, "\t", "// Start Time: Unknown\n// Update Rate: 100.0Hz\n")


def shimmer(both: bool = False, formatted: bool = False) -> str:
    times = (
        [f"2020/07/28 {clock(43200 + moment)}" for moment in TIMES]
        if formatted
        else 1595933810034.0 + TIMES * 1000
    )
    columns: Columns = {f"Shimmer_8665_Timestamp_{'Formatted' * formatted}Unix_CAL": times}
    units = ["yyyy/mm/dd hh:mm:ss.000" if formatted else "ms"]
    for form, values, unit in (
        ("Accel_LN_{}", ACC, "m/(s^2)"), *([("Accel_WR_{}", 2 * ACC, "m/(s^2)")] if both else []),
        ("Gyro_{}", GYR * DEG, "deg/s"), ("Mag_{}", ACC, "local_flux"),
    ):  # fmt: skip
        columns |= three(f"Shimmer_8665_{form}_CAL", values, "XYZ")
        units += [unit] * 3
    return text(columns, "\t", '"sep=\t"\n', units, end="\t")


def witmotion(form: str = "{:02d}:{:02d}:{:02d}.{:03d}", start: float = 36000, date: str = "") -> str:
    columns: Columns = {
        "time": [date + clock(start + moment, form) for moment in TIMES],
        "DeviceName": ["HC-06"] * len(TIMES),
    }
    columns |= (
        {"ChipTime()": ["null"] * len(TIMES)}
        | three("Acc{}(g)", ACC / G, "XYZ")
        | three("As{}(°/s)", GYR * DEG, "XYZ")
    )
    columns |= (
        three("Angle{}(°)", GYR, "XYZ")
        | three("H{}(uT)", GYR, "XYZ")
        | {"Temperature(°C)": TIMES, "Q0()": TIMES}
    )
    return text(columns, "\t", end="\t")


def witmotion_script() -> str:
    columns: Columns = {"Chiptime": [f"2021-3-4 {clock(moment + 3600)}" for moment in TIMES]}
    columns |= (
        three("a{}(g)", ACC / G)
        | three("w{}(deg/s)", GYR * DEG)
        | three("Angle{}(deg)", GYR, "XYZ")
        | {"T(°)": TIMES}
    )
    return text(columns, "\t", end="\t")


def phyphox(delimiter: str = ",") -> str:
    columns = (
        {"Time (s)": TIMES} | three("Acceleration {} (m/s^2)", ACC) | {"Absolute acceleration (m/s^2)": TIMES}
    )
    columns |= three("Gyroscope {} (rad/s)", GYR) | {"Absolute (rad/s)": TIMES}
    return text({f'"{name}"': values for name, values in columns.items()}, delimiter)


def browser(greek: bool) -> str:
    columns = (
        {"timestamp": 1.7e12 + TIMES * 1000}
        | three("acceleration.{}", ACC - 9.81)
        | three("accelerationIncludingGravity.{}", ACC)
    )
    axes = ("alpha", "beta", "gamma") if greek else ("x", "y", "z")
    return text(columns | three("rotationRate.{}", GYR * DEG, axes) | {"interval": 0 * TIMES + 16})


def sensorlog() -> str:
    columns: Columns = {"loggingTime(txt)": [f"2014-07-16 {clock(moment + 50000)} +0200" for moment in TIMES]}
    columns |= {
        "loggingSample(N)": TIMES,
        "locationTimestamp_since1970(s)": 0 * TIMES,
        "accelerometerTimestamp_sinceReboot(s)": 62608 + TIMES,
    }
    columns |= three("accelerometerAcceleration{}(G)", ACC / G, "XYZ") | {
        "motionTimestamp_sinceReboot(s)": 62608.01 + TIMES
    }
    columns |= three("motionUserAcceleration{}(G)", ACC / G - 1, "XYZ") | three(
        "motionRotationRate{}(rad/s)", 2 * GYR, "XYZ"
    )
    return text(columns | three("gyroRotation{}(rad/s)", GYR, "XYZ"))


def androsensor() -> str:
    columns = three("ACCELEROMETER {} (m/s²)", ACC, "XYZ") | three("GRAVITY {} (m/s²)", ACC, "XYZ")
    columns |= three("LINEAR ACCELERATION {} (m/s²)", ACC - 9.81, "XYZ") | three(
        "GYROSCOPE {} (rad/s)", GYR, "XYZ"
    )
    return text(
        columns
        | {
            "Time since start in ms ": TIMES * 1000,
            "YYYY-MO-DD HH-MI-SS_SSS": ["2015-01-01 10:00:00:000"] * len(TIMES),
        },
        ";",
    )


def rosbag() -> str:
    stamps = [f"{1700000000000000000 + round(moment * 1e9)}" for moment in TIMES]
    columns: Columns = {
        "%time": stamps,
        "field.header.seq": TIMES,
        "field.header.stamp": stamps,
        "field.header.frame_id": ["imu"] * len(TIMES),
    }
    columns |= (
        three("field.orientation.{}", GYR)
        | three("field.angular_velocity.{}", GYR)
        | {"field.angular_velocity_covariance0": TIMES}
    )
    return text(columns | three("field.linear_acceleration.{}", ACC))


def physics_toolbox() -> str:
    return text({"time": TIMES} | three("gF{}", ACC / G) | three("w{}", GYR))


FLAVOURS: dict[str, Callable[[], str]] = {
    "Ego4D": ego4d,
    "EuRoC": euroc,
    "Xsens MTi": lambda: xsens(1),
    "Xsens DOT": lambda: xsens(100),
    "Xsens DOT, counted beyond 32 bits": lambda: xsens(100, wrapping=True),
    "Xsens, a rate alone": xsens_without_times,
    "Shimmer": shimmer,
    "Shimmer, both accelerometers": lambda: shimmer(both=True),
    "Shimmer, dates": lambda: shimmer(formatted=True),
    "WitMotion": witmotion,
    "WitMotion, colons": lambda: witmotion("{:02d}:{:02d}:{:02d}:{:03d}", date="2020-01-01 "),
    "WitMotion, at midnight": lambda: witmotion(start=86397),
    "WitMotion, ISO": lambda: witmotion(date="2026-10-02T"),
    "WitMotion's script": witmotion_script,
    "phyphox": phyphox,
    "phyphox, semicolons": lambda: phyphox(";"),
    "a browser": lambda: browser(greek=True),
    "SensorLog": sensorlog,
    "AndroSensor": androsensor,
    "a ROS bag": rosbag,
    "Physics Toolbox": physics_toolbox,
    "spaces": lambda: text({"time": TIMES} | three("acc_{}", ACC) | three("gyro_{}", GYR), "  "),
    "Windows": lambda: "\ufeffsep=;\n" + text(USUAL | {"device_orientation": ["up", "down"] * 300}, ";").replace("\n", "\r\n"),
}  # fmt: skip


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_the_same_motion_in_every_flavour_is_the_same_input(tmp_path: Path, flavour: str) -> None:
    path = tmp_path / "motion.txt"
    path.write_text(FLAVOURS[flavour](), encoding="utf-8")
    item = PREPARATION.prepare(path)  # warnings are errors
    torch.testing.assert_close(item.inputs, EXPECTED, atol=2e-3, rtol=0)
    assert item.origin["rate"] == pytest.approx(RATE)


ACCELEROMETERS = {
    "m/s2": 1.0,
    "m/s²": 1.0,
    "m/s^2": 1.0,
    "m s^-2": 1.0,
    "m/(s^2)": 1.0,
    "m/s/s": 1.0,
    "g": G,
    "G": G,
    "mg": G / 1000,
    "milli-g": G / 1000,
}
GYROSCOPES = {
    "rad/s": 1.0,
    "rad s^-1": 1.0,
    "radians/s": 1.0,
    "deg/s": 1 / DEG,
    "°/s": 1 / DEG,
    "dps": 1 / DEG,
    "degrees/sec": 1 / DEG,
    "mdps": 1 / DEG / 1000,
}
SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


@settings(max_examples=60, deadline=None)
@given(
    names=st.sampled_from([("acc{}", "gyr{}", "xyz"), ("Acc_{}", "Gyro_{}", "XYZ"), ("IMU accelerometer {}", "IMU gyroscope {}", "xyz"),
                           ("linear_acceleration.{}", "angular_velocity.{}", "xyz"), ("a{}", "w{}", "xyz"), ("accel_{}", "gyro_{}", "xyz")]),
    brackets=st.sampled_from([" ({})", " [{}]", "({})", "row"]),
    accelerometer=st.sampled_from(sorted(ACCELEROMETERS)),
    gyroscope=st.sampled_from(sorted(GYROSCOPES)),
    time=st.sampled_from(sorted(SECONDS)),
    delimiter=st.sampled_from([",", ";", "\t"]),
)  # fmt: skip
def test_units_in_the_header_are_used(
    tmp_path_factory: pytest.TempPathFactory,
    names: tuple[str, str, str],
    brackets: str,
    accelerometer: str,
    gyroscope: str,
    time: str,
    delimiter: str,
) -> None:
    row = brackets == "row"

    def named(form: str, unit: str) -> str:
        return form if row else form + brackets.format(unit)

    columns = {named("time", time): TIMES / SECONDS[time]}
    columns |= three(named(names[0], accelerometer), ACC / ACCELEROMETERS[accelerometer], names[2])
    columns |= three(named(names[1], gyroscope), GYR / GYROSCOPES[gyroscope], names[2])
    path = tmp_path_factory.mktemp("units") / "motion.csv"
    units = [time, *[accelerometer] * 3, *[gyroscope] * 3] if row else None
    path.write_text(text(columns, delimiter, units=units), encoding="utf-8")
    item = PREPARATION.prepare(path)
    torch.testing.assert_close(item.inputs, EXPECTED, atol=2e-3, rtol=0)
    assert item.origin["accelerometer_unit_known_by"] == item.origin["gyroscope_unit_known_by"] == "header"


def test_a_browsers_name_that_others_use_too(tmp_path: Path) -> None:
    path = tmp_path / "motion.csv"
    path.write_text(browser(greek=False), encoding="utf-8")
    with pytest.warns(
        M2IBWarning, match=r"read as degrees a second, as browsers .* in radians, say gyroscope_unit='rad/s'"
    ):
        item = PREPARATION.prepare(path)
    torch.testing.assert_close(item.inputs, EXPECTED, atol=2e-3, rtol=0)
    assert item.origin["gyroscope_unit_known_by"] == "guessed by the columns' names"
    said = PREPARATION.prepare({"imu": path, "gyroscope_unit": "deg/s"})
    assert torch.equal(said.inputs, item.inputs)


def test_a_degree_sign_of_one_byte(tmp_path: Path) -> None:
    path = tmp_path / "motion.txt"
    path.write_text(witmotion(), encoding="latin-1")
    torch.testing.assert_close(PREPARATION.prepare(path).inputs, EXPECTED, atol=2e-3, rtol=0)


def test_sensors_that_were_read_at_different_times(tmp_path: Path) -> None:
    every = np.arange(len(TIMES)) % 2 == 0
    columns = {"canonical_timestamp_ms": TIMES * 1000} | three("gyro_{}", np.where(every, GYR, np.nan))
    columns |= three("accl_{}", np.where(every, np.nan, ACC))
    path = tmp_path / "motion.csv"
    path.write_text(text(columns).replace("nan", ""), encoding="utf-8")
    with pytest.warns(
        M2IBWarning,
        match=r"300 of 600 rows have no value of the (accelerometer|gyroscope), which was read at other times",
    ):
        item = PREPARATION.prepare(path)
    torch.testing.assert_close(item.inputs[:, 8:-8], EXPECTED[:, 8:-8], atol=0.05, rtol=0)
    assert item.origin["bridged"] == {"accelerometer": 300, "gyroscope": 300}
    columns = (
        {"time": TIMES}
        | three("gyro_{}", GYR)
        | three("acc_{}", np.where((TIMES > 1) & (TIMES < 2), np.nan, ACC))
    )
    path.write_text(text(columns).replace("nan", ""), encoding="utf-8")
    with pytest.raises(
        InputError,
        match=r"empty, NaN or infinite samples in acc_x \(99\), acc_y \(99\), acc_z \(99\); fill them",
    ):
        PREPARATION.prepare(path)


USUAL = {"time": TIMES} | three("acc_{}", ACC) | three("gyro_{}", GYR)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"time": TIMES, "x": TIMES, "y": TIMES, "z": TIMES}, "among 'time', 'x', 'y', 'z'; join the tables of both sensors, and name the columns "),
        ({"time": TIMES} | three("acc_{} (LSB)", ACC) | three("gyro_{}", GYR), "the unit 'LSB' of the column 'acc_x (LSB)' is not known; convert it to one of m/s2, g, mg"),
        (USUAL | {"DeviceName": ["left", "right"] * 300}, "the column 'DeviceName' names 2 devices, 'left' and others; keep the rows of one"),
        (USUAL | three("wrist acc_{}", ACC), "both 'acc_x' and 'wrist acc_x' can be the accelerometer x; remove or rename one"),
        (USUAL | {"timestamp_ms": 1000 * TIMES**1.1}, "'time', 'timestamp_ms' can all be the time; keep one of them"),
        ({"time": ["soon"] * 600} | {name: USUAL[name] for name in list(USUAL)[1:]}, ", row 2, column 'time': 'soon' is not a number; repair or remove the row"),
    ],
)  # fmt: skip
def test_what_nothing_tells_apart_is_refused(tmp_path: Path, columns: Columns, message: str) -> None:
    path = tmp_path / "motion.csv"
    path.write_text(text(columns), encoding="utf-8")
    with pytest.raises(InputError, match=re.escape(message)):
        PREPARATION.prepare(path)


# Units that nobody names.


@pytest.mark.parametrize(
    ("accelerometer", "gyroscope", "message"),
    [
        (1 / G, 1, r"the acceleration's median length is 1 m/s², where gravity alone is 9\.81; if it is in g, say accelerometer_unit='g'"),
        (1000 / G, 1, r"the acceleration's median length is 1[,.\de+]* m/s², where gravity .* if it is in mg, say accelerometer_unit='mg'"),
        (1 / G * 2048, 1, r"the acceleration's median length is"),
        (1, DEG, r"the gyroscope's values have a median length of 1\d\.?\d*, read as rad/s, which is a turn every 0\.\d+ s; if they are in degrees"),
    ],
)  # fmt: skip
def test_an_unlikely_range_is_said(accelerometer: float, gyroscope: float, message: str) -> None:
    samples = np.concatenate([ACC * accelerometer, GYR * gyroscope])
    assert abs(samples[3:]).max() < 35  # rad/s that sensors measure
    with pytest.warns(M2IBWarning, match=message):
        item = PREPARATION.prepare((samples, RATE))
    assert item.origin["accelerometer_unit_known_by"] == item.origin["gyroscope_unit_known_by"] == "assumed"


@pytest.mark.parametrize("unit", ["mg", "m/s^2", "G"])
@pytest.mark.parametrize("turning", ["mdeg/s", "dps", "rad/s"])
def test_units_that_are_said(unit: str, turning: str) -> None:
    samples = np.concatenate(
        [ACC / ACCELEROMETERS[unit], GYR / (GYROSCOPES | {"mdeg/s": 1 / DEG / 1000})[turning]]
    )
    item = PREPARATION.prepare(
        {"imu": samples, "rate": RATE, "accelerometer_unit": unit, "gyroscope_unit": turning}
    )
    torch.testing.assert_close(item.inputs, EXPECTED, atol=1e-4, rtol=1e-4)
    assert item.origin["accelerometer_unit_known_by"] == item.origin["gyroscope_unit_known_by"] == "option"


def test_a_unit_that_is_said_and_cannot_be_is_said_too() -> None:
    samples = np.concatenate([ACC * 1000 / G, GYR])
    with pytest.warns(M2IBWarning, match=r"median length is 9.* if it is in mg, say accelerometer_unit='mg'"):
        PREPARATION.prepare({"imu": samples, "rate": RATE, "accelerometer_unit": "g"})
