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
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from m2ib.data.cells import boxes_in, id_in, pair_of_row, utf8
from m2ib.data.columns import Folder, InputColumns, check_boxes, chosen_columns, modalities_of, named_columns
from m2ib.data.files import Source, called, cells_of, lines, listed, open_table, source_of
from m2ib.data.pairs import Pair, Pairs, Row, count_rows
from m2ib.errors import InputError

_TABS = (".tsv", ".tab")


def open_csv(path: Any, *, columns: Any = None) -> Pairs:
    """A CSV file, or with the suffix .tsv one whose columns are set apart by tabs.

    columns  by modality; None: those that are named by a modality

    Raises :class:`InputError` and :class:`SettingError`.
    """
    path = source_of(path, "path")
    chosen = None if columns is None else chosen_columns(columns)
    table = open_table(path, "\t" if path.suffix.lower() in _TABS else ",")
    inputs = chosen or named_columns(table.columns, called(path))
    table.require([column.name for column in inputs])
    located, numbered = "boxes" in table.columns, "id" not in table.columns
    return _pairs(path, inputs, partial(_rows, table.rows, cells_of), located, numbered)


def open_jsonl(path: Any, *, columns: Any = None) -> Pairs:
    """A file with a JSON object on each line.

    columns  keys by modality; None: those that are named by a modality, in the first object that has two

    The file is gone through once, for a line that holds boxes. Raises :class:`InputError` and
    :class:`SettingError`.
    """
    path = source_of(path, "path")
    inputs, located = _looked_through(path, None if columns is None else chosen_columns(columns))
    return _pairs(path, inputs, partial(_rows, partial(lines, path), _object), located, False)


def _pairs(
    path: Source, inputs: InputColumns, rows: Callable[..., Any], located: bool, numbered: bool
) -> Pairs:
    if located:
        check_boxes(inputs, called(path))
    rows = partial(rows, inputs, path.parent)
    total = partial(count_rows, rows)
    return Pairs(path.stem, modalities_of(inputs), rows, located=located, numbered=numbered, total=total)


def _rows(found: Callable[[], Any], cells_in: Callable[[Any], Any], *where: Any) -> Iterator[Row]:
    """found: gives (place, content); cells_in: by column, what a content holds."""
    for number, (place, content) in enumerate(found()):
        yield Row(place, partial(_pair, cells_in, content, number, *where))


def _pair(
    cells_in: Callable[[Any], Any], content: Any, number: int, inputs: InputColumns, folder: Folder
) -> Pair:
    cells = cells_in(content)
    identity = id_in(cells["id"]) if "id" in cells else str(number)
    with pair_of_row(identity):
        for column in inputs:
            if column.name not in cells:
                raise InputError(f"it lacks {column.name!r}")
        first, second = ((column.modality, column.raw(cells[column.name], folder)) for column in inputs)
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


def _looked_through(path: Source, inputs: InputColumns | None) -> tuple[InputColumns, bool]:
    """The two inputs of a JSONL file's pairs, and whether one of its lines holds boxes."""
    who = called(path)
    malformed = lacking = None  # the first error of its kind
    known = None  # the inputs, once an object that has them was met
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
            known = known or _inputs(content, inputs, who)
        except InputError as error:
            lacking = lacking or error
    if known is None:
        raise lacking or malformed or InputError(f"{who} is empty; it needs a JSON object on each line")
    return known, located


def _inputs(content: Mapping[str, Any], inputs: InputColumns | None, who: str) -> InputColumns:
    if inputs is None:
        return named_columns(list(content), who)
    lacking = [column.name for column in inputs if column.name not in content]
    if lacking:
        raise InputError(f"{who} lacks {listed(lacking)}; its first object has {listed(list(content))}")
    return inputs
