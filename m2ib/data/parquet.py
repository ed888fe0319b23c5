"""Pairs out of Parquet: the columns are those of a CSV file, and media may stand in the cells themselves.

A cell is a text, the path of a file (from the Parquet file's own folder on), bytes, Hugging Face's {bytes, path}, or
nested lists of numbers. Rows come a few at a time, and of each file the wanted columns alone are read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np

from m2ib.data.cells import boxes_in, id_in, pair_of_row
from m2ib.data.columns import Folder, InputColumns, check_boxes, chosen_columns, modalities_of, named_columns
from m2ib.data.files import Source, called, check_columns, opened_bytes
from m2ib.data.media import raw_of
from m2ib.data.pairs import Pair, Pairs, Row, refuse
from m2ib.data.shards import labels, shards_of
from m2ib.errors import InputError, SettingError, decoding

SUFFIXES = (".parquet",)
_AT_ONCE = 16  # rows, which may hold a film each
_BUFFER = 2**20  # bytes of a column that are read at once, or one page; without it a whole row group is
_OTHERS = ("id", "boxes")


def open_parquet(path: Any, *, columns: Any = None) -> Pairs:
    """A Parquet file, a folder of them, or a pattern.

    columns  by modality; None: those that are named by a modality in the first file

    Raises :class:`InputError` and :class:`SettingError`.
    """
    chosen = None if columns is None else chosen_columns(columns)
    name, files = shards_of(path, SUFFIXES)
    first = files[0]
    with _parquet(first) as file:
        there = list(file.schema_arrow.names)
    inputs = chosen or named_columns(there, called(first))
    wanted = (*(column.name for column in inputs), *(each for each in _OTHERS if each in there))
    check_columns(there, wanted, called(first))
    if located := "boxes" in there:
        check_boxes(inputs, called(first))
    rows, total = partial(_rows, files, inputs, wanted), partial(_total, files)
    return Pairs(name, modalities_of(inputs), rows, located=located, numbered="id" not in there, total=total)


@contextmanager
def _parquet(path: Source) -> Iterator[Any]:
    """An open ``pyarrow.parquet.ParquetFile``. Raises :class:`InputError`; :class:`SettingError` without pyarrow."""
    try:
        parquet = import_module("pyarrow.parquet")
    except ImportError:
        raise SettingError("data format 'parquet' needs pyarrow: pip install 'm2ib[run]'") from None
    with opened_bytes(path) as file:
        with decoding(called(path), "is no Parquet file that can be read"):
            table = parquet.ParquetFile(file, buffer_size=_BUFFER, pre_buffer=False)
        with table:
            yield table


def _total(files: Sequence[Source]) -> int:
    """As the files say; one that cannot be read is a bad row."""
    total = 0
    for path in files:
        try:
            with _parquet(path) as file:
                total += file.metadata.num_rows
        except InputError:
            total += 1
    return total


def _rows(files: Sequence[Source], inputs: InputColumns, wanted: Sequence[str]) -> Iterator[Row]:
    start = 0  # rows of the files before
    for path, label in zip(files, labels(files), strict=True):
        place, end = f"{label}row 0", start
        try:
            with _parquet(path) as file:
                end += file.metadata.num_rows
                check_columns(file.schema_arrow.names, wanted, called(path))
                for number, (batch, at) in enumerate(_cells(file, path, wanted)):
                    place = f"{label}row {number + 1}"
                    read = partial(_pair, batch, at, start + number, inputs, path.parent)
                    yield Row(f"{label}row {number}", read)
        except InputError as error:
            yield Row(place, partial(refuse, f"{error}; what follows in this file is left out"))
        start = end


def _cells(file: Any, path: Source, wanted: Sequence[str]) -> Iterator[tuple[Any, int]]:
    """For each row, the ``pyarrow.RecordBatch`` that it is in, and where."""
    batches = file.iter_batches(_AT_ONCE, columns=list(wanted))
    while True:
        with decoding(called(path), "is damaged"):
            batch = next(batches, None)
        if batch is None:
            return
        for at in range(len(batch)):
            yield batch, at


def _pair(batch: Any, at: int, number: int, inputs: InputColumns, folder: Folder) -> Pair:
    try:
        cells = {name: batch.column(place)[at].as_py() for place, name in enumerate(batch.schema.names)}
    except UnicodeDecodeError:
        raise InputError("it is not UTF-8 text") from None
    identity = id_in(cells["id"]) if "id" in cells else str(number)
    with pair_of_row(identity):
        first, second = (
            (
                column.modality,
                raw_of(cells[column.name], column, _dtype(batch.schema.field(column.name).type), folder),
            )
            for column in inputs
        )
        return Pair(identity, (first, second), boxes_in(cells.get("boxes")))


def _dtype(kind: Any) -> Any:
    """Of the numbers in nested lists."""
    while hasattr(kind, "value_type"):
        kind = kind.value_type
    try:
        return np.dtype(kind.to_pandas_dtype())
    except (NotImplementedError, TypeError):
        return None
