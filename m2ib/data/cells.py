"""What a row of a file holds, checked one by one. What is wrong is an :class:`InputError` with the reason."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from m2ib.errors import InputError

if TYPE_CHECKING:
    from m2ib.contract.regions import Box


class NamedBytes(io.BytesIO):
    """What a file holds, and its name: taken by every kind of input that comes in files, as that file would be."""

    def __init__(self, content: bytes, name: str) -> None:
        super().__init__(content)
        self.name = name


@contextmanager
def pair_of_row(identity: str) -> Iterator[None]:
    """What is wrong inside is wrong with this pair."""
    try:
        yield
    except InputError as error:
        error.pair = identity
        raise


def utf8(text: str) -> str:
    """The same. Raises :class:`InputError` for one that held bytes that are not UTF-8."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise InputError("it is not UTF-8 text") from None
    return text


def text_in(value: Any, column: str) -> str:
    """A text that says something."""
    if value is None or (isinstance(value, str) and not value.strip()):
        raise InputError(f"its {column} is empty")
    if not isinstance(value, str):
        raise InputError(f"its {column} is no text but {value!r:.60}")
    return utf8(value)


def existing(candidates: Sequence[Path], what: str) -> Path:
    """The first of the candidates that is a file. ``what`` it is: "image", ..."""
    for path in candidates:
        if os.path.isfile(path):
            return path
    raise InputError(f"there is no {what} {str(candidates[0])!r}")


def id_in(value: Any) -> str:
    """An id: a text or a whole number."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return text_in(value, "id")


def boxes_in(value: Any) -> tuple[Box, ...]:
    """A list of [x, y, w, h] or [x, y, w, h, label], or its JSON; an empty cell holds none."""
    given = value
    if isinstance(value, str) and value.strip():
        try:
            given = json.loads(value)
        except (ValueError, RecursionError):
            given = value
    if given is None or given == "" or given == []:
        return ()
    if not isinstance(given, list):
        raise InputError(
            f"its boxes are no JSON list of [x, y, w, h] or [x, y, w, h, label] but {value!r:.60}"
        )
    from m2ib.data.boxes import boxes_of

    try:
        return boxes_of(given)
    except OverflowError:
        raise InputError(f"its boxes hold numbers that are too large: {given!r:.60}") from None


def box_of(numbers: Sequence[Any], label: str) -> Box:
    """(x, y, width, height) as a box."""
    try:
        (box,) = boxes_in([[*numbers, label]])
    except InputError as error:
        raise InputError(str(error).removeprefix("box 0: ")) from None
    return box
