"""The settings of methods other than the bottleneck: declared, given as a value or by modality, checked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from m2ib.contract.encoder import Encoder
from m2ib.errors import SettingError, did_you_mean
from m2ib.methods.bottleneck.settings import integer, own_value

Default = Any | Callable[[Encoder], Any]


@dataclass(frozen=True)
class Option:
    """One setting of a method.

    name     how it is asked for
    default  a value, or a function of the encoder
    check    (value, encoder) -> the value as the method wants it; raises :class:`SettingError`
    """

    name: str
    default: Default
    check: Callable[[Any, Encoder], Any]


class Options(Mapping[str, Any]):
    """Resolved settings, by name or as attributes."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["_values"][name]
        except KeyError:
            raise AttributeError(name) from None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in self._values.items()}


def count(
    name: str, default: Default, *, least: int = 1, most: Callable[[Encoder], int] | None = None
) -> Option:
    """A whole number of at least ``least``, and at most what the encoder allows."""

    def check(value: Any, encoder: Encoder) -> int:
        number = integer(name, value, encoder.modality)
        if number < least:
            raise SettingError(
                f"{name} for {encoder.modality}: {value!r} is out of range; it must be >= {least}"
            )
        if most is not None and number > most(encoder):
            raise SettingError(
                f"{name} for {encoder.modality}: {value!r} is out of range; it must be <= {most(encoder)}"
            )
        return number

    return Option(name, default, check)


def block(name: str, default: Default) -> Option:
    """One of the encoder's blocks, counted from 0."""
    return count(name, default, least=0, most=lambda encoder: len(encoder.blocks) - 1)


def share(name: str, default: Default) -> Option:
    """A number between 0 and 1, both left out."""

    def check(value: Any, encoder: Encoder) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1:
            raise SettingError(
                f"{name} for {encoder.modality}: {value!r} is out of range; it must be between 0 and 1"
            )
        return float(value)

    return Option(name, default, check)


def choice(name: str, default: Default, choices: Sequence[str]) -> Option:
    """One of these words."""

    def check(value: Any, encoder: Encoder) -> str:
        if value not in choices:
            raise SettingError(
                f"{name} for {encoder.modality}: {value!r} is unknown; it is {' or '.join(map(repr, choices))}"
            )
        return str(value)

    return Option(name, default, check)


def layer(name: str = "layer", default: Default = None, *, optional: bool = False) -> Option:
    """A layer of the encoder, by default its adapter's; ``optional``: or None."""

    def check(value: Any, encoder: Encoder) -> int | None:
        if value is None and optional:
            return None
        number, last = integer(name, value, encoder.modality), len(encoder.blocks) - 1
        if not -1 <= number <= last:
            raise SettingError(
                f"{name} for {encoder.modality}: {value!r} is out of range; this encoder has the blocks 0 to {last}, "
                f"and -1 for its embedding output (default {usual(encoder) if callable(usual) else usual})"
            )
        return number

    usual = default if default is not None or optional else (lambda encoder: encoder.default_layer)
    return Option(name, usual, check)


def _seed(value: Any, encoder: Encoder) -> int:
    number = integer("seed", value, encoder.modality)
    if not 0 <= number < 2**63:
        raise SettingError(f"seed for {encoder.modality}: {value!r} is out of range; it must be >= 0")
    return number


SEED = Option("seed", 0, _seed)


def resolver(
    *options: Option, presets: Mapping[str, Callable[[Encoder], Mapping[str, Any]]] | None = None
) -> Callable[[Encoder, tuple[str, ...], Mapping[str, Any]], Options]:
    """``Method.resolve`` for a method with these settings, its seed, and named presets of them.

    A value that was not given, or is None, is the preset's, else the default.
    """
    known = {option.name: option for option in (*options, SEED)}
    named = presets or {}

    def resolve(encoder: Encoder, modalities: tuple[str, ...], given: Mapping[str, Any]) -> Options:
        modality = encoder.modality
        own = {name: own_value(name, value, modality, modalities) for name, value in given.items()}
        own = {name: value for name, value in own.items() if value is not None}
        preset = own.pop("preset", None)
        if preset is not None and preset not in named:
            there = f" There is {', '.join(named)}" if named else " This method has none"
            raise SettingError(
                f"preset for {modality}: {preset!r} is unknown{did_you_mean(preset, named)}{there}"
            )
        for name in own:
            if name not in known:
                raise SettingError(
                    f"settings: {name!r} is none of this method{did_you_mean(name, known)} "
                    f"It has {', '.join([*known, *(['preset'] if named else [])])}"
                )
        chosen = {} if preset is None else dict(named[preset](encoder))
        values = {}
        for name, option in known.items():
            usual = option.default(encoder) if callable(option.default) else option.default
            value = own.get(name, chosen.get(name, usual))
            values[name] = option.check(value, encoder)
        if preset is not None:
            values["preset"] = preset
        return Options(values)

    return resolve
