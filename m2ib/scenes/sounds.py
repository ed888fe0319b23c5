"""Two seconds of sound: each kind has its own signature, at a known time and in a known band."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from m2ib.contract.layout import Axis
from m2ib.scenes.icons import KINDS
from m2ib.scenes.plan import MOST, SECONDS, ScenePlan

RATE = 16_000
BANDS, STEP = 64, 0.01  # of the masks: mel bands from 20 Hz to half the rate, steps in seconds
_PURPOSE = 4
_FADE = 0.012  # seconds
_HISS = 0.004  # how loud the background is
_DRAWS = 8  # uniform numbers that a sound may use

Wave = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""(seconds since its start (n, samples), uniform numbers (n, 8, 1), white noise (n, samples)) -> samples in about [-1, 1]."""


@dataclass(frozen=True)
class Signature:
    """What a kind sounds like, and the band in hertz that holds it."""

    wave: Wave
    band: tuple[float, float]


SIGNATURES: dict[str, Signature] = {}
"""By kind."""


def _sounds(kind: str, low: float, high: float) -> Callable[[Wave], Wave]:
    """What a kind sounds like, from ``low`` to ``high`` hertz."""

    def keep(wave: Wave) -> Wave:
        SIGNATURES[kind] = Signature(wave, (low, high))
        return wave

    return keep


def _tone(t: np.ndarray, hertz: np.ndarray | float) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * t)


def _phase(hertz: np.ndarray) -> np.ndarray:
    """In radians, of a tone whose frequency changes: hertz (n, samples) at each moment."""
    return np.asarray(2 * np.pi * np.cumsum(hertz, 1) / RATE)


def _since(t: np.ndarray, rate: np.ndarray | float) -> np.ndarray:
    """Seconds since the last beat, of ``rate`` beats a second."""
    return np.asarray(np.mod(t * rate, 1.0) / rate)


def _band(noise: np.ndarray, low: float, high: float) -> np.ndarray:
    """White noise without what lies outside a band, as loud as a tone."""
    spectrum = np.fft.rfft(noise)
    hertz = np.fft.rfftfreq(noise.shape[1], 1 / RATE)
    spectrum[:, (hertz < low) | (hertz > high)] = 0
    kept = np.fft.irfft(spectrum, noise.shape[1])
    return np.asarray(kept / (kept.std(1, keepdims=True) * 1.6 + 1e-9))


@_sounds("car", 40, 900)
def _engine(t: np.ndarray, u: np.ndarray, noise: np.ndarray) -> np.ndarray:
    base = 62 + 36 * u[:, 0] + 14 * _tone(t, 1.2 + u[:, 1])
    phase = _phase(base)
    tones = sum(np.sin(k * phase) / k**0.4 for k in range(1, 8))
    return np.asarray(0.22 * tones * (0.75 + 0.25 * np.sin(phase / 2)))


@_sounds("bell", 580, 2100)
def _bell(t: np.ndarray, u: np.ndarray, noise: np.ndarray) -> np.ndarray:
    base = 620 + 130 * u[:, 0]
    partials = ((1.0, 0.6, 3.0), (1.19, 0.4, 4.0), (1.56, 0.4, 5.0), (2.0, 0.5, 5.0), (2.66, 0.3, 7.0))
    tones = (0.6 * loud * _tone(t, base * ratio) * np.exp(-decay * t) for ratio, loud, decay in partials)
    return np.asarray(sum(tones))


@_sounds("drum", 40, 480)
def _drum(t: np.ndarray, u: np.ndarray, noise: np.ndarray) -> np.ndarray:
    beat = _since(t, 6 + 2.5 * u[:, 0])
    tone = np.sin(2 * np.pi * (110 * beat + 5.5 * (1 - np.exp(-28 * beat)) / 2))
    return np.asarray((0.9 * tone + 0.25 * _band(noise, 60, 420)) * np.exp(-24 * beat))


@_sounds("clock", 2000, 3900)
def _ticks(t: np.ndarray, u: np.ndarray, noise: np.ndarray) -> np.ndarray:
    tick = _since(t, 9 + 3 * u[:, 0])
    tones = _tone(t, 2300 + 300 * u[:, 1]) + 0.6 * _tone(t, 3350 + 200 * u[:, 2])
    return np.asarray(tones * np.exp(-110 * tick))


@_sounds("bee", 180, 1650)
def _buzz(t: np.ndarray, u: np.ndarray, noise: np.ndarray) -> np.ndarray:
    base = 215 + 40 * u[:, 0] + 14 * _tone(t, 7 + 3 * u[:, 1])
    phase = _phase(base)
    tones = sum(np.sin(k * phase) / k**0.5 for k in range(1, 7))
    return np.asarray(0.28 * tones * (0.8 + 0.2 * _tone(t, 24)))


@_sounds("bird", 3200, 5800)
def _chirps(t: np.ndarray, u: np.ndarray, noise: np.ndarray) -> np.ndarray:
    rate = 7 + 2 * u[:, 0]
    chirp = _since(t, rate) * rate  # 0 to 1 within a chirp
    hertz = 3400 + 300 * u[:, 1] + 1900 * chirp
    return np.asarray(0.8 * np.sin(_phase(hertz)) * np.sin(np.pi * chirp.clip(0, 0.7) / 0.7))


@_sounds("cat", 420, 2500)
def _meow(t: np.ndarray, u: np.ndarray, noise: np.ndarray) -> np.ndarray:
    length = t.max(1, keepdims=True) + 1e-6
    rise = np.sin(np.pi * (t / length).clip(0, 1))
    base = 430 + 60 * u[:, 0] + 330 * rise
    phase = _phase(base)
    return np.asarray(0.35 * sum(np.sin(k * phase) * loud for k, loud in ((1, 1.0), (2, 0.9), (3, 0.6))))


@_sounds("train", 250, 1150)
def _whistle(t: np.ndarray, u: np.ndarray, noise: np.ndarray) -> np.ndarray:
    base = 295 + 30 * u[:, 0]
    chord = sum(_tone(t, base * ratio) for ratio in (1.0, 1.26, 1.5))
    return np.asarray(0.28 * chord + 0.35 * _band(noise, 260, 1100))


@_sounds("phone", 1000, 1620)
def _ring(t: np.ndarray, u: np.ndarray, noise: np.ndarray) -> np.ndarray:
    high = np.mod(t * (19 + 4 * u[:, 0]), 1.0) < 0.5
    return np.asarray(0.75 * np.where(high, _tone(t, 1480 + 60 * u[:, 1]), _tone(t, 1080 + 60 * u[:, 1])))


@_sounds("kettle", 4500, 7500)
def _hiss(t: np.ndarray, u: np.ndarray, noise: np.ndarray) -> np.ndarray:
    return np.asarray(0.7 * _band(noise, 4600, 7400) * (0.7 + 0.3 * _tone(t, 3 + 2 * u[:, 0])))


@_sounds("guitar", 370, 1900)
def _plucks(t: np.ndarray, u: np.ndarray, noise: np.ndarray) -> np.ndarray:
    rate = 7 + 1.5 * u[:, 0]
    note = np.floor(t * rate) % 3
    base = np.array([392.0, 494.0, 587.0])[note.astype(int)] * (0.97 + 0.06 * u[:, 1])
    since = _since(t, rate)
    tones = sum(_tone(t, k * base) * np.exp(-(4 + 3 * k) * since) / k for k in range(1, 4))
    return np.asarray(0.6 * tones)


@_sounds("frog", 740, 1080)
def _croaks(t: np.ndarray, u: np.ndarray, noise: np.ndarray) -> np.ndarray:
    pulse = _since(t, 38 + 8 * u[:, 0])
    croak = np.mod(t * (4.2 + u[:, 1]), 1.0) < 0.6
    return np.asarray(1.1 * _tone(t, 860 + 90 * u[:, 2]) * np.exp(-90 * pulse) * croak)


def waveforms(plan: ScenePlan) -> np.ndarray:
    """(N, 32000) float32 in [-1, 1], 16,000 samples a second."""
    length = round(SECONDS * RATE)
    generators = plan.random(_PURPOSE)
    u = np.stack([random.random((MOST, _DRAWS + 2)) for random in generators])  # (N, 3, draws)
    noise = np.stack([random.standard_normal(length, np.float32) for random in generators])  # (N, length)
    mixed = _HISS * (1 + 2 * u[:, 0, -2:-1]) * noise
    event = int(RATE * 0.62)
    for number, kind in enumerate(KINDS):
        rows, slots = np.nonzero((plan.kind == number) & plan.present)
        if not len(rows):
            continue
        starts, ends = plan.sounds[rows, slots].T  # seconds
        first = np.round(starts * RATE).astype(int)
        lasts = np.round((ends - starts) * RATE).astype(int)[:, None]  # samples that it lasts
        place = np.arange(event)
        t = np.broadcast_to(place / RATE, (len(rows), event))
        inside = place < lasts
        draws = u[rows, slots, :_DRAWS, None]  # (n, draws, 1)
        sound = SIGNATURES[kind].wave(np.where(inside, t, 0), draws, noise[rows, :event])
        fade = np.minimum(place, lasts - 1 - place) / (_FADE * RATE)
        loud = 0.16 + 0.16 * u[rows, slots, -1, None]
        sound = loud * sound * fade.clip(0, 1) * inside
        where = first[:, None] + place
        kept = where < length
        np.add.at(mixed, (np.broadcast_to(rows[:, None], where.shape)[kept], where[kept]), sound[kept])
    return mixed.clip(-1, 1).astype(np.float32)


def axes() -> tuple[Axis, Axis]:
    """Frequency and time of the masks' cells."""
    mel = 1127 * np.log1p(np.array([20.0, RATE / 2]) / 700)
    edges = 700 * np.expm1(np.linspace(mel[0], mel[1], BANDS + 1) / 1127)
    times = np.round(np.arange(round(SECONDS / STEP) + 1) * STEP, 6)
    frequency = Axis("frequency", "Hz", tuple(pairwise(edges.tolist())))
    return frequency, Axis("time", "s", tuple(pairwise(times.tolist())))


def masks(plan: ScenePlan) -> np.ndarray:
    """(N, 3, 64, 200) bool: the cells whose centres lie in the time and the band of each slot's object."""
    frequency, time = (np.array(axis.spans).mean(1) for axis in axes())
    bands = np.array([SIGNATURES[kind].band for kind in KINDS])[plan.kind]  # (N, 3, 2)
    rows = (frequency >= bands[..., :1]) & (frequency <= bands[..., 1:])  # (N, 3, 64)
    columns = (time >= plan.sounds[..., :1]) & (time <= plan.sounds[..., 1:])  # (N, 3, 200)
    return np.asarray(rows[..., None] & columns[..., None, :] & plan.present[..., None, None])
