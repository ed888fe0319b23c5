"""Pairs out of plain tables: CSV with a header, or one JSON object a line.

::

    id,image,text,boxes
    a,photos/a.jpg,a bell beside a train,"[[10, 20, 30, 15, ""bell""]]"

    {"id": "a", "image": "photos/a.jpg", "text": "a bell beside a train", "boxes": [[10, 20, 30, 15, "bell"]]}

Two columns are named by the modalities of the two inputs, ``text_1`` and ``text_2`` where both are texts; columns
of other names can be chosen. A text stands there itself, everything else as the path of its file, from the
table's own folder on. ``id`` and ``boxes``, [x, y, w, h] or [x, y, w, h, label] in pixels of the raw image, may
be left out; other columns are not looked at.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from m2ib.data.cells import boxes_in, file_in, id_in, text_in, utf8
from m2ib.data.files import Table, called, cells_of, lines, listed, open_table, path_of
from m2ib.data.pairs import Pair, Pairs, Row
from m2ib.data.sides import Side, Sides, check_boxes, chosen_sides, modalities_of, named_sides
from m2ib.errors import InputError

_TABS = (".tsv", ".tab")


def open_csv(path: Any, *, columns: Any = None) -> Pairs:
    """A CSV file, or with the suffix .tsv one whose columns are set apart by tabs.

    columns  by modality; None: those that are named by a modality

    Raises :class:`InputError` and :class:`SettingError`.
    """
    path = path_of(path, "path")
    chosen = None if columns is None else chosen_sides(columns)
    table = open_table(path, "\t" if path.suffix.lower() in _TABS else ",")
    sides = named_sides(table.columns, called(path)) if chosen is None else chosen
    table.require([side.column for side in sides])
    located = "boxes" in table.columns
    if located:
        check_boxes(sides, called(path))
    return Pairs(
        path.stem,
        modalities_of(sides),
        partial(_csv_rows, table, sides),
        located=located,
        numbered="id" not in table.columns,
    )


def open_jsonl(path: Any, *, columns: Any = None) -> Pairs:
    """A file with a JSON object on each line.

    columns  keys by modality; None: those that are named by a modality, in the first object that has two

    The file is gone through once, for a line that holds boxes. Raises :class:`InputError` and
    :class:`SettingError`.
    """
    path = path_of(path, "path")
    sides, located = _looked_through(path, None if columns is None else chosen_sides(columns))
    if located:
        check_boxes(sides, called(path))
    return Pairs(path.stem, modalities_of(sides), partial(_jsonl_rows, path, sides), located=located)


def raw_in(value: Any, side: Side, folder: Path) -> Any:
    """One input, out of a cell."""
    if side.inline:
        return text_in(value, side.column)
    return file_in(value, side.column, side.modality, folder)


def _csv_rows(table: Table, sides: Sides) -> Iterator[Row]:
    for number, (place, cells) in enumerate(table.rows()):
        yield Row(place, partial(_csv_pair, cells, number, sides, table.path.parent))


def _csv_pair(cells: dict[str, str] | InputError, number: int, sides: Sides, folder: Path) -> Pair:
    return _pair(cells_of(cells), number, sides, folder)


def _jsonl_rows(path: Path, sides: Sides) -> Iterator[Row]:
    for number, (place, line) in enumerate(lines(path)):
        yield Row(place, partial(_jsonl_pair, line, number, sides, path.parent))


def _jsonl_pair(line: str, number: int, sides: Sides, folder: Path) -> Pair:
    content = _object(line)
    for side in sides:
        if side.column not in content:
            raise InputError(f"it lacks {side.column!r}")
    return _pair(content, number, sides, folder)


def _pair(cells: Mapping[str, Any], number: int, sides: Sides, folder: Path) -> Pair:
    first, second = ((side.modality, raw_in(cells[side.column], side, folder)) for side in sides)
    identity = id_in(cells["id"]) if "id" in cells else str(number)
    return Pair(identity, (first, second), boxes_in(cells.get("boxes")))


def _object(line: str) -> dict[str, Any]:
    utf8(line)
    try:
        content = json.loads(line)
    except json.JSONDecodeError as error:
        raise InputError(f"it is not JSON: {error.msg} at character {error.pos + 1}") from None
    except (ValueError, RecursionError) as error:  # numbers of too many digits, lists in lists in lists
        raise InputError(f"it is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise InputError(f"it is no JSON object but {line!r:.60}")
    return content


def _looked_through(path: Path, sides: Sides | None) -> tuple[Sides, bool]:
    """The two inputs of a JSONL file's pairs, and whether one of its lines holds boxes."""
    who = called(path)
    malformed = lacking = None  # the first error of its kind
    known = None  # the sides, once an object that has them was met
    located = False
    for place, line in lines(path):
        if known and (located or '"boxes"' not in line):
            continue
        try:
            content = _object(line)
        except InputError as error:
            malformed = malformed or InputError(f"{who} is not JSON lines: {place}: {error}")
            continue
        located = located or content.get("boxes") is not None
        try:
            known = known or _sides(content, sides, who)
        except InputError as error:
            lacking = lacking or error
    if known is None:
        raise lacking or malformed or InputError(f"{who} is empty; it needs a JSON object on each line")
    return known, located


def _sides(content: Mapping[str, Any], sides: Sides | None, who: str) -> Sides:
    if sides is None:
        return named_sides(list(content), who)
    lacking = [side.column for side in sides if side.column not in content]
    if lacking:
        raise InputError(f"{who} lacks {listed(lacking)}; its first object has {listed(list(content))}")
    return sides
