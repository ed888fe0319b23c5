"""Whatever people have as many pairs, as rows in order: numbered, named, and each a pair or why it is none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

from torch.utils.data import DataLoader

from m2ib.api import pair_of
from m2ib.data.cells import id_in
from m2ib.data.columns import named_columns
from m2ib.data.formats import open_pairs
from m2ib.data.huggingface import from_datasets, is_dataset, raw_of
from m2ib.data.loader import loaded_pairs
from m2ib.data.pairs import Pair, Pairs
from m2ib.errors import InputError, M2IBError

Inputs = tuple[tuple[str, Any], tuple[str, Any]]


@dataclass(frozen=True, eq=False)
class PairRow:
    """One row.

    number  of it, from 0, the bad ones counted
    id      the pair's own, or its number; of a row that gives no pair, its place
    inputs  ((modality, raw), (modality, raw)); None where there are none
    fault   why
    """

    number: int
    id: str
    inputs: Inputs | None
    fault: M2IBError | None = None

    @property
    def name(self) -> str:
        """In messages."""
        return f"pair {self.number}" + ("" if self.id == str(self.number) else f" ({self.id})")


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
        columns = named_columns(list(getattr(given, "column_names", None) or next(iter(given), {})), who)
        names = [each.name for each in columns]
        given = from_datasets(
            given,
            dict(zip(names, names, strict=True)),
            id_column="id" if "id" in given.column_names else None,
        )
    if isinstance(given, Pairs):
        return PairRows(given.name, given.total(), _of_pairs(given))
    if (table := _records(given)) is not None:
        return PairRows("table", len(given), _of_table(*table, who))
    if not isinstance(given, Iterable):
        raise InputError(f"{who}: pairs are an iterable of pairs, not a {type(given).__name__}")
    return PairRows("pairs", len(given) if isinstance(given, Sequence) else None, _plain(given))


def _of_pairs(pairs: Pairs) -> Iterator[PairRow]:
    for number, (place, found) in enumerate(pairs.each()):
        if isinstance(found, Pair):
            yield PairRow(number, found.id, found.inputs)
        else:
            yield PairRow(number, place, None, found)


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
    for number, record in enumerate(records):
        name = str(number)
        try:
            name = id_in(record["id"]) if "id" in names else name
            first, second = ((each.modality, raw_of(record[each.name], each)) for each in columns)
            yield PairRow(number, name, (first, second))
        except M2IBError as error:
            yield PairRow(number, f"row {number}" if name == str(number) else name, None, error)


def _plain(pairs: Iterable[Any]) -> Iterator[PairRow]:
    for number, given in enumerate(pairs):
        name = str(number)
        try:
            if isinstance(given, Pair):
                yield PairRow(number, given.id, given.inputs)
                continue
            if isinstance(given, Mapping) and len(given) == 3 and "id" in given:
                name = id_in(given["id"])
                given = {key: value for key, value in given.items() if key != "id"}
            first, second = pair_of(_items(given))
            yield PairRow(number, name, (first, second))
        except M2IBError as error:
            yield PairRow(number, name, None, error)


def _items(pair: Any) -> list[Any]:
    if isinstance(pair, Mapping):
        return list(pair.items())
    if isinstance(pair, (list, tuple)):
        return list(pair)
    raise InputError(
        f"explain: a pair is ((modality, raw), (modality, raw)) or a dict of two, not {pair!r:.80}"
    )
