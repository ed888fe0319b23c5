"""Whatever people have as many pairs, as rows in order: numbered, named, and each a pair or why it is none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader

from m2ib.api import pair_of
from m2ib.data.cells import id_in, pair_of_row
from m2ib.data.columns import chosen_columns, named_columns
from m2ib.data.formats import open_pairs
from m2ib.data.huggingface import from_datasets, is_dataset
from m2ib.data.loader import loaded_pairs
from m2ib.data.media import raw_of
from m2ib.data.pairs import Pair, Pairs, Row, read_rows
from m2ib.errors import InputError, M2IBError

_HERE = Path()
Inputs = tuple[tuple[str, Any], tuple[str, Any]]


@dataclass(frozen=True, eq=False)
class PairRow:
    """One row.

    number  of it, from 0, the bad ones counted
    id      the pair's own, or its number; its place where that cannot be read, or is another row's
    place   in the data: "line 12", "row 3", ...
    inputs  ((modality, raw), (modality, raw)); None where there are none
    fault   why
    """

    number: int
    id: str
    place: str
    inputs: Inputs | None
    fault: M2IBError | None = None

    @property
    def ids(self) -> tuple[str, str]:
        """What it may be known by: a row that gave no pair before is known by its place."""
        return self.id, self.place

    @property
    def name(self) -> str:
        """In messages."""
        return f"pair {self.number}" + ("" if self.id in (str(self.number), self.place) else f" ({self.id})")


@dataclass(frozen=True)
class PairRows:
    """Rows, gone through once.

    name   of the data
    total  how many there are, if that is known
    """

    name: str
    total: int | None
    rows: Iterator[PairRow]


def rows_of(given: Any, who: str) -> PairRows:
    """Of what :func:`m2ib.open_pairs` takes or gives, a table of pandas, polars or pyarrow, a ``datasets.Dataset``, a DataLoader,
    or any iterable of pairs.

    who  refuses what is none of these

    Raises :class:`InputError`.
    """
    if isinstance(given, (str, PathLike)):
        given = open_pairs(given)
    if isinstance(given, Mapping):
        raise InputError(
            f"{who}: pairs are an iterable of pairs, not a dict; give a list of dicts, or a DataLoader"
        )
    if isinstance(given, DataLoader):
        return PairRows("DataLoader", None, _plain(loaded_pairs(given)))
    if is_dataset(given):
        there = list(getattr(given, "column_names", None) or next(iter(given), {}))
        names = [each.name for each in named_columns(there, who)]
        own = "id" if "id" in there else None
        given = from_datasets(given, dict(zip(names, names, strict=True)), id_column=own)
    if isinstance(given, Pairs):
        return PairRows(given.name, given.total(), _numbered(given.each()))
    if (table := _records(given)) is not None:
        return PairRows("table", len(given), _of_table(*table, who))
    if not isinstance(given, Iterable):
        raise InputError(f"{who}: pairs are an iterable of pairs, not a {type(given).__name__}")
    return PairRows("pairs", len(given) if isinstance(given, Sequence) else None, _plain(given))


def _numbered(found: Iterable[tuple[str, Pair | InputError]]) -> Iterator[PairRow]:
    for number, (place, each) in enumerate(found):
        if isinstance(each, Pair):
            yield PairRow(number, each.id, place, each.inputs)
        else:
            yield PairRow(number, each.pair or place, place, None, each)


def _records(given: Any) -> tuple[list[str], Iterator[Mapping[str, Any]]] | None:
    """Columns and records of a table, whosever it is; None of anything else."""
    columns = getattr(given, "column_names", None) or getattr(given, "columns", None)
    if columns is None or isinstance(given, type):
        return None
    names = [str(each) for each in columns] if not isinstance(columns, str) else []
    if hasattr(given, "iter_rows"):  # polars
        return names, given.iter_rows(named=True)
    if hasattr(given, "itertuples"):  # pandas
        rows = given.itertuples(index=False, name=None)
        return names, (dict(zip(names, row, strict=True)) for row in rows)
    if hasattr(given, "to_batches"):  # pyarrow
        return names, (row for batch in given.to_batches(max_chunksize=1024) for row in batch.to_pylist())
    return None


def _of_table(names: Sequence[str], records: Iterable[Mapping[str, Any]], who: str) -> Iterator[PairRow]:
    columns = named_columns(names, who)

    def read(record: Mapping[str, Any], name: str) -> Pair:
        identity = id_in(record["id"]) if "id" in names else name
        with pair_of_row(identity):
            first, second = (
                (each.modality, raw_of(record[each.name], each, None, _HERE)) for each in columns
            )
            return Pair(identity, (first, second))

    return _read(records, read)


def _plain(pairs: Iterable[Any]) -> Iterator[PairRow]:
    def read(given: Any, name: str) -> Pair:
        if isinstance(given, Pair):
            return given
        if isinstance(given, Mapping) and "id" in given:
            name, given = id_in(given["id"]), {key: value for key, value in given.items() if key != "id"}
        with pair_of_row(name):
            first, second = pair_of(_items(given))
            return Pair(name, (first, second))

    return _read(pairs, read)


def _read(given: Iterable[Any], read: Callable[[Any, str], Pair]) -> Iterator[PairRow]:
    rows = (Row(f"row {number}", partial(read, each, str(number))) for number, each in enumerate(given))
    return _numbered(read_rows(rows))


def _items(pair: Any) -> list[Any]:
    if isinstance(pair, Mapping):
        if len(pair) < 2 or not all(isinstance(name, str) and name for name in pair):
            return list(pair.items())
        two = len(pair) == 2
        columns = chosen_columns({name: name for name in pair}) if two else named_columns([*pair], "a row")
        return [(each.modality, pair[each.name]) for each in columns]
    if isinstance(pair, (list, tuple)):
        return list(pair)
    raise InputError(
        f"explain: a pair is ((modality, raw), (modality, raw)) or a dict of two, not {pair!r:.80}"
    )
