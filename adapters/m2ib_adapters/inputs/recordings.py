"""Inertial measurements as they were recorded: files, arrays and the names of their columns."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from m2ib.errors import InputError
from m2ib_adapters.files import sha256
from m2ib_adapters.inputs.fields import load_array
from m2ib_adapters.inputs.media import called, existing_file
from m2ib_adapters.inputs.options import saying
from m2ib_adapters.inputs.tensors import array_of

SENSORS = ("accelerometer", "gyroscope")
TRACES = tuple(f"{sensor} {axis}" for sensor in SENSORS for axis in "xyz")

_SPELLINGS = {
    "accelerometer": r"linear[\s_]?acceleration|accelerometer|acceleration|accel|accl|acc|a",
    "gyroscope": r"angular[\s_]?velocity|gyroscope|gyro|gyr|g|omega|w",
}
_UNITS = {
    "accelerometer": {"g": "g", **dict.fromkeys(("m/s2", "m/s/s", "mps2", "ms2", "ms-2"), "m/s2")},
    "gyroscope": {
        **dict.fromkeys(("rad/s", "rads", "radps", "rads-1", "rad"), "rad/s"),
        **dict.fromkeys(("deg/s", "degs", "degps", "dps", "°/s", "deg"), "deg/s"),
    },
}
_TIME = re.compile(
    r"(?:.*[\s_.])?(?:time|times|timestamp|timestamps|time_stamp|t|ts|elapsed)"
    r"(?:(?:[\s_.]*[\[(]|[\s_.]+)([a-zµ]+)[\])]?)?"
)
_SECONDS = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("ms", "msec", "millis", "milliseconds"), 1e-3),
    **dict.fromkeys(("us", "µs", "usec", "micros", "microseconds"), 1e-6),
    **dict.fromkeys(("ns", "nsec", "nanos", "nanoseconds"), 1e-9),
}
_SLOWEST, _FASTEST = 10.0, 5000.0  # samples a second that are plausible, where the unit of time is not named


@dataclass(frozen=True, eq=False)
class MotionRecording:
    """What was recorded.

    samples  (6, T) float64 in the order of :data:`TRACES`, in the recording's own units; NaN where a cell is
             empty
    times    (T,) float64 seconds from the first sample; None where the recording has none
    units    by sensor, where the columns' names say it
    columns  the columns' names, in the order of :data:`TRACES`; () of plain arrays
    """

    samples: np.ndarray
    times: np.ndarray | None = None
    units: tuple[tuple[str, str], ...] = ()
    columns: tuple[str, ...] = ()


def open_recording(raw: Any, *, timed: bool = True) -> tuple[MotionRecording, dict[str, Any]]:
    """A .csv or .npy file, an array or a tensor, and where it came from; its times only where ``timed``.

    Tables (.csv, structured arrays) have columns in any order, found by their names: accelerometer and
    gyroscope x, y, z, and perhaps the time. Plain arrays are (6, T) or (T, 6), accelerometer first.

    Raises :class:`InputError`.
    """
    if isinstance(raw, (str, PathLike)):
        path, name = existing_file(raw, "imu"), called(raw, "imu")
        suffix = path.suffix.lower()
        if suffix in (".npy", ".npz"):
            recording = _from_array(load_array(path, "imu"), name, timed)
        elif suffix in (".csv", ".txt", ".tsv"):
            recording = _read_table(path, name, timed)
        else:
            raise InputError(
                f"{name}: cannot read {suffix or 'a file without an ending'}; give a .csv or .npy file"
            )
        return recording, {"source": str(path), "sha256": sha256(path), "columns": list(recording.columns)}
    if isinstance(raw, Tensor):
        raw = array_of(raw)
    if isinstance(raw, np.ndarray):
        recording = _from_array(raw, "imu", timed)
        return recording, {"source": "array", "columns": list(recording.columns)}
    raise InputError(
        f"imu: cannot use a {type(raw).__name__}; give a .csv or .npy file, an array (6, T), or (array, rate)"
    )


def _from_array(array: np.ndarray, who: str, timed: bool) -> MotionRecording:
    if array.dtype.names:
        names = array.dtype.names
        flat = array.reshape(-1)
        cells = [flat[name] for name in names]
        for name, cell in zip(names, cells, strict=True):
            if not (np.issubdtype(cell.dtype, np.number) and cell.ndim == 1):
                raise InputError(f"{who}: the field {name!r} is not one number a sample but {cell.dtype}")
        return _assemble(names, cells, who, timed)
    if array.dtype == np.bool_ or not np.issubdtype(array.dtype, np.number) or np.iscomplexobj(array):
        raise InputError(f"{who}: samples are whole or floating-point numbers, not {array.dtype}")
    if array.ndim != 2 or 6 not in array.shape or array.size == 0:
        raise InputError(
            f"{who}: an array has the shape (6, T) or (T, 6), accelerometer x y z and gyroscope x y z, not "
            f"{tuple(array.shape)}"
        )
    if array.shape == (6, 6):
        raise InputError(f"{who}: in an array (6, 6) nothing says which axis is time; give more samples")
    return MotionRecording((array if array.shape[0] == 6 else array.T).astype(np.float64))


def _read_table(path: Path, who: str, timed: bool) -> MotionRecording:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{who} cannot be read as text: {error}") from error
    numbered = [(at, line) for at, line in enumerate(text.splitlines(), 1) if line.strip() and line[0] != "#"]
    if len(numbered) < 2:
        raise InputError(f"{who} holds {len(numbered)} rows; a header and one row a sample are needed")
    delimiter = max(",;\t", key=numbered[0][1].count)
    reader = csv.reader((line for _, line in numbered), delimiter=delimiter)
    try:
        header = [name.strip() for name in next(reader)]
        lines, rows = [], []
        for row in reader:
            lines.append(numbered[reader.line_num - 1][0])
            rows.append(row)
    except csv.Error as error:
        raise InputError(f"{who} cannot be read as a table: {error}") from error
    if all(_is_number(cell) for cell in header):
        raise InputError(
            f"{who} has no header; its first row must name the columns, e.g. time,acc_x,acc_y,acc_z,gyro_x,gyro_y,gyro_z"
        )
    for at, row in zip(lines, rows, strict=True):
        if len(row) != len(header):
            commas = delimiter == "," and len(row) > len(header)
            raise InputError(
                f"{who}, row {at}: {len(row)} cells under {len(header)} columns; "
                + ("save numbers with decimal points, not commas" if commas else "repair the file")
            )
    cells = [_Column(name, [row[at] for row in rows], lines, who) for at, name in enumerate(header)]
    return _assemble(header, cells, who, timed)


@dataclass(frozen=True, eq=False)
class _Column:
    """A column of text, which becomes numbers when it is asked for."""

    name: str
    cells: list[str]
    lines: list[int]
    who: str

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        try:
            return np.array([float(cell) if cell.strip() else np.nan for cell in self.cells])
        except ValueError:
            at = next(n for n, cell in enumerate(self.cells) if cell.strip() and not _is_number(cell))
            cell = self.cells[at].strip()
            fault = "is not a number; repair or remove the row"
            if _is_number(cell.replace(",", ".", 1)):
                fault = "has a decimal comma; save it with decimal points"
            raise InputError(
                f"{self.who}, row {self.lines[at]}, column {self.name!r}: {cell!r} {fault}"
            ) from None


def _assemble(names: Sequence[str], cells: Sequence[Any], who: str, timed: bool) -> MotionRecording:
    """Find the six traces and the time among named columns."""
    found: dict[str, tuple[int, str | None]] = {}
    for at, name in enumerate(names):
        match = _trace(name)
        if match is None:
            continue
        trace, unit = match
        if trace in found:
            raise InputError(
                f"{who}: both {names[found[trace][0]]!r} and {name!r} can be the {trace}; remove or rename one"
            )
        found[trace] = (at, unit)
    missing = [trace for trace in TRACES if trace not in found]
    if missing:
        raise InputError(
            f"{who}: no column for {', '.join(missing)} among {', '.join(map(repr, names))}; name the columns "
            "acc_x, acc_y, acc_z, gyro_x, gyro_y, gyro_z"
        )
    units = []
    for sensor in SENSORS:
        said = {found[f"{sensor} {axis}"][1] for axis in "xyz"}
        if len(said) > 1:
            raise InputError(
                f"{who}: the names of the {sensor}'s columns say different units: {', '.join(sorted(unit or 'none' for unit in said))}"
            )
        unit = said.pop()
        if unit is not None:
            units.append((sensor, unit))
    samples = np.stack([np.asarray(cells[found[trace][0]], dtype=np.float64) for trace in TRACES])  # (6, T)
    columns = tuple(str(names[found[trace][0]]) for trace in TRACES)
    return MotionRecording(samples, _times(names, cells, who) if timed else None, tuple(units), columns)


def _trace(name: str) -> tuple[str, str | None] | None:
    """What a column's name says: the trace, and its unit if it is there."""
    lower = name.strip().lower()
    for sensor, spellings in _SPELLINGS.items():
        match = re.fullmatch(
            rf"(?:imu[\s_.]*)?(?:{spellings})[\s_.\-]*([xyz])(?:[\s_\[(/-]+(.+?)[\])]*)?", lower
        )
        if match is None:
            continue
        axis, rest = match.groups()
        unit = _UNITS[sensor].get(re.sub(r"[\s_^*]", "", rest).replace("²", "2")) if rest else None
        if rest is None or unit is not None:
            return f"{sensor} {axis}", unit
    return None


def _times(names: Sequence[str], cells: Sequence[Any], who: str) -> np.ndarray | None:
    """(T,) seconds from the first sample; None without a column for the time."""
    found = []
    for at, name in enumerate(names):
        match = _TIME.fullmatch(name.strip().lower())
        if match is not None and (not match[1] or match[1] in _SECONDS):
            found.append((at, match[1]))
    if not found:
        return None
    if len(found) > 1:
        raise InputError(
            f"{who}: {', '.join(repr(names[at]) for at, _ in found)} can all be the time; keep one of them"
        )
    at, unit = found[0]
    times = np.asarray(cells[at])
    if not np.isfinite(times).all():
        raise InputError(
            f"{who}: empty, NaN or infinite cells in the column {names[at]!r} ({int((~np.isfinite(times)).sum())}); "
            "repair or remove these rows"
        )
    times = (times - times[0]).astype(np.float64)
    _check_order(times, str(names[at]), who)
    if unit or len(times) < 2:
        return times * _SECONDS[unit or "s"]
    return times * _time_unit(times, str(names[at]), who)


def _check_order(times: np.ndarray, name: str, who: str) -> None:
    backwards = np.flatnonzero(np.diff(times) <= 0)
    if backwards.size:
        at = int(backwards[0])
        often = f", and {backwards.size} times in all" if backwards.size > 1 else ""
        raise InputError(
            f"{who}: the time in the column {name!r} does not rise from sample {at + 1} ({times[at]:.6g}) to sample "
            f"{at + 2} ({times[at + 1]:.6g}){often}; sort and repair the samples, or say their rate, e.g. "
            f"{saying('imu', 'rate', 200)}"
        )


def _time_unit(times: np.ndarray, name: str, who: str) -> float:
    """The seconds of one unit of ``times``: the one of s, ms, us, ns that gives 10 to 5000 samples a second."""
    step = float(np.median(np.diff(times)))
    for unit in ("s", "ms", "us", "ns"):
        if _SLOWEST <= 1 / (step * _SECONDS[unit]) <= _FASTEST:
            return _SECONDS[unit]
    raise InputError(
        f"{who}: the unit of the column {name!r} is not clear from its median step of {step:g}; call it "
        f"{name}_s, {name}_ms, {name}_us or {name}_ns"
    )


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
