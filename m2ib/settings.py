"""The settings of a fit: given as numbers or by modality, resolved against the encoder's defaults."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from numbers import Integral, Real
from typing import Any, Literal, TypeAlias, TypeVar

from m2ib.contract import Encoder
from m2ib.errors import SettingError, did_you_mean

T = TypeVar("T")
PerModality: TypeAlias = T | Mapping[str, T] | None
"""A value, or a dict of values by modality; what is left out comes from the encoder's defaults."""

Readout = Literal["last", "final"]


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
    """

    layer: int
    beta: float = 0.1
    variance: float = 1.0
    steps: int = 10
    samples: int = 10
    lr: float = 1.0
    seed: int = 0
    readout: Readout = "last"

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


_LOWER = {"beta": (0.0, True), "variance": (0.0, False), "lr": (0.0, False)}
_COUNTS = ("steps", "samples")


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


def _integer(name: str, value: Any, modality: str) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise SettingError(
            f"{name} for {modality}: {value!r} is not a whole number; give one, or a dict by modality"
        )
    return int(value)


def resolve(encoder: Encoder, modalities: tuple[str, ...], given: Mapping[str, Any]) -> FitSettings:
    """The settings for one encoder out of what the caller gave.

    modalities  all that take part, so that a dict naming another one is an error
    given       name -> value, dict by modality, or None for the default

    Raises :class:`SettingError` naming the setting, the value and the range.
    """
    modality = encoder.modality
    unknown = sorted(set(given) - set(FitSettings.__dataclass_fields__))
    if unknown:
        known = list(FitSettings.__dataclass_fields__)
        hint = did_you_mean(unknown[0], known)
        raise SettingError(f"settings: {unknown[0]!r} is unknown{hint} There are {', '.join(known)}")
    chosen: dict[str, Any] = {
        "layer": encoder.defaults.layer,
        "beta": encoder.defaults.beta,
        "variance": encoder.defaults.variance,
    }
    for name, value in given.items():
        if isinstance(value, Mapping):
            strangers = sorted(set(value) - set(modalities), key=str)
            if strangers:
                raise SettingError(
                    f"{name}: {strangers[0]!r} is not a modality of this explanation ({', '.join(modalities)})"
                )
            value = value.get(modality)
        if value is not None:
            chosen[name] = value
    for name in _LOWER.keys() & chosen.keys():
        chosen[name] = _number(name, chosen[name], modality)
    for name in (*_COUNTS, "seed", "layer"):
        if name in chosen:
            chosen[name] = _integer(name, chosen[name], modality)
    for name in _COUNTS:
        if name in chosen and chosen[name] < 1:
            raise SettingError(f"{name} for {modality}: {chosen[name]!r} is out of range; it must be >= 1")
    if "seed" in chosen and not 0 <= chosen["seed"] < 2**63:
        raise SettingError(f"seed for {modality}: {chosen['seed']!r} is out of range; it must be >= 0")
    last = len(encoder.layers) - 1
    if not -1 <= chosen["layer"] <= last:
        raise SettingError(
            f"layer for {modality}: {chosen['layer']!r} is out of range; this encoder has the blocks 0 to {last}, "
            f"and -1 for its embedding output (default {encoder.defaults.layer})"
        )
    if chosen.get("readout", "last") not in ("last", "final"):
        raise SettingError(
            f"readout for {modality}: {chosen['readout']!r} is unknown; it is 'last' or 'final'"
        )
    return FitSettings(**chosen)
