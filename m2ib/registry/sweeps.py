"""A sweep: which setting of a method is given several values, and which."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from m2ib.errors import SettingError


def swept_of(given: Mapping[str, Any], known: Iterable[str]) -> tuple[str, list[Any]] | None:
    """The setting that is given as a list, or by modality as lists of one length, and its values; None where none is.

    given  keywords; a value that is a list itself is a tuple there
    known  names of the settings that can be swept

    Raises :class:`SettingError`.
    """
    lists = {name: given[name] for name in known if _holds_list(given.get(name))}
    if len(lists) > 1:
        first, second = [*lists][:2]
        raise SettingError(
            f"sweep: {first!r} and {second!r} are both lists; one setting is swept at a time, and a value that is itself a list is "
            f"written as a tuple, as in {second}={_as_tuple(lists[second])}"
        )
    for name, value in lists.items():
        return name, _values(name, value)
    return None


def value_name(name: str, value: Any) -> str:
    """What stands over the maps of one value: "layer 3", or by modality "layer image 3, text 1"."""
    if isinstance(value, Mapping):
        return f"{name} {', '.join(f'{modality} {_text(each)}' for modality, each in value.items())}"
    return f"{name} {_text(value)}"


def _holds_list(value: Any) -> bool:
    return isinstance(value, list) or (
        isinstance(value, Mapping) and any(isinstance(each, list) for each in value.values())
    )


def _values(name: str, value: list[Any] | Mapping[str, Any]) -> list[Any]:
    if isinstance(value, list):
        found: list[Any] = value
    else:
        lengths = {modality: len(each) for modality, each in value.items() if isinstance(each, list)}
        if len({*lengths.values()}) > 1:
            told = " and ".join(f"{count} for {modality}" for modality, count in lengths.items())
            raise SettingError(f"sweep: {name} has {told}; give as many values for each")
        found = [
            {modality: each[n] if isinstance(each, list) else each for modality, each in value.items()}
            for n in range(next(iter(lengths.values())))
        ]
    if not found:
        raise SettingError(f"sweep: {name} has no values; give some, as in {name}=[...]")
    twice = next((each for n, each in enumerate(found) if each in found[:n]), None)
    if twice is not None:
        raise SettingError(f"sweep: {value_name(name, twice)} is there twice; leave one out")
    return found


def _as_tuple(value: Any) -> str:
    if isinstance(value, Mapping):
        return str(
            {modality: tuple(each) if isinstance(each, list) else each for modality, each in value.items()}
        )
    return str(tuple(value))


def _text(value: Any) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "x".join(map(_text, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
