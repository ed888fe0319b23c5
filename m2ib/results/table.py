"""The results of a run: rows in Parquet, asked by DuckDB, and explanations back.

>>> table = m2ib.results.open("results/")
>>> table.summary().errors
>>> table.where("similarity < .2").sort("similarity")["17"].to_html("17.html")
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from m2ib.contract.attribution import Attribution
from m2ib.contract.schema import parsed, read_json
from m2ib.errors import InputError, SettingError, StorageError
from m2ib.folders import sound
from m2ib.page.cards import Card, write_cards
from m2ib.paths import local_path
from m2ib.renderers.view_storage import stored_bytes
from m2ib.results.explanation import Explanation
from m2ib.results.query import SHARD, Source, ask, asking, batches, check_sql, no_column, require_arrow
from m2ib.results.restoring import Restoring
from m2ib.results.rows import MANIFEST, Row, RowSide, schema
from m2ib.results.summary import Summary

if TYPE_CHECKING:
    import pyarrow as pa

    from m2ib.contract.model import Model

_FIRST = 100  # rows of an overview
_LONGEST_MANIFEST = 2**23  # bytes


@dataclass(frozen=True)
class _Asked:
    model: Mapping[str, Any]
    methods: Mapping[str, Any]
    options: Mapping[str, Any]
    versions: Mapping[str, Any]


@dataclass(frozen=True)
class _Manifest:
    """What a run writes into :data:`MANIFEST`."""

    format: int
    fingerprint: str
    asked: _Asked
    data: str
    provenance: Mapping[str, Any]
    recipe: Mapping[str, Any] | None
    batch_sizes: tuple[int, ...] = ()


@dataclass(frozen=True)
class ResultTable:
    """Rows of a run's folder, all or some of them, as they lie there or sorted. Nothing is read until it is asked for.

    folder    of the run
    manifest  what was asked, of which model
    clauses   SQL: conditions that hold of the rows
    order     SQL; "": none
    most      the first so many; None: all
    """

    folder: Path
    manifest: Mapping[str, Any]
    clauses: tuple[str, ...] = ()
    order: str = ""
    most: int | None = None

    def where(self, condition: str) -> ResultTable:
        """Those rows of which a condition of DuckDB's SQL holds: ``similarity < .2 and error is null``. It reads no file but the rows.

        Raises :class:`SettingError`.
        """
        check_sql(condition, "condition")
        made = replace(self, clauses=(*self.clauses, condition))
        made._fetch("count(*)", "limit 0")
        return made

    def sort(self, by: str) -> ResultTable:
        """By columns or expressions of DuckDB's SQL: ``similarity desc``. Raises :class:`SettingError`."""
        check_sql(by, "order")
        made = replace(self, order=by)
        made._fetch("1", f"order by {made._order} limit 0")
        return made

    def head(self, count: int) -> ResultTable:
        """The first so many."""
        return replace(self, most=count if self.most is None else min(count, self.most))

    def __len__(self) -> int:
        count = int(self._fetch("count(*)")[0][0])
        return count if self.most is None else min(count, self.most)

    def __iter__(self) -> Iterator[Row]:
        """Each row as a dict by column."""
        for row in self.records():
            del row[SHARD]
            yield row

    def records(self, *columns: str) -> Iterator[Row]:
        """Some columns of each row, or all of them and the shard that it lies in. Raises :class:`SettingError`."""
        self._check_columns(columns)
        with asking(self._source, self._said):
            for batch in batches(self._source, columns, self._condition, self._order, self.most):
                yield from batch.to_pylist()

    def to_arrow(self, *columns: str) -> pa.Table:
        """Some columns, or all of them, as a table of pyarrow. Raises :class:`SettingError`."""
        import pyarrow as pa

        self._check_columns(columns)
        known = self._source.schema
        names = list(columns or known.names)
        with asking(self._source, self._said):
            found = [*batches(self._source, names, self._condition, self._order, self.most)]
        return pa.Table.from_batches(found, None if found else pa.schema([known.field(n) for n in names]))

    def kinds(self) -> list[Row]:
        """Each pair of modalities that was explained, and how many axes their maps have, as modality_1, axes_1, ...."""
        wanted = ("modality_1", "modality_2", "len(shape_1)", "len(shape_2)")
        found = self._fetch(", ".join(wanted), "group by all order by min(number)", "error is null")
        return [
            dict(zip(("modality_1", "modality_2", "axes_1", "axes_2"), each, strict=True)) for each in found
        ]

    def row(self, id: str, method: str | None = None) -> Row:
        """One row. Raises :class:`InputError` where there is none, or one by each of several methods."""
        row = self._row(id, method)
        del row[SHARD]
        return row

    def _row(self, id: str, method: str | None) -> Row:
        values = [id] + ([method] if method is not None else [])
        condition = f"{self._condition} and id = ?" + ("" if method is None else " and method = ?")
        with asking(self._source, self._said):
            asked = ask(self._source, "* exclude (file_row_number)", condition, values=values)
            found: list[Row] = asked.to_arrow_table().to_pylist()
        if not found:
            raise InputError(f"results: there is no pair {id!r:.80}" + (f" by {method!r}" if method else ""))
        if len(found) > 1:
            methods = ", ".join(sorted(each["method"] for each in found))
            raise InputError(
                f"results: the pair {id!r:.80} was explained by {methods}; name one of them as method"
            )
        return found[0]

    def __getitem__(self, id: str) -> Explanation:
        """The explanation of a pair, see :meth:`explanation`."""
        return self.explanation(id)

    def explanation(
        self, id: str, method: str | None = None, *, model: Model | Callable[[], Model] | None = None
    ) -> Explanation:
        """A pair's explanation, its numbers as float16 holds them. The curves of the fit are there, the capacities are not.

        model  that explained it, or what gives it when it is needed: it reads inputs again that were not kept. Without it such a pair
               raises :class:`InputError`

        Raises :class:`InputError` for a pair that has an error, too, and :class:`StorageError` for a damaged table.
        """
        return self.explained(self._row(id, method), model)

    def explanations(self, model: Model | Callable[[], Model] | None = None) -> Iterator[Explanation]:
        """Of every row that has no error, in order; as :meth:`explanation`."""
        for row in self.where("error is null").records():
            yield self.explained(row, model)

    def explained(self, row: Row, model: Model | Callable[[], Model] | None = None) -> Explanation:
        """The explanation of a row of this table, as :meth:`explanation`."""
        return self._restoring.explained(row, model)

    def sides(self, row: Row) -> tuple[RowSide, RowSide]:
        """Both sides of a row, without what is shown of them. Raises as :meth:`explanation` does."""
        return self._restoring.sides(row)

    def shown(
        self, row: Row, n: int, side: RowSide, model: Model | Callable[[], Model] | None = None
    ) -> Attribution:
        """The ``n``-th side of a row, 1 or 2, with what is shown of it. Raises as :meth:`explanation` does."""
        return self._restoring.shown(row, n, side, model)

    @cached_property
    def _restoring(self) -> Restoring:
        return Restoring(self.folder, self.manifest)

    def overview(
        self,
        path: str | Path,
        *,
        model: Model | Callable[[], Model] | None = None,
        title: str | None = None,
    ) -> Path:
        """Write a self-contained page with a card for each row, in order: both inputs with their maps in little, which open.

        There are 100 at most unless :meth:`head` said how many.

        model  as in :meth:`explanation`; without it a table whose inputs were not kept raises :class:`InputError`

        Gives the path back. Raises :class:`StorageError`.
        """
        few = self if self.most is not None else self.head(_FIRST)
        cards = (self._card(row, model) for row in few.records())
        return write_cards(
            cards, local_path(path), summary=self.summary().lines(), total=len(self), title=title
        )

    def _card(self, row: Row, model: Model | Callable[[], Model] | None) -> Card:
        named = [(row[f"modality_{n}"] or "", row[f"input_{n}"] or "") for n in (1, 2)]
        found, error = None, row["error"]
        if error is None:
            try:
                found = self.explained(row, model)
            except InputError as caught:
                if model is None:
                    raise
                error = str(caught)
        return Card(row["id"], row["method"], row["similarity"], named, row["warnings"] or [], error, found)

    def summary(self) -> Summary:
        """Counts, errors by kind, similarities and seconds."""
        quantiles = "quantile_cont(similarity, [0, .25, .5, .75, 1])"
        counts = "count(*), count(*) filter (error is null), count(*) filter (len(warnings) > 0)"
        unspecific = "count(*) filter (unspecific)" if "unspecific" in self._source.schema.names else "null"
        (one,) = self._fetch(f"{counts}, {quantiles}, median(seconds), sum(seconds), {unspecific}")
        errors = self._fetch(
            "error_kind, count(*), arg_min(error, number)",
            "group by 1 order by 2 desc, 1",
            "error is not null",
        )
        return Summary(
            rows=one[0],
            explained=one[1],
            errors={str(kind): (count, said) for kind, count, said in errors},
            methods={
                str(name): count for name, count in self._fetch("method, count(*)", "group by 1 order by 1")
            },
            warned=one[2],
            similarity=None if not one[3] or one[3][0] is None else tuple(one[3]),
            seconds=None if one[4] is None else (float(one[4]), float(one[5] or 0)),
            unspecific=one[6],
        )

    @cached_property
    def _source(self) -> Source:
        return Source(self.folder, schema(self.manifest["asked"]["options"]))

    def _check_columns(self, names: Sequence[str]) -> None:
        known = self._source.schema.names
        for name in names:
            if name not in known:
                raise SettingError(f"results: {no_column(name, known)}")

    @property
    def _condition(self) -> str:
        return " and ".join(f"({each}\n)" for each in self.clauses) or "true"

    @property
    def _order(self) -> str:
        return self.order and f"{self.order}\n, number, method"

    @property
    def _said(self) -> str:
        """What is asked, in messages."""
        asked = (", ".join(self.clauses), self.order)
        return " sorted by ".join(f"{each!r:.120}" for each in asked if each) or "the table"

    def _fetch(self, select: str, end: str = "", also: str = "true") -> list[tuple[Any, ...]]:
        with asking(self._source, self._said):
            found = ask(self._source, select, f"{self._condition} and {also}", end).fetchall()
        return [tuple(each) for each in found]


def open(folder: str | Path) -> ResultTable:
    """The results in a folder that :func:`m2ib.run` wrote into, finished or not.

    Raises :class:`StorageError` where there are none.
    """
    require_arrow("results")
    place = local_path(folder)
    path = place / MANIFEST
    if not path.is_file():
        why = f"{MANIFEST} is missing" if place.is_dir() else "there is no such folder"
        raise StorageError(
            f"{str(folder)!r} holds no results of a run: {why}; give the folder that m2ib run wrote"
        )
    with sound(path):
        manifest = read_json(stored_bytes(place, MANIFEST, _LONGEST_MANIFEST))
        parsed(_Manifest, manifest, "the manifest")
    return ResultTable(place, manifest)
