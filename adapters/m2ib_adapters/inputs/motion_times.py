"""When the samples of a table of motion were taken: which column says it, in which unit, or as the time of day."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from m2ib.errors import InputError
from m2ib_adapters.inputs.motion_columns import split_unit, words_of
from m2ib_adapters.inputs.options import saying

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
_BETTER = "canonical"  # Ego4D's: of the video, where "component" is of a part of it
_TICKS = {"sample", "time", "fine"}  # Xsens: a ten-thousandth of a second, or a microsecond
_SLOWEST, _FASTEST = 10.0, 5000.0  # samples a second that are plausible, where the unit of time is not named
_SAME = 0.01  # by which times that are the same may differ
_DAY, _WRAP = 86400, 2**32  # where clocks and counters of ticks begin anew
_CLOCK = re.compile(
    r"(?:.*[\sT])?(\d{1,2}):(\d{2}):(\d{2})(?:([.,:])(\d{1,9}))?(?:\s*(?:Z|UTC|[+-]\d{2}:?\d{2}))?"
)


def find_times(
    names: Sequence[str], units: Sequence[str], cells: Sequence[Any], who: str
) -> np.ndarray | None:
    """(T,) seconds from the first sample; None without a column for the time.

    units  of each column, where the table has a row of them, else ""

    Raises :class:`InputError` for times that do not rise, and for several that differ.
    """
    found = [(at, unit) for at, name in enumerate(names) if (unit := _unit(name, units[at])) is not None]
    found = [column for column in found if _BETTER in _words(names[column[0]])] or found
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


def _words(name: str) -> list[str]:
    return [word for word, _ in words_of(split_unit(name)[0])]


def _unit(name: str, row: str) -> str | None:
    """The unit that a column of times has, "" where it is not named; None of a column of something else."""
    words, bracketed = _words(name), split_unit(name)[1].lower()
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
