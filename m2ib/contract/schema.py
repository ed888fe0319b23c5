"""What a value must be: JSON out of a file as the dataclasses that it was, and bounds of numbers and arrays."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, NoReturn, Union, get_args, get_origin, get_type_hints

import numpy as np

from m2ib.errors import AdapterError, M2IBError

LARGEST = 1e30  # sums and products of a few such numbers are numbers still, in float32 sums of many
MOST = (
    2**26
)  # values of anything that is made out of a few numbers, as a map at the size of the model's input
_DEEPEST = 64  # mappings and lists in each other


def read_json(content: bytes) -> Any:
    """What ``content`` holds: each name once, numbers finite, nothing nested deeply.

    Raises ValueError and RecursionError.
    """
    found = json.loads(
        content.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_number, parse_float=_finite
    )
    level, depth = [found], 0
    while level:
        depth += 1
        if depth > _DEEPEST:
            raise ValueError(f"more than {_DEEPEST} mappings and lists in each other")
        inner = (each.values() if isinstance(each, dict) else each for each in level)
        level = [
            part for parts in inner if isinstance(parts, Iterable) for part in parts if not _is_leaf(part)
        ]
    return found


def _is_leaf(value: Any) -> bool:
    return not isinstance(value, (dict, list))


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in found if names.count(name) > 1)
        raise ValueError(f"{twice!r:.60} stands twice in one mapping")
    return found


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no finite number")


def _finite(text: str) -> float:
    return value if math.isfinite(value := float(text)) else _no_number(f"{text:.60}")


_LEAVES: dict[type, set[type]] = {int: {int}, str: {str}, bool: {bool}, float: {float, int}}


def parsed(kind: Any, value: Any, where: str) -> Any:
    """A value of JSON as this type: a dataclass, tuple, mapping, text, number, bool or one of them and None.

    Raises ValueError that says ``where`` and what is expected.
    """
    outer, inner = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if is_dataclass(kind):
        return made(kind, value, where)
    if outer in (Union, UnionType):
        (other,) = (each for each in inner if each is not NoneType)
        return None if value is None else parsed(other, value, where)
    if outer is tuple and isinstance(value, list):
        if inner[1:] == (...,) and inner[0] in _LEAVES and {*map(type, value)} <= _LEAVES[inner[0]]:
            return tuple(value)  # long, most of them
        kinds = inner[:1] * len(value) if inner[1:] == (...,) else inner
        if len(kinds) == len(value):
            both = zip(kinds, value, strict=True)
            return tuple(parsed(each, part, f"{where}[{n}]") for n, (each, part) in enumerate(both))
    elif outer is Mapping and isinstance(value, dict):
        return {name: parsed(inner[1], part, f"{where}.{name:.40}") for name, part in value.items()}
    elif type(value) is kind or (kind is float and type(value) is int):
        return value
    raise ValueError(f"{where} is {value!r:.60}, not {_in_words(kind)}")


def made(kind: Any, value: Any, where: str, **given: Any) -> Any:
    """A dataclass out of a mapping of its fields, but for those that are ``given``; fields with a default may lack.

    Raises ValueError as :func:`parsed` does, and for what the dataclass itself refuses.
    """
    if not isinstance(value, dict):
        raise ValueError(f"{where} is {value!r:.60}, not a mapping")
    known, found = _hints(kind), dict(given)
    for name in value:
        if name not in known or name in given:
            raise ValueError(f"{where} has {name!r:.60}, which does not belong there")
    for field in fields(kind):
        if field.name in value:
            found[field.name] = parsed(known[field.name], value[field.name], f"{where}.{field.name}")
        elif field.name not in given and field.default is MISSING and field.default_factory is MISSING:
            raise ValueError(f"{where} lacks {field.name!r}")
    try:
        return kind(**found)
    except M2IBError as error:
        raise ValueError(f"{where}: {error}") from error


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


_WORDS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}


def _in_words(kind: Any) -> str:
    if get_origin(kind) is tuple:
        inner = get_args(kind)
        return "a list" if inner[1:] == (...,) else f"a list of {len(inner)}"
    return _WORDS.get(kind, "a mapping")


def require(holds: bool, who: str, value: Any, must: str) -> None:
    """Raises :class:`AdapterError` that says who has which value and what it must be, unless it holds."""
    if not holds:
        raise AdapterError(f"{who} is {value!r:.80}; it must be {must}")


def bounded(values: Iterable[float]) -> bool:
    """Whether these are finite numbers that can be reckoned with."""
    return all(abs(value) <= LARGEST for value in values)


def check_array(
    who: str,
    values: Any,
    shape: tuple[int | None, ...] | None = None,
    kinds: str = "fiu",
    *,
    nan: bool = False,
) -> None:
    """Raises :class:`AdapterError` for what is no array of finite numbers of this shape.

    shape  None: any with at least one axis; None in it: any length
    kinds  letters of numpy's kinds of dtype
    nan    whether NaN may be among them
    """
    if not isinstance(values, np.ndarray):
        raise AdapterError(f"{who} is {values!r:.60}, no numpy array")
    if values.dtype.kind not in kinds:
        raise AdapterError(
            f"{who} holds {values.dtype}; it must be {' or '.join(_KINDS[kind] for kind in kinds)}"
        )
    fits = values.ndim > 0
    if shape is not None:
        fits = len(shape) == values.ndim and all(
            a in (None, b) for a, b in zip(shape, values.shape, strict=True)
        )
    if not fits:
        wanted = (
            "an axis" if shape is None else f"({', '.join('any' if n is None else str(n) for n in shape)})"
        )
        raise AdapterError(f"{who} has the shape {values.shape}; it must have {wanted}")
    if values.dtype.kind == "f":
        sizes, limit = np.abs(values), np.float64(LARGEST)  # halves do not reach it
        wrong = (sizes > limit) if nan else ~(sizes <= limit)
        if wrong.any():
            raise AdapterError(
                f"{who} holds {values[wrong][0]}; its values must be finite, {LARGEST:g} at most"
            )


_KINDS = {"f": "floats", "i": "whole numbers", "u": "whole numbers from 0 on"}
