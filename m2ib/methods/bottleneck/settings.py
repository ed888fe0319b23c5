"""The settings of a fit: each declared once, with its type, default, range and help. Free of torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from m2ib.contract.settings import Setting, choice, count, integer, layer, number, preset, switch
from m2ib.errors import SettingError

if TYPE_CHECKING:
    from m2ib.contract.encoder import Encoder

Readout = Literal["last", "final"]
Granularity = Literal["element", "token"]
Noise = Literal["independent", "antithetic"]
ShiftCounts: TypeAlias = int | tuple[int, ...]

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "sharp": {"granularity": "token", "shifts": 4, "smooth": 0.5, "samples": 2},
}
"""Settings that go together, by name. An encoder's own ``presets`` stand over these, and what is given over both."""


_MOST_SHIFTS = 10**6


def _checked_shifts(value: Any, encoder: Encoder) -> ShiftCounts:
    several = isinstance(value, Sequence) and not isinstance(value, str)
    counts = tuple(integer("shifts", each, encoder.modality) for each in (value if several else [value]))
    if not counts or min(counts) < 1:
        raise SettingError(f"shifts for {encoder.modality}: {value!r} is out of range; it must be >= 1")
    if max(counts, default=0) > _MOST_SHIFTS:
        raise SettingError(
            f"shifts for {encoder.modality}: {value!r:.60} is out of range; it must be <= {_MOST_SHIFTS}"
        )
    shifts = counts if several else counts[0]
    if math.prod(counts) == 1:
        return 1
    if encoder.stride is not None and not callable(encoder.stride):  # else once the layer is known
        shifts_by_axis(encoder.modality, shifts, encoder.stride)
    return shifts


def _no_step(purpose: str) -> Callable[[Encoder], str | None]:
    reason = f"this encoder has no cells of a known step that {purpose}"
    return lambda encoder: reason if encoder.stride is None else None


def _declared(setting: Setting, default: Any = MISSING) -> Any:
    """A field that is a setting; ``default`` for one whose own is a function of the encoder."""
    if default is MISSING and not callable(setting.default):
        default = setting.default
    return field(default=default, metadata={"setting": setting})


@dataclass(frozen=True)
class FitSettings:
    """The resolved settings of one bottleneck's fit (Section 3.3 and Appendix of Wang et al. 2023).

    Each field is a declared setting that says what it is; those after ``readout`` are not the paper's. ``shifts`` and
    ``smooth`` are explained in ``shifts.py`` and ``smooth.py`` beside this file, ``standardize`` in
    ``activations/reference.py``.
    """

    layer: int = _declared(layer("the block whose output carries the bottleneck; -1 is the embedding output"))
    beta: float = _declared(
        number(
            "beta",
            "weight of the compression term: the higher, the less of the input is kept",
            lambda encoder: encoder.defaults.beta,
            least=0,
        ),
        0.1,
    )
    variance: float = _declared(
        number(
            "variance",
            "variance of the noise that the bottleneck adds, sigma^2",
            lambda encoder: encoder.defaults.variance,
        ),
        1.0,
    )
    steps: int = _declared(count("steps", "steps of Adam that a fit takes", 10))
    samples: int = _declared(count("samples", "noise draws in each step", 10))
    lr: float = _declared(number("lr", "Adam's learning rate", 1.0))
    seed: int = 0
    readout: Readout = _declared(
        choice(
            "readout",
            '"last": the capacity of the last forward pass, as in the authors\' code; "final": of the final alpha',
            ("last", "final"),
        )
    )
    granularity: Granularity = _declared(
        choice(
            "granularity",
            '"element": a lambda for each channel of each position, as in the paper; "token": one for each position',
            ("element", "token"),
        )
    )
    standardize: bool = _declared(
        switch("standardize", "whether to work on (a - mean) / std, by channel over reference inputs")
    )
    shifts: ShiftCounts = _declared(
        Setting(
            "shifts",
            "sub-cell shifts of the input that the map is averaged over: a square for two axes, or a number for each",
            1,
            _checked_shifts,
            "whole numbers >= 1",
            neutral=1,
            refuse=_no_step("its input could be shifted within"),
        )
    )
    smooth: float = _declared(
        number(
            "smooth",
            "standard deviation of a Gaussian over the map, in cells of the encoder's own grid; 0 for none",
            0.0,
            least=0,
            neutral=0.0,
            refuse=_no_step("a map could be smoothed along"),
        )
    )
    noise: Noise = _declared(
        choice(
            "noise",
            '"independent" draws; "antithetic": eps and -eps in pairs, an odd last one alone',
            ("independent", "antithetic"),
        )
    )
    preset: str | None = _declared(preset(PRESETS, adapted=True))

    def for_maps_alone(self) -> FitSettings:
        """Settings of the very same maps, for whoever looks at nothing else: the last forward pass, after which nothing moves that
        is read out, has its place in the curve alone."""
        if self.readout == "final" or self.steps == 1:
            return self
        return replace(self, steps=self.steps - 1, readout="final")

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        shifts = list(self.shifts) if isinstance(self.shifts, tuple) else self.shifts
        return {**asdict(self), "shifts": shifts}


_FIELDS = fields(FitSettings)
SETTINGS: tuple[Setting, ...] = tuple(each.metadata["setting"] for each in _FIELDS if each.metadata)
"""The declarations of :class:`FitSettings`, in its order."""


def shifts_by_axis(modality: str, shifts: ShiftCounts, stride: tuple[int, ...]) -> tuple[int, ...]:
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
