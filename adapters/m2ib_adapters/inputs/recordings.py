"""Inertial measurements as they were recorded: files, arrays and the names of their columns."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from m2ib.errors import InputError, decoding
from m2ib.notices import warn
from m2ib_adapters.bounds import COLUMNS, MEASURED, ROWS, TEXT
from m2ib_adapters.inputs.fields import NUMPY, begins, load_array
from m2ib_adapters.inputs.media import InputFile, input_file
from m2ib_adapters.inputs.motion_columns import SENSORS, TRACES, find_motion, find_times, unit_of, words_of
from m2ib_adapters.inputs.tensors import array_of

_ARRAYS, _TABLES = (".npy", ".npz"), (".csv", ".txt", ".tsv")  # ends of names
_COMMENTS = ("#", "//", "%")
_RATE = re.compile(r"(?:update|sample|sampling|output)[ _]?rate\W*([\d.]+) *hz", re.IGNORECASE)
_DEVICE = {"device", "name", "id", "mac", "address", "serial", "number"}  # words of a column that names it
_BRIDGED = 0.1  # seconds at most that one sensor was not read while the other one was


@dataclass(frozen=True, eq=False)
class MotionRecording:
    """What was recorded.

    samples  (6, T) float64 in the order of :data:`TRACES`, in the recording's own units; NaN where a cell is
             empty
    times    (T,) float64 seconds from the first sample; None where the recording has none
    units    by sensor, where the columns' names say it, and how it is known
    columns  the columns' names, in the order of :data:`TRACES`; () of plain arrays
    bridged  by sensor, how many samples were read at other times than the other sensor's, and are interpolated
    """

    samples: np.ndarray
    times: np.ndarray | None = None
    units: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    bridged: Mapping[str, int] = field(default_factory=dict)


def open_recording(raw: Any, *, timed: bool = True) -> tuple[MotionRecording, dict[str, Any]]:
    """A .csv or .npy file (a path, bytes or an open file), an array or a tensor, and where it came from; its times only where ``timed``.

    Tables (.csv, structured arrays) have columns in any order, found by their names: accelerometer and
    gyroscope x, y, z, and perhaps the time. Plain arrays are (6, T) or (T, 6), accelerometer first.

    Raises :class:`InputError`.
    """
    file = input_file(raw, "imu")
    if file is not None:
        with decoding(file.name, "cannot be read"):
            recording, origin = _read_file(file, timed), file.origin
    elif isinstance(raw, (np.ndarray, Tensor)):
        array = array_of(raw) if isinstance(raw, Tensor) else raw
        recording, origin = _from_array(array, "imu", timed), {"source": "array"}
    else:
        raise InputError(
            f"imu: cannot use a {type(raw).__name__}; give a .csv or .npy file, an array (6, T), or (array, rate)"
        )
    bridged = {"bridged": dict(recording.bridged)} if recording.bridged else {}
    return recording, origin | {"columns": list(recording.columns)} | bridged


def _read_file(file: InputFile, timed: bool) -> MotionRecording:
    path, name, suffix = file.path, file.name, file.path.suffix.lower()
    if "given_as" in file.origin and suffix not in (*_ARRAYS, *_TABLES):  # a name says nothing then
        suffix = _ARRAYS[0] if begins(path, *NUMPY) else _TABLES[0]
    if suffix in _ARRAYS:
        return _from_array(load_array(path, name), name, timed)
    if suffix in _TABLES:
        return _read_table(path, name, timed)
    raise InputError(f"{name}: cannot read {suffix or 'a file without an ending'}; give a .csv or .npy file")


def _from_array(array: np.ndarray, who: str, timed: bool) -> MotionRecording:
    MEASURED.check(who, array.size * max(1, len(array.dtype.names or ())))
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
    lines = [(at, line) for at, line in enumerate(_text(path, who).splitlines(), 1) if line.strip()]
    ROWS.check(who, len(lines))
    lines = [(at, line) for at, line in lines if not line.lower().lstrip('"').startswith("sep=")]
    table = [(at, line) for at, line in lines if not line.startswith(_COMMENTS)]
    comments = [line for at, line in lines if line.startswith(_COMMENTS) and table and at < table[0][0]]
    if comments and _is_header(comments[-1], table[0][1]):
        table.insert(0, (0, comments[-1].lstrip("#/% ")))
    if len(table) < 2:
        raise InputError(f"{who} holds {len(table)} rows; a header and one row a sample are needed")
    delimiter = _delimiter(table[0][1])
    texts = (line.strip(" ") for _, line in table)
    reader = csv.reader(texts, delimiter=delimiter, skipinitialspace=delimiter == " ")
    try:
        header = [name.strip() for name in next(reader)]
        while header and not header[-1]:
            header.pop()
        COLUMNS.check(who, len(header))
        if all(map(_is_number, header)):
            raise InputError(
                f"{who} has no header; its first row must name the columns, e.g. time,acc_x,acc_y,acc_z,gyro_x,gyro_y,gyro_z"
            )
        numbers, rows = [], []
        for row in reader:
            while len(row) > len(header) and not row[-1].strip():
                row.pop()
            at = table[reader.line_num - 1][0]
            if len(row) != len(header):
                commas = delimiter == "," and len(row) > len(header)
                raise InputError(
                    f"{who}, row {at}: {len(row)} cells under {len(header)} columns; "
                    + ("save numbers with decimal points, not commas" if commas else "repair the file")
                )
            numbers.append(at)
            rows.append(row)
    except csv.Error as error:
        raise InputError(f"{who} cannot be read as a table: {error}") from error
    units: list[str] = []
    named = any(unit_of(sensor, cell) for sensor in SENSORS for cell in rows[0])
    if named and not any(_is_number(cell) for cell in rows[0]):
        units, rows, numbers = rows[0], rows[1:], numbers[1:]
    cells = [_Column(name, [row[at] for row in rows], numbers, who) for at, name in enumerate(header)]
    recording = _assemble(header, cells, who, timed, units)
    rate = _RATE.search("\n".join(comments))
    if recording.times is not None or not rate or not timed:
        return recording
    return replace(recording, times=np.arange(len(rows)) / float(rate[1]))


def _text(path: Path, who: str) -> str:
    TEXT.check(who, path.stat().st_size)
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if b"\0" in data:
            raise InputError(f"{who} cannot be read as text: {error}") from error
        return data.decode("latin-1")  # where a degree sign is one byte


def _delimiter(line: str) -> str:
    found = max(",;\t", key=line.count)
    return found if found in line else " "


def _is_header(comment: str, row: str) -> bool:
    """Whether a commented line names the columns of the first row."""
    delimiter = _delimiter(row)
    cells = row.rstrip(delimiter).split(delimiter)
    numeric = sum(_is_number(cell) for cell in cells)
    return numeric > len(TRACES) - 1 and len(comment.rstrip(delimiter).split(delimiter)) == len(cells)


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


def _assemble(
    names: Sequence[str], cells: Sequence[Any], who: str, timed: bool, units: Sequence[str] = ()
) -> MotionRecording:
    """Find the six traces and the time among named columns."""
    units = units or [""] * len(names)
    found, known = find_motion(names, units, who)
    for at, name in enumerate(names):
        if "device" in (words := set(words_of(name))) and words <= _DEVICE:
            several = set(getattr(cells[at], "cells", ()))
            if len(several) > 1:
                raise InputError(
                    f"{who}: the column {name!r} names {len(several)} devices, {min(several)!r} and others; keep the rows of one"
                )
    samples = np.stack([np.asarray(cells[at], dtype=np.float64) for at in found])  # (6, T)
    columns = tuple(str(names[at]) for at in found)
    times = find_times(names, units, cells, who) if timed else None
    bridged = _bridge(samples, times, who) if times is not None else {}
    return MotionRecording(samples, times, known, columns, bridged)


def _bridge(samples: np.ndarray, times: np.ndarray, who: str) -> dict[str, int]:
    """Where one sensor was read between the other's readings: straight lines, in place; how many by sensor.

    samples  (6, T), of which a row of the table leaves the one or the other sensor empty
    """
    empty = ~np.isfinite(samples).reshape(2, 3, -1)  # (sensors, axes, T)
    rows = empty.any(1)  # (sensors, T)
    if (rows != empty.all(1)).any() or rows.all(0).any():  # holes of another kind
        return {}
    bridged = {}
    for sensor, traces, holes in zip(SENSORS, samples.reshape(2, 3, -1), rows, strict=True):
        read = times[~holes]
        if not holes.any() or not len(read) or np.diff([times[0], *read, times[-1]]).max() > _BRIDGED:
            continue
        for trace in traces:
            trace[holes] = np.interp(times[holes], read, trace[~holes])
        bridged[sensor] = int(holes.sum())
        warn(
            f"{who}: {bridged[sensor]} of {len(times)} rows have no value of the {sensor}, which was read at other times; "
            "bridged by straight lines"
        )
    return bridged


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
