"""Settings of methods: each declared once, where its method is registered; given as a value or by modality, checked here.

Listings, flags of the command line and their help, refusals and the documentation come from the declarations. Free of torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

from m2ib.errors import SettingError, did_you_mean

if TYPE_CHECKING:
    from m2ib.contract.encoder import Encoder

Default = Any  # a value, or a function of the encoder
Presets = Mapping[str, Mapping[str, Any]]

_MANY = 10**6  # of anything that is made one after the other, or held at once
_LARGEST = 1e30  # so that float32 also holds what is computed with it


@dataclass(frozen=True)
class Setting:
    """One setting of a method.

    name     how it is asked for
    help     what it is, in a line
    default  a value, or a function of the encoder; None: it may be left out
    check    (value, encoder) -> the value as the method wants it; raises :class:`SettingError`
    kind     the values it takes, in words: "a number >= 0"
    neutral  the value that changes nothing, for encoders that cannot have another
    refuse   why an encoder cannot have another value than the neutral one; None where it can
    presets  of the setting "preset": settings that go together, by name; each a value or a function of the encoder
    adapted  of the setting "preset": whether an encoder's own presets stand over these
    """

    name: str
    help: str
    default: Default = None
    check: Callable[[Any, Encoder], Any] = lambda value, encoder: value
    kind: str = ""
    neutral: Any = None
    refuse: Callable[[Encoder], str | None] = lambda encoder: None
    presets: Presets | None = field(default=None, hash=False)
    adapted: bool = False

    def default_for(self, encoder: Encoder) -> Any:
        """The value where none is given."""
        return self.default(encoder) if callable(self.default) else self.default

    @property
    def default_text(self) -> str:
        """The default in words."""
        return (
            "by encoder" if callable(self.default) else "none" if self.default is None else repr(self.default)
        )


def count(
    name: str, help: str, default: Default, *, least: int = 1, most: Callable[[Encoder], int] | None = None
) -> Setting:
    """A whole number of at least ``least``, and at most what the encoder allows, or a million."""

    def check(value: Any, encoder: Encoder) -> int:
        number = integer(name, value, encoder.modality)
        if number < least:
            raise _out_of_range(name, value, encoder, f">= {least}")
        highest = _MANY if most is None else most(encoder)
        if number > highest:
            raise _out_of_range(name, value, encoder, f"<= {highest}")
        return number

    return Setting(name, help, default, check, f"a whole number >= {least}")


def number(
    name: str,
    help: str,
    default: Default,
    *,
    least: float | None = None,
    above: float = 0.0,
    neutral: Any = None,
    refuse: Callable[[Encoder], str | None] = lambda encoder: None,
) -> Setting:
    """A number of at least ``least``, or greater than ``above``, and no more than float32 can work with."""
    bound = f"> {above:g}" if least is None else f">= {least:g}"

    def check(value: Any, encoder: Encoder) -> float:
        whole = isinstance(value, Integral)  # of any length, which isfinite does not take
        if isinstance(value, bool) or not isinstance(value, Real) or not (whole or math.isfinite(value)):
            raise SettingError(
                f"{name} for {encoder.modality}: {value!r} is not a finite number; give one {bound}, or a dict by modality"
            )
        if value <= above if least is None else value < least:
            raise _out_of_range(name, value, encoder, bound)
        if value > _LARGEST:  # type: ignore[operator]
            raise _out_of_range(name, value, encoder, f"{bound} and at most {_LARGEST:g}")
        return float(value)

    return Setting(name, help, default, check, f"a number {bound}", neutral, refuse)


def share(name: str, help: str, default: Default) -> Setting:
    """A number between 0 and 1, both left out."""

    def check(value: Any, encoder: Encoder) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1:
            raise _out_of_range(name, value, encoder, "between 0 and 1")
        return float(value)

    return Setting(name, help, default, check, "a number between 0 and 1")


def choice(name: str, help: str, choices: Sequence[str], default: Default = None) -> Setting:
    """One of these words, by default the first."""
    words = " or ".join(map(repr, choices))

    def check(value: Any, encoder: Encoder) -> str:
        if value not in choices:
            raise SettingError(f"{name} for {encoder.modality}: {value!r} is unknown; it is {words}")
        return str(value)

    return Setting(name, help, choices[0] if default is None else default, check, words)


def switch(name: str, help: str) -> Setting:
    """True or False, by default False."""

    def check(value: Any, encoder: Encoder) -> bool:
        if type(value).__name__ not in ("bool", "bool_"):  # numpy's too
            raise SettingError(
                f"{name} for {encoder.modality}: {value!r} is neither True nor False; give one, or a dict by modality"
            )
        return bool(value)

    return Setting(name, help, False, check, "True or False")


def block(name: str, help: str, default: Default) -> Setting:
    """One of the encoder's blocks, counted from 0."""
    return count(name, help, default, least=0, most=lambda encoder: len(encoder.blocks) - 1)


def layer(help: str, default: Callable[[Encoder], int] | None = None) -> Setting:
    """A layer of the encoder, by default its adapter's."""
    usual = default or (lambda encoder: encoder.default_layer)

    def check(value: Any, encoder: Encoder) -> int:
        number = integer("layer", value, encoder.modality)
        if number < -1:
            raise _out_of_range("layer", value, encoder, ">= -1, which is the embedding output")
        last = len(encoder.blocks) - 1
        if number > last:
            raise SettingError(
                f"layer for {encoder.modality}: {value!r} is out of range; this encoder has the blocks 0 to {last}, "
                f"and -1 for its embedding output (default {usual(encoder)})"
            )
        return number

    return Setting("layer", help, usual, check, "a whole number >= -1")


def preset(presets: Presets, *, adapted: bool = False) -> Setting:
    """Settings that go together, by name; what is given stands over them."""
    words = ", ".join(map(repr, presets))
    return Setting("preset", "settings that go together", kind=words, presets=presets, adapted=adapted)


def _seed(value: Any, encoder: Encoder) -> int:
    number = integer("seed", value, encoder.modality)
    if not 0 <= number < 2**63:
        raise _out_of_range("seed", value, encoder, ">= 0" if number < 0 else "< 2**63")
    return number


SEED = Setting("seed", "of the random numbers", 0, _seed, "a whole number >= 0")


TARGETS = ("similarity", "centred")


def _target(value: Any, encoder: Encoder) -> Any:
    if callable(value) or (isinstance(value, str) and value in TARGETS):
        return value
    words = " or ".join(map(repr, TARGETS))
    hint = did_you_mean(value, TARGETS) if isinstance(value, str) else "."
    raise SettingError(
        f"target for {encoder.modality}: {value!r:.60} is unknown{hint} It is {words}, a contrast or an ensemble that begins "
        "with one of the two inputs, or a function (embeddings, other) -> (N,)"
    )


TARGET = Setting(
    "target",
    'what a map explains: the "similarity" to the other input, or "centred": that, less the mean similarity to usual inputs of '
    "the other kind",
    lambda encoder: encoder.defaults.target,
    _target,
    " or ".join(map(repr, TARGETS)),
)
"""Of every method, in addition to its own."""


def resolve(
    declared: Sequence[Setting],
    encoder: Encoder,
    modalities: tuple[str, ...],
    given: Mapping[str, Any],
    method: str = "",
) -> dict[str, Any]:
    """The settings of a method for one encoder, by name: what was given, else the preset's, else the default.

    declared    the method's; its seed is added
    modalities  all that take part, so that a dict naming another one is an error
    given       name -> value, dict by modality, or None for nothing; names are declared ones, or "seed"
    method      its name, for what the encoder's defaults say of it

    Raises :class:`SettingError` naming the setting, the value and the range.
    """
    known = {each.name: each for each in sorted((*declared, SEED), key=lambda each: each.presets is not None)}
    own = {name: own_value(name, value, encoder.modality, modalities) for name, value in given.items()}
    own = {name: value for name, value in own.items() if value is not None}
    general, adapted = _preset(known, encoder, own.get("preset"))
    found: dict[str, Any] = {}
    for name, setting in known.items():
        default = encoder.defaults.methods.get(method, {}).get(name, setting.default_for(encoder))
        value = own.get(name, adapted.get(name, general.get(name, default)))
        if value is None:
            continue
        try:
            value = setting.check(value, encoder)
        except SettingError:
            if name in own or name in adapted or name not in general:
                raise
            value = default  # a preset for all encoders does not suit this one
        by_name = name in own and isinstance(given[name], Mapping)
        found[name] = _possible(setting, value, encoder, by_name=by_name)
    return found


class _Unloaded:
    """In place of an encoder whose model is not loaded: its modality is known, and whatever else is asked of it is not."""

    def __init__(self, modality: str) -> None:
        self.modality = modality

    def __getattr__(self, name: str) -> Any:
        raise LookupError(name)


def check_unloaded(
    declared: Sequence[Setting],
    modality: str,
    modalities: tuple[str, ...],
    given: Mapping[str, Any],
    presets: Collection[str] | None,
) -> None:
    """What is wrong with given settings whatever the encoder is, as :func:`resolve` tells it once there is one.

    given    names are declared ones, or "seed"
    presets  names that the encoder may have presets of its own by; None: not told

    Raises :class:`SettingError`.
    """
    known = {each.name: each for each in (*declared, SEED)}
    for name, value in given.items():
        value = own_value(name, value, modality, modalities)
        if value is None:
            continue
        setting = known[name]
        if setting.presets is not None and not (setting.adapted and presets is None):
            of_encoder = presets if setting.adapted and presets else ()
            _check_preset(value, {*setting.presets, *of_encoder}, modality)
        try:
            setting.check(value, _Unloaded(modality))  # type: ignore[arg-type]
        except SettingError:
            raise
        except Exception:  # the rest depends on the encoder
            continue


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


def integer(name: str, value: Any, modality: str) -> int:
    """A whole number. Raises :class:`SettingError` for anything else."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise SettingError(
            f"{name} for {modality}: {value!r} is not a whole number; give one, or a dict by modality"
        )
    return int(value)


def _possible(setting: Setting, value: Any, encoder: Encoder, *, by_name: bool) -> Any:
    """The value, or the neutral one where the encoder can have no other and none was asked of its very modality."""
    reason = None if value == setting.neutral else setting.refuse(encoder)
    if reason is None:
        return value
    if by_name:
        raise SettingError(
            f"{setting.name} for {encoder.modality}: {value!r} is not possible; {reason}; leave it at {setting.neutral:g}"
        )
    return setting.neutral


def _preset(
    known: Mapping[str, Setting], encoder: Encoder, name: Any
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The settings of a preset: those for all encoders, and this encoder's own."""
    if name is None:
        return {}, {}
    presets, of_encoder = known["preset"].presets or {}, encoder.presets if known["preset"].adapted else {}
    _check_preset(name, {*presets, *of_encoder}, encoder.modality)
    general = {key: v(encoder) if callable(v) else v for key, v in presets.get(name, {}).items()}
    return general, of_encoder.get(name, {})


def _check_preset(name: Any, known: Collection[str], modality: str) -> None:
    if name not in known:
        raise SettingError(
            f"preset for {modality}: {name!r} is unknown{did_you_mean(name, known)} There is {', '.join(sorted(known))}"
        )


def _out_of_range(name: str, value: Any, encoder: Encoder, bound: str) -> SettingError:
    return SettingError(f"{name} for {encoder.modality}: {value!r:.40} is out of range; it must be {bound}")
