"""Rows in Parquet shards, asked by DuckDB: in bounded memory, whatever is asked."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from m2ib.errors import M2IBError, OutOfMemoryError, SettingError, StorageError, did_you_mean, one_line
from m2ib.folders import sound
from m2ib.folders.files import regular
from m2ib.paths import is_text
from m2ib.results.rows import ASKED_FOR, ROWS, schema

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

_MEMORY, _THREADS = "512MB", 4
_READ = 64  # rows that are given at once
_SORTED, _TAKEN = (
    1024,
    2**15,
)  # rows that DuckDB sorts whole, and more of them that are looked up by their places at once
SHARD = "filename"  # a column besides those of the rows
_FORMS = {  # what is SQL both by itself and between others closes no bracket and no statement around it
    "condition": ("select 1 where\n{}", "select 1 where ({}\n)", "similarity < .2"),
    "order": ("select 1 order by\n{}", "select 1 from (select 1 order by {}\n, 1)", "similarity desc"),
}
_NO_COLUMN = re.compile(r'Referenced column "(.*?)" (was )?not found')


@dataclass(frozen=True)
class Source:
    """The rows of a run.

    folder  of the run
    schema  of the rows, which is that of all its shards
    """

    folder: Path
    schema: pa.Schema


def require_arrow(who: str) -> None:
    """Raises :class:`SettingError` naming what to install where what tables are made by is missing."""
    try:
        import duckdb  # noqa: F401
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise SettingError(
            f"{who}: it needs {error.name or 'pyarrow'}, which cannot be imported: pip install 'm2ib[run]'"
        ) from error


@contextmanager
def asking(source: Source, said: str) -> Iterator[None]:
    """What DuckDB raises inside, as ours.

    said  what was asked, in messages

    Raises :class:`StorageError` for a damaged shard, :class:`OutOfMemoryError`, and :class:`SettingError` for the rest.
    """
    import duckdb
    import pyarrow as pa

    try:
        yield
    except M2IBError:
        raise
    except (pa.ArrowException, OSError, ValueError) as error:  # a text that is none
        raise StorageError(f"{str(source.folder)!r} cannot be read: {one_line(error)}") from error
    except duckdb.OutOfMemoryException as error:
        raise OutOfMemoryError(
            f"results: {said} needs more memory than {_MEMORY}; ask for fewer columns or rows"
        ) from error
    except duckdb.Error as error:
        _check_shards(source)
        what = _what(error, source.schema.names)
        if type(error) in (duckdb.Error, duckdb.IOException):  # of what it read
            raise StorageError(f"{str(source.folder)!r} cannot be read: {what}") from error
        raise SettingError(f"results: {said} cannot be asked: {what}") from error


def _what(error: Exception, columns: Sequence[str] = ()) -> str:
    """What DuckDB says, without the SQL that it was given."""
    import duckdb

    if isinstance(error, duckdb.PermissionException):
        return "it reads something else than the rows of this folder; ask for what is in them"
    if missing := _NO_COLUMN.search(str(error)):
        return no_column(missing[1], columns)
    return one_line(Exception(str(error).split("\nLINE")[0]))


def no_column(name: str, known: Sequence[str]) -> str:
    """How an error goes on about a name that is none of a column."""
    option = next((each for each in ASKED_FOR if name in schema({each: True}).names), None)
    if option is not None:
        return f"there is no column {name!r}: it is of a run with {option}= (--{option})"
    return f"there is no column {name!r:.60}{did_you_mean(name, known)} There are {', '.join(known)}"


def check_sql(text: str, kind: str) -> None:
    """Raises :class:`SettingError` for what is no "condition", or no "order", by itself."""
    import duckdb

    *forms, usual = _FORMS[kind]
    what = "" if text.strip() else "it is empty"
    if not is_text(text):
        what = "it holds half a character (a lone surrogate)"
    try:
        for form in forms if not what else ():
            duckdb.connect().extract_statements(form.format(text))
    except duckdb.Error as error:
        what = _what(error)
    if what:
        raise SettingError(
            f"results: the {kind} {text!r:.120} cannot be asked: {what}; give one as {usual!r}, or leave it out"
        )


def shards(folder: Path) -> list[Path]:
    """Of a run's folder, in order. Raises :class:`StorageError`."""
    return regular(folder, f"{ROWS}/*.parquet")


def ask(
    source: Source, select: str, condition: str = "", end: str = "", values: Sequence[Any] = ()
) -> duckdb.DuckDBPyRelation:
    """``select ... from the rows where condition end``, nothing of it read yet, and nothing but the shards to be read. Raises as DuckDB does."""
    import duckdb

    connection = duckdb.connect(
        config={
            "memory_limit": _MEMORY,
            "threads": min(_THREADS, os.cpu_count() or 1),
            "temp_directory": str(Path(tempfile.gettempdir()) / f"m2ib-duckdb-{os.getpid()}"),
            "autoinstall_known_extensions": "false",
            "python_enable_replacements": "false",
        }
    )
    files = ", ".join("'{}'".format(str(path).replace("'", "''")) for path in shards(source.folder))
    connection.execute(f"set allowed_paths = [{files}]::varchar[]")
    connection.execute("set enable_external_access = false")
    connection.execute("set lock_configuration = true")
    rows = f"read_parquet([{files}], {SHARD}=true, file_row_number=true)"
    if not files:
        connection.register("empty", _empty(source.schema))
        rows = f"(select *, '' as {SHARD}, 0 as file_row_number from empty)"
    return connection.sql(
        f"select {select} from {rows} where {condition or 'true'} {end}", params=[*values] or None
    )


def _empty(schema: pa.Schema) -> pa.Table:
    """Of no rows; DuckDB takes no float16 but out of a file, where it makes float32 of it."""
    import pyarrow as pa

    halves, singles = pa.list_(pa.float16()), pa.list_(pa.float32())
    fields = [field.with_type(singles) if field.type == halves else field for field in schema]
    return pa.schema(fields).empty_table()


def batches(
    source: Source, columns: Sequence[str], condition: str, order: str, most: int | None
) -> Iterator[pa.RecordBatch]:
    """The rows, a few at a time. Raises as DuckDB does.

    columns  all where there are none, and which shard
    order    SQL; "": as they lie there
    most     the first so many; None: all
    """
    end = (f"order by {order} " if order else "") + ("" if most is None else f"limit {most}")
    if order and (most is None or most > _SORTED):
        yield from _by_place(source, columns, condition, end)
        return
    names = ", ".join(f'"{each}"' for each in columns) or "* exclude (file_row_number)"
    yield from ask(source, names, condition, end).to_arrow_reader(_READ)


def _by_place(source: Source, columns: Sequence[str], condition: str, end: str) -> Iterator[pa.RecordBatch]:
    """Sorted rows, of which no more than their places are kept, and the rest of some thousands at a time."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    files, names = shards(source.folder), pa.array(map(str, shards(source.folder)))
    found = [
        np.stack([pc.index_in(batch[0], names).to_numpy(), batch[1].to_numpy()]).astype(np.int32)
        for batch in ask(source, f"{SHARD}, file_row_number", condition, end).to_arrow_reader(2**16)
    ]
    places = np.concatenate([np.zeros((2, 0), np.int32), *found], 1)  # (2, rows): the shard, and where in it
    for start in range(0, places.shape[1], _TAKEN):
        shard, row = places[:, start : start + _TAKEN]
        parts, order = [], []
        for number in np.unique(shard).tolist():
            mine = np.flatnonzero(shard == number)
            with sound(files[number]):
                table = pq.read_table(files[number], columns=[*columns] or None, partitioning=None)
            table = table.take(pa.array(row[mine]))
            if not columns:
                table = table.append_column(SHARD, pa.array([str(files[number])] * len(mine)))
            parts.append(table)
            order.append(mine)
        place = np.argsort(np.concatenate(order))
        yield from pa.concat_tables(parts).take(pa.array(place)).to_batches(_READ)


def _check_shards(source: Source) -> None:
    """Raises :class:`StorageError` for one that is no Parquet file, was cut off, or has other columns than a run's."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    for path in shards(source.folder):
        try:
            found = pq.read_schema(path)
            for field in source.schema:
                if field.name not in found.names or found.field(field.name).type != field.type:
                    raise ValueError(f"it has no column {field.name!r} of {field.type}")
        except (OSError, ValueError, pa.ArrowException) as error:
            raise StorageError(
                f"{str(path)!r} is damaged ({one_line(error)}); bring it back, or begin anew with --force"
            ) from error
