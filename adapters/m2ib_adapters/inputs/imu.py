"""Inertial measurements -> six traces over a few seconds -> the tensor a model takes.

ImageBind's authors have not published a loader. Its paper says five seconds of Ego4D as 2000 samples,
accelerometer x y z and gyroscope x y z; Ego4D's files are in m/s² (gravity included) and rad/s, at about
200 Hz, and nothing is subtracted or scaled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from scipy.integrate import cumulative_trapezoid
from torch import Tensor

from m2ib.contract.inputs import Item
from m2ib.contract.layout import Layout, even_axis
from m2ib.errors import InputError, SettingError
from m2ib.notices import warn
from m2ib.renderers import TracesView
from m2ib_adapters.inputs.media import called, rounded
from m2ib_adapters.inputs.motion_columns import FACTORS, GUESSED, SENSORS, TRACES, unit_of
from m2ib_adapters.inputs.options import WithOptions, check_positive, is_number, saying
from m2ib_adapters.inputs.recordings import MotionRecording, open_recording
from m2ib_adapters.towers.patches import Patches

_PLAUSIBLE_G = (5.0, 20.0)  # m/s², median length of the acceleration, gravity included
_GRAVITY = (8.0, 12.0)  # m/s², likewise: what a unit is suggested by
_PLAUSIBLE_TURN = 35.0  # rad/s, 2000 degrees a second: what gyroscopes measure at most
_PLAUSIBLE_TURNING = 4.0  # rad/s, for half of the time
_SAID, _ASSUMED = "option", "assumed"  # how a unit is known
_UNITS = {"accelerometer": ("m/s2", _ASSUMED), "gyroscope": ("rad/s", _ASSUMED)}  # the model's
_GAP = 5  # times the median step: from here on it is said
_LONGEST_GAP = 0.1  # of the seconds that the model sees
_FASTER = 1.25  # times the model's rate: from here on samples are averaged
_MOST_SHOWN = 10_000  # samples


@dataclass(frozen=True)
class ImuPreparation(WithOptions):
    """How a model wants inertial measurements, and how a raw input has them.

    samples, seconds    of the input: 2000 samples over 5 s are 400 a second
    window              samples of one token
    rate                of the raw input, samples a second; wins over its times. None: its times, and without
                        them its samples are taken to span ``seconds``
    start               seconds from the beginning of the recording
    accelerometer_unit  of the raw input: "m/s2", "g" or "mg"; None: as a table's header says, else "m/s2"
    gyroscope_unit      of the raw input: "rad/s", "deg/s" or "mdeg/s"; None: as a table's header says, else "rad/s"
    """

    samples: int = 2000
    seconds: float = 5.0
    window: int = 8
    rate: float | None = None
    start: float = 0.0
    accelerometer_unit: str | None = None
    gyroscope_unit: str | None = None

    MODALITY: ClassVar[str] = "imu"
    OPTIONS: ClassVar[tuple[str, ...]] = ("rate", "start", "accelerometer_unit", "gyroscope_unit")
    IN_INPUT: ClassVar[tuple[str, ...]] = OPTIONS

    def __post_init__(self) -> None:
        check_positive(self.rate, "rate", "imu", optional=True)
        if not is_number(self.start) or self.start < 0:
            raise SettingError(f"imu: start is a number of seconds, 0 or more, not {self.start!r}")
        for sensor in SENSORS:
            unit = getattr(self, f"{sensor}_unit")
            if unit is not None and not (isinstance(unit, str) and unit_of(sensor, unit)):
                raise SettingError(f"imu: {sensor}_unit is one of {', '.join(FACTORS[sensor])}, not {unit!r}")

    def prepare(self, raw: Any) -> Item:
        """Measurements as an :class:`Item` with (6, samples) float32 numbers, m/s² and rad/s.

        A .csv or .npy file, an array or tensor (6, T) or (T, 6), a pair (array, rate), or a mapping with the
        key "imu" for one of these and any of ``OPTIONS`` for this input.

        Resampled by linear interpolation over time. A recording that is much faster than the model's input is
        averaged over each of the model's steps instead: reading single samples of it would turn vibration
        above half the model's rate into motion that was not there.

        What a recording lacks at its end is filled with zeros, as Ego4D's users do; a warning says how much.
        Gaps count only where the model sees them.

        Raises :class:`InputError`.
        """
        if isinstance(raw, (tuple, list)) and len(raw) == 2:
            raw = {"imu": raw[0], "rate": raw[1]}
        mine, value = self.with_input(raw)
        name = called(value, "imu")
        recording, origin = open_recording(value, timed=mine.rate is None)
        times, timing = mine._times(recording, name)
        units = mine._units(recording)
        step = float(np.median(np.diff(times)))
        first = max(0, np.searchsorted(times, mine.start, "right") - 1)  # the last sample before the start
        last = np.searchsorted(times, mine.start + self.seconds) + 1
        if times[-1] + step <= mine.start:
            raise InputError(
                f"{name}: start={mine.start:g} s is not within the recording, which ends at {times[-1]:.4g} s"
            )
        seen, when = recording.samples[:, first:last], times[first:last]  # (6, n), (n,)
        if len(when) < 2:
            raise InputError(
                f"{name}: start={mine.start:g} s leaves one sample, which is no movement; the recording ends at "
                f"{times[-1]:.4g} s, start earlier (options.imu.start)"
            )
        _check_values(seen, recording.columns or TRACES, name)
        gaps = mine._check_gaps(times, step, name)
        factors = np.repeat([FACTORS[sensor][units[sensor][0]] for sensor in SENSORS], 3)[:, None]  # (6, 1)
        converted = seen * factors
        _warn_of_acceleration(converted[:3], *units["accelerometer"], name)
        _warn_of_turns(converted[3:], units["gyroscope"][1], name)
        wanted = mine.start + np.arange(self.samples) * (self.seconds / self.samples)  # (samples,)
        resampled, method = resample(converted, when, wanted)  # (6, samples)
        beyond = wanted >= when[-1] + step - 1e-9  # (samples,)
        resampled[:, beyond] = 0
        missing = int(beyond.sum())
        if missing:
            warn(
                f"{name}: the recording ends {missing / self.samples * self.seconds:.3g} s before the "
                f"{self.seconds:g} s that the model sees; zeros stand there, so the map says little there"
            )
        origin |= {
            "recorded_samples": recording.samples.shape[1],
            **timing,
            "span": [rounded(mine.start), rounded(mine.start + self.seconds)],
            **{f"{sensor}_unit": units[sensor][0] for sensor in SENSORS},
            **{f"{sensor}_unit_known_by": units[sensor][1] for sensor in SENSORS},
            **gaps,
            "resampling": method,
            "padded_samples": missing,
            "input_size": [6, self.samples],
        }
        inputs = torch.from_numpy(resampled).float()  # (6, samples)
        return Item(inputs, self._layout(mine.start), mine._view(recording.samples, times, units), origin)

    def describe(self, inputs: Tensor) -> Item:
        """One preprocessed tensor (6, samples) as an :class:`Item`."""
        if inputs.shape != (6, self.samples) or not inputs.is_floating_point():
            raise InputError(
                f"imu: a preprocessed tensor has the shape (6, {self.samples}) and a floating-point type, not "
                f"{tuple(inputs.shape)} {inputs.dtype}"
            )
        times = np.arange(self.samples) * (self.seconds / self.samples)
        view = replace(self, start=0.0)._view(inputs.float().cpu().numpy(), times, _UNITS)
        origin = {"source": "tensor", "input_size": [6, self.samples]}
        return Item(inputs, self._layout(0.0), view, origin)

    def _times(self, recording: MotionRecording, name: str) -> tuple[np.ndarray, dict[str, Any]]:
        """(T,) seconds from the first sample, and how they are known."""
        count = recording.samples.shape[1]
        if count < 2:
            raise InputError(f"{name}: {count} sample is no movement; give at least two")
        if self.rate is None and recording.times is not None:
            usual = rounded(1 / np.median(np.diff(recording.times)))
            return recording.times, {"rate": usual, "times": "recorded"}
        rate = self.rate or count / self.seconds
        if self.rate is None and count != self.samples:
            warn(
                f"{name}: without times or a rate, {count} samples are taken to span {self.seconds:g} s, {rate:g} a "
                f"second; if that is wrong, say their rate, e.g. {saying('imu', 'rate', 200)}"
            )
        known = "assumed" if self.rate is None else "by the rate"
        return np.arange(count) / rate, {"rate": rounded(rate), "times": known}

    def _units(self, recording: MotionRecording) -> dict[str, tuple[str, str]]:
        """By sensor: its unit, and how it is known."""
        said = {sensor: getattr(self, f"{sensor}_unit") for sensor in SENSORS}
        options = {sensor: (unit_of(sensor, unit) or unit, _SAID) for sensor, unit in said.items() if unit}
        return {**_UNITS, **recording.units, **options}

    def _check_gaps(self, times: np.ndarray, step: float, name: str) -> dict[str, Any]:
        """How many gaps the model sees, and the longest; warns of them, raises :class:`InputError` for one too long.

        times  (T,) of the whole recording; what lies before the start or after the end does not count
        """
        lengths = np.diff(times.clip(self.start, self.start + self.seconds))  # (T - 1,) seconds that are seen
        count = int((lengths > _GAP * step).sum())
        if not count:
            return {"gaps": 0}
        at = int(lengths.argmax())
        longest, limit = float(lengths[at]), _LONGEST_GAP * self.seconds
        begin = max(float(times[at]), self.start)
        if longest > limit:
            raise InputError(
                f"{name}: nothing was recorded for {longest:.3g} s from {begin:.4g} s on, more than the {limit:g} s "
                f"that can be bridged; {self._other_start(times, limit)}"
            )
        warn(
            f"{name}: gaps in time ({count}), the longest of {longest:.3g} s from {begin:.4g} s on; bridged by "
            "straight lines"
        )
        return {"gaps": count, "longest_gap": [rounded(begin), rounded(longest)]}

    def _other_start(self, times: np.ndarray, limit: float) -> str:
        """The way out of a long gap: the first start with enough behind it, where there is one."""
        ends = np.append(np.flatnonzero(np.diff(times) > limit), len(times) - 1)  # before each gap
        begins = np.insert(ends[:-1] + 1, 0, 0)
        for begin, end in zip(times[begins], times[ends], strict=True):
            if end - begin >= self.seconds:
                return f"say {saying('imu', 'start', rounded(begin))}"
        return f"no other start has {self.seconds:g} s behind it; give a longer recording"

    def _layout(self, start: float) -> Layout:
        patches = Patches((self.window,), (self.window,))
        axis = even_axis("time", "s", self.samples // self.window, start, start + self.seconds)
        return patches.layout((self.samples,), axes=(axis,))

    def _view(
        self, samples: np.ndarray, times: np.ndarray, units: Mapping[str, tuple[str, str]]
    ) -> TracesView:
        """The part that the model sees, and as much before and after it."""
        first, last = np.searchsorted(times, (self.start - self.seconds, self.start + 2 * self.seconds))
        every = -(-(last - first) // _MOST_SHOWN)
        return TracesView(
            samples[:, first:last:every].astype(np.float32),
            times[first:last:every],
            TRACES,
            tuple(units[sensor][0].replace("m/s2", "m/s²") for sensor in SENSORS for _ in "xyz"),
            (self.start, self.start + self.seconds),
            self.samples,
        )


def _warn_of_acceleration(samples: np.ndarray, unit: str, source: str, name: str) -> None:
    """Of ``samples`` (3, n) in m/s², unless the user said the unit and gravity may be taken out."""
    length = float(np.median(np.linalg.norm(samples, axis=0)))
    low, high = _PLAUSIBLE_G
    if low <= length <= high or (source == _SAID and length < low):
        return
    factors, (least, most) = FACTORS["accelerometer"], _GRAVITY
    stored = length / factors[unit]
    fits = (other for other, factor in factors.items() if least <= stored * factor <= most)
    other = next(fits, "mg" if length > high else "g")
    warn(
        f"{name}: the acceleration's median length is {length:.3g} m/s², where gravity alone is 9.81; if it "
        f"is in {other}, say {saying('imu', 'accelerometer_unit', other)}; if gravity was taken out, put it back, or "
        f"say accelerometer_unit={unit!r}"
    )


def _warn_of_turns(samples: np.ndarray, source: str, name: str) -> None:
    """Of ``samples`` (3, n) in rad/s, where nobody said the unit."""
    turn, usual = float(np.abs(samples).max()), float(np.median(np.linalg.norm(samples, axis=0)))
    if source == GUESSED:
        warn(
            f"{name}: the gyroscope's values are read as degrees a second, as browsers give what they call so; if they are in "
            f"radians, say {saying('imu', 'gyroscope_unit', 'rad/s')}"
        )
    if source != _ASSUMED or (turn <= _PLAUSIBLE_TURN and usual <= _PLAUSIBLE_TURNING):
        return
    fault = f"reach {turn:.4g}, read as rad/s where {_PLAUSIBLE_TURN:g} is the most that sensors measure"
    if turn <= _PLAUSIBLE_TURN:
        fault = f"have a median length of {usual:.3g}, read as rad/s, which is a turn every {2 * np.pi / usual:.2g} s"
    warn(
        f"{name}: the gyroscope's values {fault}; if they are in degrees, say "
        f"{saying('imu', 'gyroscope_unit', 'deg/s')}, else gyroscope_unit='rad/s'"
    )


def resample(samples: np.ndarray, times: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, str]:
    """``samples`` (traces, n) at ``times`` (n,), at the evenly spaced ``wanted`` (m,), and how.

    Linear between two samples, the last one held beyond the end. Where samples come faster than wanted, the
    mean over one wanted step around each point: (A(t + d/2) - A(t - d/2)) / d with A the area under the
    trace, by trapezoids.
    """
    half = (wanted[1] - wanted[0]) / 2
    if np.median(np.diff(times)) * _FASTER >= 2 * half:
        return np.stack([np.interp(wanted, times, trace) for trace in samples]), "linear"
    begin, end = ((wanted + side).clip(times[0], times[-1]) for side in (-half, half))  # (m,)
    width = np.maximum(end - begin, np.finfo(float).tiny)
    area = cumulative_trapezoid(samples, times, initial=0)  # (traces, n)
    means = [(np.interp(end, times, trace) - np.interp(begin, times, trace)) / width for trace in area]
    return np.stack(means), "mean over each step"


def _check_values(samples: np.ndarray, columns: tuple[str, ...], name: str) -> None:
    missing = (~np.isfinite(samples)).sum(axis=1)  # (6,)
    if missing.any():
        listed = ", ".join(f"{columns[at]} ({missing[at]})" for at in np.flatnonzero(missing))
        raise InputError(
            f"{name}: empty, NaN or infinite samples in {listed}; fill them, or remove their rows"
        )
