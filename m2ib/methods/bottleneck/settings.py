"""The settings of a fit: given as numbers or by modality, resolved against the encoder's defaults."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from numbers import Integral, Real
from typing import Any, Literal, TypeAlias, TypeVar

import numpy as np

from m2ib.contract.encoder import Encoder
from m2ib.errors import SettingError, did_you_mean
from m2ib.methods.bottleneck.shifts import Shifts

T = TypeVar("T")
PerModality: TypeAlias = T | Mapping[str, T] | None
"""A value, or a dict of values by modality; what is left out comes from the preset or the encoder's defaults."""

Readout = Literal["last", "final"]
Granularity = Literal["element", "token"]
Noise = Literal["independent", "antithetic"]
ShiftCounts: TypeAlias = int | tuple[int, ...]

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "sharp": {"granularity": "token", "shifts": 4, "smooth": 0.5, "samples": 2},
}
"""Settings that go together, by name. An encoder's own ``presets`` stand over these, and what is given over both."""


@dataclass(frozen=True)
class FitSettings:
    """The resolved settings of one bottleneck's fit (Section 3.3 and Appendix of Wang et al. 2023).

    layer     the block whose output carries the bottleneck; -1 is the embedding output
    beta      weight of the compression term, >= 0
    variance  sigma^2 of the noise, > 0
    steps     Adam steps, >= 1
    samples   noise draws in each step, >= 1
    lr        Adam's learning rate, > 0
    seed      of the noise
    readout   "last": the capacity of the last forward pass, before the last update, as in the authors'
              code; "final": of the final alpha

    The following are not the paper's.

    granularity  "element": a lambda for each channel of each position, as in the paper; "token": one for each
                 position, shared by its channels. Information is counted in the same way
    standardize  whether the bottleneck works on (a - mean) / std, by channel over reference inputs (IBA's
                 estimator; see ``m2ib/activations/reference.py``)
    shifts       over how many sub-cell shifts of the input the map is averaged, which makes its cells finer
                 (see ``shifts.py`` beside this file): a square for an input with two axes, or a number for each axis
    smooth       standard deviation, in cells of the encoder's own grid, of the Gaussian that the map is smoothed
                 with; 0 for none (see ``smooth.py`` beside this file)
    noise        "independent" draws; "antithetic": eps and -eps in pairs, an odd last one alone
    preset       the name of the settings that stand in for what was not given; or None
    """

    layer: int
    beta: float = 0.1
    variance: float = 1.0
    steps: int = 10
    samples: int = 10
    lr: float = 1.0
    seed: int = 0
    readout: Readout = "last"
    granularity: Granularity = "element"
    standardize: bool = False
    shifts: ShiftCounts = 1
    smooth: float = 0.0
    noise: Noise = "independent"
    preset: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        settings = asdict(self)
        if isinstance(self.shifts, tuple):
            settings["shifts"] = list(self.shifts)
        return settings


def shifts_of(encoder: Encoder, shifts: ShiftCounts) -> Shifts:
    """A setting ``shifts`` that was resolved for this encoder, axis by axis."""
    if encoder.stride is None or shifts == 1:
        return Shifts()
    return Shifts(_by_axis(encoder.modality, shifts, encoder.stride), encoder.stride)


def resolve(encoder: Encoder, modalities: tuple[str, ...], given: Mapping[str, Any]) -> FitSettings:
    """The settings for one encoder out of what the caller gave.

    modalities  all that take part, so that a dict naming another one is an error
    given       name -> value, dict by modality, or None for the preset's or the default

    Raises :class:`SettingError` naming the setting, the value and the range.
    """
    modality = encoder.modality
    unknown = sorted(set(given) - set(FitSettings.__dataclass_fields__))
    if unknown:
        known = list(FitSettings.__dataclass_fields__)
        hint = did_you_mean(unknown[0], known)
        raise SettingError(f"settings: {unknown[0]!r} is unknown{hint} There are {', '.join(known)}")
    own = {name: own_value(name, value, modality, modalities) for name, value in given.items()}
    own = {name: value for name, value in own.items() if value is not None}
    chosen: dict[str, Any] = {
        "layer": encoder.default_layer,
        "beta": encoder.defaults.beta,
        "variance": encoder.defaults.variance,
    }
    chosen |= _preset(encoder, own.get("preset")) | own
    for name in _LOWER.keys() & chosen.keys():
        chosen[name] = _number(name, chosen[name], modality)
    for name in (*_COUNTS, "seed", "layer"):
        if name in chosen:
            chosen[name] = integer(name, chosen[name], modality)
    for name in _COUNTS:
        if name in chosen and chosen[name] < 1:
            raise SettingError(f"{name} for {modality}: {chosen[name]!r} is out of range; it must be >= 1")
    if "seed" in chosen and not 0 <= chosen["seed"] < 2**63:
        raise SettingError(f"seed for {modality}: {chosen['seed']!r} is out of range; it must be >= 0")
    last = len(encoder.blocks) - 1
    if not -1 <= chosen["layer"] <= last:
        raise SettingError(
            f"layer for {modality}: {chosen['layer']!r} is out of range; this encoder has the blocks 0 to {last}, "
            f"and -1 for its embedding output (default {encoder.default_layer})"
        )
    for name, choices in _CHOICES.items():
        if name in chosen and chosen[name] not in choices:
            raise SettingError(
                f"{name} for {modality}: {chosen[name]!r} is unknown; it is {' or '.join(map(repr, choices))}"
            )
    if "standardize" in chosen:
        chosen["standardize"] = _switch("standardize", chosen["standardize"], modality)
    if "shifts" in chosen:
        by_name = "shifts" in own and isinstance(given["shifts"], Mapping)
        try:
            chosen["shifts"] = _shifts(encoder, chosen["shifts"], by_name=by_name)
        except SettingError:
            if "shifts" in own or "shifts" in encoder.presets.get(str(own.get("preset")), {}):
                raise
            chosen["shifts"] = 1  # a preset for all encoders does not suit this one
    if chosen.get("smooth") and encoder.stride is None:
        if "smooth" in own and isinstance(given["smooth"], Mapping):
            raise SettingError(
                f"smooth for {modality}: {chosen['smooth']!r} is not possible; this encoder has no cells of a known "
                "step that a map could be smoothed along; leave it at 0"
            )
        chosen["smooth"] = 0.0
    return FitSettings(**chosen)


_LOWER = {"beta": (0.0, True), "variance": (0.0, False), "lr": (0.0, False), "smooth": (0.0, True)}
_COUNTS = ("steps", "samples")
_CHOICES = {
    "readout": ("last", "final"),
    "granularity": ("element", "token"),
    "noise": ("independent", "antithetic"),
}


def own_value(name: str, value: Any, modality: str, modalities: tuple[str, ...]) -> Any:
    """What was given for this modality; None for nothing."""
    if not isinstance(value, Mapping):
        return value
    strangers = sorted(set(value) - set(modalities), key=str)
    if strangers:
        raise SettingError(
            f"{name}: {strangers[0]!r} is not a modality of this explanation ({', '.join(modalities)})"
        )
    return value.get(modality)


def _preset(encoder: Encoder, name: Any) -> dict[str, Any]:
    """The settings of a preset for this encoder; none without one."""
    if name is None:
        return {}
    known = sorted({*PRESETS, *encoder.presets})
    if name not in known:
        hint = did_you_mean(name, known)
        raise SettingError(
            f"preset for {encoder.modality}: {name!r} is unknown{hint} There is {', '.join(known)}"
        )
    return {**PRESETS.get(name, {}), **encoder.presets.get(name, {})}


def _number(name: str, value: Any, modality: str) -> float:
    lower, inclusive = _LOWER[name]
    bound = f"{'>=' if inclusive else '>'} {lower:g}"
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        raise SettingError(
            f"{name} for {modality}: {value!r} is not a finite number; give one {bound}, or a dict by modality"
        )
    if value < lower or (value == lower and not inclusive):
        raise SettingError(f"{name} for {modality}: {value!r} is out of range; it must be {bound}")
    return float(value)


def integer(name: str, value: Any, modality: str) -> int:
    """A whole number. Raises :class:`SettingError` for anything else."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise SettingError(
            f"{name} for {modality}: {value!r} is not a whole number; give one, or a dict by modality"
        )
    return int(value)


def _switch(name: str, value: Any, modality: str) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise SettingError(
            f"{name} for {modality}: {value!r} is neither True nor False; give one, or a dict by modality"
        )
    return bool(value)


def _shifts(encoder: Encoder, value: Any, *, by_name: bool) -> ShiftCounts:
    """As given, whole numbers >= 1 that suit the encoder; 1 for one that cannot be shifted.

    by_name  whether they were asked of this very modality
    """
    modality = encoder.modality
    several = isinstance(value, Sequence) and not isinstance(value, str)
    counts = tuple(integer("shifts", each, modality) for each in (value if several else [value]))
    if not counts or min(counts) < 1:
        raise SettingError(f"shifts for {modality}: {value!r} is out of range; it must be >= 1")
    if math.prod(counts) == 1:
        return 1
    if encoder.stride is None:
        if by_name:
            raise SettingError(
                f"shifts for {modality}: {value!r} is not possible; this encoder has no cells of a known step that "
                "its input could be shifted within; leave it at 1"
            )
        return 1
    shifts = counts if several else counts[0]
    _by_axis(modality, shifts, encoder.stride)
    return shifts


def _by_axis(modality: str, shifts: ShiftCounts, stride: tuple[int, ...]) -> tuple[int, ...]:
    """The number of shifts along each axis. Raises :class:`SettingError` for what the axes cannot have."""
    axes = len(stride)
    who, kind = f"shifts for {modality}: {shifts!r}", "1 axis" if axes == 1 else f"{axes} axes"
    apart = f"{' and '.join(map(str, stride))} samples apart"
    if isinstance(shifts, int):
        side = round(shifts ** (1 / axes))
        if side**axes != shifts:
            power = {2: "a square", 3: "a cube"}.get(axes, f"a power of {axes}")
            raise SettingError(
                f"{who} is not {power}; this encoder's cells have {kind}: give {2**axes} or {3**axes}, or a number for "
                "each axis"
            )
        counts = (side,) * axes
    else:
        counts = shifts
    if len(counts) != axes:
        raise SettingError(f"{who} are {len(counts)} numbers; this encoder's cells have {kind}, {apart}")
    if any(count > step for count, step in zip(counts, stride, strict=True)):
        raise SettingError(
            f"{who} is too many; this encoder's cells are {apart}, and a shift is by whole samples; "
            f"give a dict by modality, as in shifts={{{modality!r}: {min(stride)}}}"
        )
    return counts
