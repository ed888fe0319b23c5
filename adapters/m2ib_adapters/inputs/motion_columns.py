"""What the columns of a table of motion hold: which sensor, which axis, in which unit; by their names, as programs write them.

A name is taken apart where its letters change from small to capital and at all that is no letter: ``Shimmer_8665_Gyro_X_CAL`` is shimmer,
8665, gyro, x, cal: what may stand anywhere, the sensor, its axis, and more about it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from m2ib.errors import InputError

SENSORS = ("accelerometer", "gyroscope")
TRACES = tuple(f"{sensor} {axis}" for sensor in SENSORS for axis in "xyz")
G = 9.80665  # m/s²
_TURN = 0.017453292519943295  # rad, one degree
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
_NO_SENSOR = {"mag", "magnetic", "magnetometer", "angle", "orientation", "euler", "quaternion", "bias", "std",
              "covariance"}  # fmt: skip
# Of several columns for one trace: gravity is in it; it is calibrated; of low noise; the sensor's own.
_WORSE = ({"user", "free", "linear", "lin", "net", "body"}, {"raw", "uncal"}, {"wr", "hr"}, {"motion"})
_BETTER = {"including", "total"}

_SAME_UNIT = {"degrees": "deg", "degree": "deg", "°": "deg", "radians": "rad", "seconds": "s", "second": "s", "sec": "s", "milli": "m",
              "²": "2", "⁻": "-", "¹": "1"}  # fmt: skip
_SPELLINGS = {
    "accelerometer": {
        "m/s2": ("m/s/s", "mps2", "ms2", "ms-2", "mss"),
        "g": ("gs",),
        "mg": ("m-g",),
    },
    "gyroscope": {
        "rad/s": ("rads", "radps", "rads-1", "rad"),
        "deg/s": ("degs", "degps", "degs-1", "dps", "deg"),
        "mdeg/s": ("mdps",),
    },
}


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
    return next((unit for unit, others in _SPELLINGS[sensor].items() if plain in (unit, *others)), None)


def split_unit(name: str) -> tuple[str, str]:
    """A column's name without a unit in brackets at its end, and that, or ""."""
    match = re.fullmatch(r"\W*(.+?)\s*[\[(]\s*(.*?)\s*[\])]?\W*", name)
    return (match[1], match[2]) if match else (name, "")


def words_of(name: str) -> list[tuple[str, int]]:
    """Its words, small, and where each ends."""
    found = re.finditer(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_a-zA-Z]+", name)
    return [(match[0].lower(), match.end()) for match in found]


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
    text, plain = " ".join(word for word, _ in words), {word for word, _ in words}
    match = _TRACE.fullmatch(text)
    if match is None or _NO_SENSOR & plain or (not match["gap"] and plain & set(_AXES)):
        return None
    sensor = next(sensor for sensor in SENSORS if match[sensor])
    before, axis, more = text[: match.start("axis")], match["axis"], match["more"].split()
    if not set(more) <= _MORE:  # "acc_x_g"
        bracketed, more = bare[words[before.count(" ")][1] :], []
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
    browser = any("including" in {word for word, _ in words_of(name)} for name in names)
    turns = sensor == "gyroscope" and all({"rotation", "rate"} <= {*column.words} for column in columns)
    return ("deg/s", GUESSED) if browser and turns else None
