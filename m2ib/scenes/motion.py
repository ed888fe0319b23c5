"""Two seconds of a phone's motion sensors: each kind shakes it in its own way, at a known time, on known axes."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Literal

import numpy as np

from m2ib.contract.layout import Axis, even_axis
from m2ib.scenes.icons import KINDS
from m2ib.scenes.plan import MOST, SECONDS, ScenePlan

RATE = 100
TRACES = tuple(f"{sensor} {axis}" for sensor in ("accelerometer", "gyroscope") for axis in "xyz")
_PURPOSE = 6
_GRAVITY = 9.81  # m/s²
_NOISE = (0.12, 0.05)  # m/s², rad/s


@dataclass(frozen=True)
class Vibration:
    """traces that shake, how often a second, how strongly (m/s² and rad/s), and its shape in time."""

    traces: tuple[int, ...]
    hertz: float
    strength: float
    shape: Literal["steady", "beats", "fading", "swelling"]


VIBRATIONS: dict[str, Vibration] = {
    "car": Vibration((2, 3), 21.0, 1.6, "steady"),
    "bell": Vibration((0, 5), 13.0, 2.6, "fading"),
    "drum": Vibration((2, 4), 30.0, 3.2, "beats"),
    "clock": Vibration((1,), 36.0, 2.4, "beats"),
    "bee": Vibration((0, 1, 4), 41.0, 1.4, "steady"),
    "bird": Vibration((3, 5), 9.0, 1.6, "beats"),
    "cat": Vibration((1, 2), 26.0, 1.5, "swelling"),
    "train": Vibration((0, 3, 4), 6.0, 2.0, "steady"),
    "phone": Vibration((0, 1, 2), 33.0, 2.0, "beats"),
    "kettle": Vibration((2, 5), 38.0, 1.6, "swelling"),
    "guitar": Vibration((1, 5), 17.0, 2.2, "fading"),
    "frog": Vibration((1, 3), 5.0, 2.2, "swelling"),
}


def _shaped(kind: str, t: np.ndarray, length: np.ndarray, u: np.ndarray) -> np.ndarray:
    """How strong at each moment: t (n, samples) seconds since the start, length and u (n, 1)."""
    shape = VIBRATIONS[kind].shape
    if shape == "fading":
        return np.asarray(np.exp(-4.5 * np.mod(t, length / 2 + 1e-9)))
    if shape == "swelling":
        return np.asarray(np.sin(np.pi * (t / length).clip(0, 1)) ** 0.7)
    if shape == "beats":
        return np.asarray(np.mod(t * (6.5 + 1.5 * u), 1.0) < 0.5).astype(float)
    return np.ones_like(t)


def traces(plan: ScenePlan) -> np.ndarray:
    """(N, 6, 200) float32: accelerometer x y z in m/s², gravity included, and gyroscope x y z in rad/s."""
    samples = round(SECONDS * RATE)
    t = np.arange(samples) / RATE
    generators = plan.random(_PURPOSE)
    u = np.stack([random.random((MOST + 2, 6)) for random in generators])  # (N, 5, 6)
    noise = np.stack([random.standard_normal((6, samples)) for random in generators])
    level = np.repeat(_NOISE, 3)[:, None]  # (6, 1)
    mixed = level * (noise + 1.5 * np.sin(2 * np.pi * ((0.5 + u[:, -1, :, None]) * t + u[:, -2, :, None])))
    tilt = (u[:, -1, :2] - 0.5) * 0.3  # radians
    mixed[:, 0] += _GRAVITY * np.sin(tilt[:, :1])
    mixed[:, 1] += _GRAVITY * np.sin(tilt[:, 1:])
    mixed[:, 2] += _GRAVITY * np.cos(np.hypot(tilt[:, :1], tilt[:, 1:]))
    for number, kind in enumerate(KINDS):
        rows, slots = np.nonzero((plan.kind == number) & plan.present)
        if not len(rows):
            continue
        vibration = VIBRATIONS[kind]
        starts, ends = plan.motions[rows, slots].T[..., None]  # (n, 1) each
        since, length = t - starts, ends - starts
        inside = (since >= 0) & (since < length)
        draws = u[rows, slots]  # (n, 6)
        hertz = vibration.hertz * (0.96 + 0.08 * draws[:, :1])
        strong = _shaped(kind, since.clip(0), length, draws[:, 1:2]) * inside
        for place, trace in enumerate(vibration.traces):
            strength = vibration.strength * (1.0 if trace < 3 else 0.6) * (0.85 + 0.3 * draws[:, 2:3])
            phase = 2 * np.pi * (draws[:, 3:4] + place / 4)
            mixed[rows, trace] += strength * strong * np.sin(2 * np.pi * hertz * since + phase)
    return mixed.astype(np.float32)


def axes() -> tuple[Axis, Axis]:
    """The traces, and the time of each sample."""
    times = np.round(np.arange(round(SECONDS * RATE) + 1) / RATE, 6).tolist()
    trace = even_axis("trace", "", len(TRACES), 0, len(TRACES))
    return trace, Axis("time", "s", tuple(itertools.pairwise(times)))


def masks(plan: ScenePlan) -> np.ndarray:
    """(N, 3, 6, 200) bool: the samples of the traces that each slot's object shakes."""
    t = np.arange(round(SECONDS * RATE)) / RATE
    shaken = np.zeros((len(KINDS), len(TRACES)), bool)
    for number, kind in enumerate(KINDS):
        shaken[number, list(VIBRATIONS[kind].traces)] = True
    columns = (t >= plan.motions[..., :1]) & (t < plan.motions[..., 1:])  # (N, 3, 200)
    return np.asarray(shaken[plan.kind][..., None] & columns[..., None, :] & plan.present[..., None, None])
