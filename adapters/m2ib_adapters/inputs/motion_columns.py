"""What the columns of a table of motion hold: which sensor, which axis, in which unit, and when; by their names, as programs write them.

A name is taken apart where its letters change from small to capital and at all that is no letter: ``Shimmer_8665_Gyro_X_CAL`` is shimmer,
8665, gyro, x, cal: what may stand anywhere, the sensor, its axis, and more about it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from m2ib.errors import InputError
from m2ib_adapters.inputs.options import saying

SENSORS = ("accelerometer", "gyroscope")
TRACES = tuple(f"{sensor} {axis}" for sensor in SENSORS for axis in "xyz")
G = 9.80665  # m/s²
_TURN = np.pi / 180  # rad, one degree
FACTORS = {
    "accelerometer": {"m/s2": 1.0, "g": G, "mg": G / 1000},
    "gyroscope": {"rad/s": 1.0, "deg/s": _TURN, "mdeg/s": _TURN / 1000},
}
"""By sensor and unit, m/s² or rad/s."""
GUESSED = "guessed by the columns' names"

_WORDS = {  # by sensor: what names it, and what does so right before the axis alone
    "accelerometer": ("acceleration|accelerometer|accel|accl|acc|加速度|g f", "ac|a"),  # g-force
    "gyroscope": ("gyroscope|gyro|gyr|omega|角速度|angular velocity|rotation rate|of turn", "gy|g|w|as"),
}
_AXES = {"x": "x", "y": "y", "z": "z", "alpha": "x", "beta": "y", "gamma": "z"}  # Greek in browsers
_MORE = {"including", "gravity", "acceleration", "rotation", "rs", "s", "ln", "wr", "hr", "raw", "cal", "uncal",
         "axis"}  # fmt: skip
_SENSOR = "|".join(
    f"(?P<{sensor}>(?:{far})(?: (?:{'|'.join(_MORE)}))*|(?:{near})(?: r?s)*)"
    for sensor, (far, near) in _WORDS.items()
)
_TRACE = re.compile(  # "acc x", and "accx"
    rf"(?:.* )?(?:{_SENSOR})(?P<gap> ?)(?P<axis>[xyz]|(?<= )(?:alpha|beta|gamma))(?P<more>(?: .*)?)"
)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_a-zA-Z]+")
_NO_SENSOR = {"mag", "magnetic", "magnetometer", "angle", "orientation", "euler", "quaternion", "bias", "std",
              "covariance"}  # fmt: skip
# Of several columns for one trace: gravity is in it; it is calibrated; of low noise; the sensor's own.
_WORSE = ({"user", "free", "linear", "lin", "net", "body"}, {"raw", "uncal"}, {"wr", "hr"}, {"motion"})
_BETTER = {"including", "total"}

_SAME_UNIT = {"degrees": "deg", "degree": "deg", "°": "deg", "radians": "rad", "seconds": "s", "second": "s", "sec": "s", "milli": "m",
              "²": "2", "⁻": "-", "¹": "1"}  # fmt: skip
_SPELLED = {
    **dict.fromkeys(("m/s/s", "mps2", "ms2", "ms-2", "mss"), "m/s2"),
    **dict.fromkeys(("rads", "radps", "rads-1", "rad"), "rad/s"),
    **dict.fromkeys(("degs", "degps", "degs-1", "dps", "deg"), "deg/s"),
    "gs": "g",
    "m-g": "mg",
    "mdps": "mdeg/s",
}

_SECONDS = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("ms", "msec", "msecs", "millis", "milliseconds"), 1e-3),
    **dict.fromkeys(("us", "µs", "μs", "usec", "usecs", "micros", "microseconds"), 1e-6),
    **dict.fromkeys(("ns", "nsec", "nsecs", "nanos", "nanoseconds"), 1e-9),
}
_TIME = {"time", "times", "timestamp", "timestamps", "stamp", "t", "ts", "elapsed", "epoch"}
_AFTER = {"sync", "unix", "formatted", "cal", "since", "start", "reboot", "boot", "1970", "in", "fine",
          *_SECONDS}  # fmt: skip
_OTHER = {"delta", "interval", "diff", "utc", "gps", "location", "zone"}
_TICKS = {"sample", "time", "fine"}  # Xsens: a ten-thousandth of a second, or a microsecond
_SLOWEST, _FASTEST = 10.0, 5000.0  # samples a second that are plausible, where the unit of time is not named
_SAME = 0.01  # by which times that are the same may differ
_DAY, _WRAP = 86400, 2**32  # where clocks and counters of ticks begin anew
_CLOCK = re.compile(
    r"(?:.*[\sT])?(\d{1,2}):(\d{2}):(\d{2})(?:([.,:])(\d{1,9}))?(?:\s*(?:Z|UTC|[+-]\d{2}:?\d{2}))?"
)


@dataclass(frozen=True)
class _Column:
    """A column that can be a trace.

    unit   as the header has it, "" where it says none
    words  of its name, but for the axis
    """

    at: int
    sensor: str
    axis: str
    unit: str
    words: tuple[str, ...]

    @property
    def rank(self) -> tuple[bool, ...]:
        words = set(self.words)
        return (not words & _BETTER, *(bool(words & worse) for worse in _WORSE))


def unit_of(sensor: str, text: str) -> str | None:
    """A sensor's unit as :data:`FACTORS` has it; None for what is none of them."""
    plain = text.lower()
    for word, short in _SAME_UNIT.items():
        plain = plain.replace(word, short)
    plain = re.sub(r"[^a-z0-9/-]", "", plain)
    unit = _SPELLED.get(plain, plain)
    return unit if unit in FACTORS[sensor] else None


def split_unit(name: str) -> tuple[str, str]:
    """A column's name without a unit in brackets at its end, and that, or ""."""
    match = re.fullmatch(r"\W*(.+?)\s*[\[(]\s*(.*?)\s*[\])]?\W*", name)
    return (match[1], match[2]) if match else (name, "")


def words_of(name: str) -> list[str]:
    """Its words, small."""
    return [match[0].lower() for match in _WORD.finditer(name)]


def find_motion(
    names: Sequence[str], units: Sequence[str], who: str
) -> tuple[list[int], dict[str, tuple[str, str]]]:
    """The numbers of the columns of the six traces, in the order of :data:`TRACES`; and by sensor the unit and how it is known,
    :data:`GUESSED` where it is that of programs which use such names, and not only those.

    units  of each column, where the table has a row of them, else ""

    Raises :class:`InputError` where one is missing, or nothing says which one it is.
    """
    found = [column for at, name in enumerate(names) if (column := _column(at, name, units[at])) is not None]
    known: dict[str, tuple[str, str]] = {}
    columns: dict[str, int] = {}
    for sensor in SENSORS:
        mine = [column for column in found if column.sensor == sensor]
        ranks = {column.rank for column in mine if _whole(column, mine)}
        best = [column for column in mine if not ranks or column.rank == min(ranks)]
        for column in best:
            trace = f"{sensor} {column.axis}"
            if trace in columns:
                raise InputError(
                    f"{who}: both {names[columns[trace]]!r} and {names[column.at]!r} can be the {trace}; remove or rename one"
                )
            columns[trace] = column.at
        if unit := _common_unit(sensor, best, names, who):
            known[sensor] = unit
    missing = [trace for trace in TRACES if trace not in columns]
    if missing:
        bare = {"x", "y", "z"} <= {name.strip().lower() for name in names}
        raise InputError(
            f"{who}: no column for {', '.join(missing)} among {', '.join(map(repr, names))}; "
            + ("join the tables of both sensors, and " if bare else "")
            + "name the columns acc_x, acc_y, acc_z, gyro_x, gyro_y, gyro_z"
        )
    return [columns[trace] for trace in TRACES], known


def _whole(column: _Column, others: list[_Column]) -> bool:
    """Whether there are columns for all three axes whose names are otherwise the same."""
    return len({other.axis for other in others if other.words == column.words}) == 3


def _column(at: int, name: str, unit: str) -> _Column | None:
    """What a column is by its name; None of one that is no trace."""
    bare, bracketed = split_unit(name)
    words = words_of(bare)
    match, plain = _TRACE.fullmatch(" ".join(words)), {*words}
    if match is None or _NO_SENSOR & plain or (not match["gap"] and _AXES.keys() & plain):
        return None
    sensor = next(sensor for sensor in SENSORS if match[sensor])
    before, axis, more = match.string[: match.start("axis")], match["axis"], match["more"].split()
    if not set(more) <= _MORE:  # "acc_x_g"
        ends = [word.end() for word in _WORD.finditer(bare)]
        bracketed, more = bare[ends[before.count(" ")] :], []
        if unit_of(sensor, bracketed) is None:
            return None
    greek = "greek" if len(axis) > 1 else ""
    return _Column(at, sensor, _AXES[axis], bracketed or unit, (*before.split(), *more, greek))


def _common_unit(
    sensor: str, columns: list[_Column], names: Sequence[str], who: str
) -> tuple[str, str] | None:
    """The unit of a sensor's columns and how it is known, None where it is not.

    Raises :class:`InputError` for several, or an unknown one.
    """
    said = {unit_of(sensor, column.unit) for column in columns}
    strange = [column for column in columns if column.unit and unit_of(sensor, column.unit) is None]
    if strange:
        raise InputError(
            f"{who}: the unit {strange[0].unit!r} of the column {names[strange[0].at]!r} is not known; convert it to one of "
            f"{', '.join(FACTORS[sensor])}"
        )
    if len(said) > 1:
        raise InputError(
            f"{who}: the names of the {sensor}'s columns say different units: {', '.join(sorted(unit or 'none' for unit in said))}"
        )
    words = {word for column in columns for word in column.words}
    if sensor == "accelerometer":  # as browsers give it; and g-force
        usual = "m/s2" if "including" in words else "g" if {"g", "f"} <= words else None
    else:
        usual = "deg/s" if "greek" in words else None
    if unit := next(iter(said), None) or usual:
        return unit, "header"
    # browsers' rotation rate is in degrees, and iOS has one of the same name in radians
    browser = any("including" in words_of(name) for name in names)
    turns = sensor == "gyroscope" and all({"rotation", "rate"} <= {*column.words} for column in columns)
    return ("deg/s", GUESSED) if browser and turns else None


def find_times(
    names: Sequence[str], units: Sequence[str], cells: Sequence[Any], who: str
) -> np.ndarray | None:
    """(T,) seconds from the first sample; None without a column for the time.

    units  of each column, where the table has a row of them, else ""

    Raises :class:`InputError` for times that do not rise, and for several that differ.
    """
    found = [(at, unit) for at, name in enumerate(names) if (unit := _time_unit(name, units[at])) is not None]
    # Ego4D's: of the video, where "component" is of a part of it
    found = [column for column in found if "canonical" in words_of(names[column[0]])] or found
    found = [(at, unit) for at, unit in found if any(map(str.strip, getattr(cells[at], "cells", ".")))]
    if not found:
        return None
    read = [(at, unit, _numbers(cells[at], unit)) for at, unit in found]
    usable = [column for column in read if column[2] is not None] or read
    spans = [_span(unit, numbers) for _, unit, numbers in usable]
    if len(usable) > 1 and not all(span and abs(span / (spans[0] or 1) - 1) < _SAME for span in spans):
        raise InputError(
            f"{who}: {', '.join(repr(names[at]) for at, _, _ in usable)} can all be the time; keep one of them"
        )
    at, unit, numbers = usable[0]
    # the first raises, and says which cell it is
    times = np.asarray(cells[at], np.float64) if numbers is None else numbers
    return _in_seconds(times, unit, str(names[at]), who)


def _time_unit(name: str, row: str) -> str | None:
    """The unit that a column of times has, "" where it is not named; None of a column of something else."""
    bare, bracketed = split_unit(name)
    words, bracketed = words_of(bare), bracketed.lower()
    last = max((at for at, word in enumerate(words) if word in _TIME), default=None)
    if last is None or not set(words[last + 1 :]) <= _AFTER or _OTHER & set(words):
        return None
    if bracketed not in ("", "txt", *_SECONDS):
        return None
    named = [word for word in (*words[last + 1 :], *words[:1], bracketed, row.lower()) if word in _SECONDS]
    return "ticks" if set(words) >= _TICKS else named[0] if named else ""


def _numbers(cells: Any, unit: str) -> np.ndarray | None:
    """A column as numbers, times of the day in seconds; None where it has neither."""
    texts = getattr(cells, "cells", None)
    if texts is not None and all(clocks := [_CLOCK.fullmatch(text.strip()) for text in texts]):
        return _counted_on(np.array([_seconds(match) for match in clocks if match]), _DAY)
    numbers = np.asarray(cells) if texts is None else _parsed(texts)
    return _counted_on(numbers, _WRAP) if numbers is not None and unit == "ticks" else numbers


def _parsed(texts: Sequence[str]) -> np.ndarray | None:
    with suppress(ValueError, OverflowError):  # nanoseconds since 1970 are too many for floats
        return np.array([int(text) for text in texts], np.int64)
    with suppress(ValueError):
        return np.array([float(text) if text.strip() else np.nan for text in texts])
    return None


def _counted_on(numbers: np.ndarray, most: int) -> np.ndarray:
    """What begins anew at ``most``, as if it did not."""
    return numbers + most * np.cumsum(np.diff(numbers, prepend=numbers[:1]) < -most / 2)


def _seconds(clock: re.Match[str]) -> float:
    """Of the day; behind a third colon stand milliseconds."""
    hours, minutes, seconds, mark, part = clock.groups()
    fraction = int(part) / (1000 if mark == ":" else 10 ** len(part)) if part else 0.0
    return int(hours) * 3600 + int(minutes) * 60 + int(seconds) + fraction


def _span(unit: str, numbers: np.ndarray | None) -> float | None:
    """Seconds from the first sample to the last; None where that cannot be told."""
    if numbers is None:
        return None
    times = numbers - numbers[0]
    scale = _scale_of(times, unit)
    return float(times[-1]) * scale if scale and (np.diff(times) > 0).all() else None


def _in_seconds(times: np.ndarray, unit: str, name: str, who: str) -> np.ndarray:
    """From the first of ``times`` on, which must be there, rise, and have a unit that is known or plausible."""
    if not np.isfinite(times).all():
        raise InputError(
            f"{who}: empty, NaN or infinite cells in the column {name!r} ({int((~np.isfinite(times)).sum())}); "
            "repair or remove these rows"
        )
    times = times - times[0]
    steps = np.diff(times)
    backwards = np.flatnonzero(steps <= 0)
    if backwards.size:
        at = int(backwards[0])
        often = f", and {backwards.size} times in all" if backwards.size > 1 else ""
        raise InputError(
            f"{who}: the time in the column {name!r} does not rise from sample {at + 1} ({times[at]:.6g}) to sample "
            f"{at + 2} ({times[at + 1]:.6g}){often}; sort and repair the samples, or say their rate, e.g. "
            f"{saying('imu', 'rate', 200)}"
        )
    scale = _scale_of(times, unit)
    if scale is None:
        raise InputError(
            f"{who}: the unit of the column {name!r} is not clear from its median step of {np.median(steps):g}; call it "
            f"{name}_s, {name}_ms, {name}_us or {name}_ns"
        )
    return (times * scale).astype(np.float64)


def _scale_of(times: np.ndarray, unit: str) -> float | None:
    """The seconds of one unit of ``times``: where it is not named, that which gives 10 to 5000 samples a second; None if none does."""
    if unit in _SECONDS or len(times) < 2:
        return _SECONDS.get(unit, 1.0)
    step = float(np.median(np.diff(times)))
    possible = (1e-4, 1e-6) if unit == "ticks" else (1.0, 1e-3, 1e-6, 1e-9)
    return next(
        (scale for scale in possible if step > 0 and _SLOWEST <= 1 / (step * scale) <= _FASTEST), None
    )
