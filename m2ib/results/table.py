"""The results of a run: rows in Parquet, asked by DuckDB, and explanations back.

>>> table = m2ib.results.open("results/")
>>> table.summary().errors
>>> table.where("similarity < .2").sort("similarity")["17"].to_html("17.html")
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from m2ib.contract.model import Model
from m2ib.errors import InputError, SettingError, StorageError, one_line
from m2ib.folders import sound
from m2ib.paths import local_path
from m2ib.registry.foreign import plugin_code
from m2ib.renderers.view_storage import read_arrays
from m2ib.results.explanation import Explanation
from m2ib.results.rows import ARRAYS, MANIFEST, ROWS, VIEWS, Row, attribution, has_view, schema

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

_MEMORY = "512MB"
_KEPT = 64  # rows that are read at once


def require_arrow(who: str) -> None:
    """Raises :class:`SettingError` naming what to install where what tables are made by is missing."""
    try:
        import duckdb  # noqa: F401
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise SettingError(
            f"{who}: it needs {error.name or 'pyarrow'}, which cannot be imported: pip install 'm2ib[run]'"
        ) from error


@dataclass(frozen=True)
class Summary:
    """What there is in a table, over all its rows.

    rows        a pair by a method each
    explained   of them, those that have maps
    errors      by kind: (how many, what one of them says)
    methods     rows by method
    warned      rows with warnings
    similarity  (least, first quartile, median, third quartile, greatest); None without any
    seconds     (median, sum) of what a row took
    """

    rows: int
    explained: int
    errors: Mapping[str, tuple[int, str]]
    methods: Mapping[str, int]
    warned: int
    similarity: tuple[float, float, float, float, float] | None
    seconds: tuple[float, float] | None


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
        """Those rows of which a condition of DuckDB's SQL holds: ``similarity < .2 and error is null``. Raises :class:`SettingError`."""
        made = replace(self, clauses=(*self.clauses, condition))
        made._query("select 1", "")
        return made

    def sort(self, by: str) -> ResultTable:
        """By columns or expressions of DuckDB's SQL: ``similarity desc``. Raises :class:`SettingError`."""
        made = replace(self, order=f"{by}, number, method")
        made._query("select 1", made._end)
        return made

    def head(self, count: int) -> ResultTable:
        """The first so many."""
        return replace(self, most=count if self.most is None else min(count, self.most))

    def __len__(self) -> int:
        count = self._one("select count(*)", "")[0]
        return int(count) if self.most is None else min(int(count), self.most)

    def __iter__(self) -> Iterator[Row]:
        """Each row as a dict by column."""
        found = self._query("select * exclude (filename)", self._end).to_arrow_reader(_KEPT)
        for batch in found:
            yield from batch.to_pylist()

    def to_arrow(self, *columns: str) -> pa.Table:
        """Some columns, or all of them, as a table of pyarrow."""
        names = ", ".join(f'"{each}"' for each in columns) or "* exclude (filename)"
        return self._query(f"select {names}", self._end).to_arrow_table()

    def row(self, id: str, method: str | None = None) -> Row:
        """One row. Raises :class:`InputError` where there is none, or one by each of several methods."""
        where = ["id = ?"] + (["method = ?"] if method is not None else [])
        values = [id] + ([method] if method is not None else [])
        inner = replace(self, clauses=(*self.clauses, *where), order="", most=None)
        found = inner._query("select * exclude (filename)", "", values).to_arrow_table().to_pylist()
        if not found:
            raise InputError(f"results: there is no pair {id!r:.80}" + (f" by {method!r}" if method else ""))
        if len(found) > 1:
            methods = ", ".join(sorted(each["method"] for each in found))
            raise InputError(
                f"results: the pair {id!r:.80} was explained by {methods}; name one of them as method"
            )
        row: Row = found[0]
        return row

    def __getitem__(self, id: str) -> Explanation:
        """The explanation of a pair, see :meth:`explanation`."""
        return self.explanation(id)

    def explanation(self, id: str, method: str | None = None, *, model: Model | None = None) -> Explanation:
        """A pair's explanation, its numbers as float16 holds them. The curves of the fit are there, the capacities are not.

        model  that explained it, which reads inputs again that were not kept; without it such a pair raises :class:`InputError`

        Raises :class:`InputError` for a pair that has an error, too, and :class:`StorageError` for a damaged table.
        """
        return self._explained(self.row(id, method), model)

    def explanations(self, model: Model | None = None) -> Iterator[Explanation]:
        """Of every row that has no error, in order; as :meth:`explanation`."""
        for row in self.where("error is null"):
            yield self._explained(row, model)

    def summary(self) -> Summary:
        """Counts, errors by kind, similarities and seconds."""
        quantiles = "quantile_cont(similarity, [0, .25, .5, .75, 1])"
        one = self._one(
            f"select count(*), count(*) filter (error is null), count(*) filter (len(warnings) > 0), {quantiles}, "
            "median(seconds), sum(seconds)",
            "",
        )
        errors = self._all(
            "select error_kind, count(*), arg_min(error, number)",
            "and error is not null group by 1 order by 2 desc, 1",
        )
        methods = self._all("select method, count(*)", "group by 1 order by 1")
        return Summary(
            rows=one[0],
            explained=one[1],
            errors={str(kind): (count, said) for kind, count, said in errors},
            methods={str(name): count for name, count in methods},
            warned=one[2],
            similarity=None if not one[3] or one[3][0] is None else tuple(one[3]),
            seconds=None if one[4] is None else (float(one[4]), float(one[5] or 0)),
        )

    @property
    def _end(self) -> str:
        order = f"order by {self.order}" if self.order else ""
        return order + ("" if self.most is None else f" limit {self.most}")

    def _one(self, select: str, end: str) -> tuple[Any, ...]:
        (found,) = self._all(select, end)
        return found

    def _all(self, select: str, end: str) -> list[tuple[Any, ...]]:
        relation = self._query(select, end)
        with self._asking():
            return [tuple(row) for row in relation.fetchall()]

    def _query(self, select: str, end: str, values: list[str] | None = None) -> duckdb.DuckDBPyRelation:
        import duckdb

        connection = duckdb.connect(config={"memory_limit": _MEMORY, "autoinstall_known_extensions": "false"})
        found = [str(path).replace("'", "''") for path in sorted((self.folder / ROWS).glob("*.parquet"))]
        files = ", ".join(f"'{each}'" for each in found)
        source = f"read_parquet([{files}], filename=true)" if files else "rows"
        if not files:
            connection.register("rows", schema().empty_table())
        condition = " and ".join(f"({each})" for each in self.clauses) or "true"
        with self._asking():
            return connection.sql(f"{select} from {source} where {condition} {end}", params=values or None)

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """DuckDB's errors as ours: over what was asked, or over what is there."""
        import duckdb

        asked = " and ".join([*self.clauses, self.order]).removesuffix(" and ")
        try:
            yield
        except (duckdb.ProgrammingError, duckdb.DataError) as error:
            if not asked:
                raise StorageError(self._unreadable(error)) from error
            raise SettingError(f"results: {asked!r:.80} cannot be asked: {one_line(error)}") from error
        except duckdb.Error as error:
            raise StorageError(self._unreadable(error)) from error

    def _unreadable(self, error: Exception) -> str:
        return f"{str(self.folder / ROWS)!r} cannot be read: {one_line(error)}"

    def _explained(self, row: Row, model: Model | None) -> Explanation:
        if row["error"] is not None:
            raise InputError(f"results: the pair {row['id']!r:.80} has no explanation: {row['error']}")
        with sound(self.folder / ROWS):
            arrays = self._arrays(row)
            sides = []
            for n in (1, 2):
                name = f"{row['number']}.{row['method']}.grid_{n}"
                kept = row[f"view_{n}"]
                view = None if has_view(row, n) else self._view_again(row, n, model)
                files = None if kept is None else self._files(kept)
                sides.append(attribution(row, n, arrays.get(name), view, files))
            about = json.loads(row["provenance"] or "{}")
        known = {**self.manifest.get("provenance", {}), **about}
        return Explanation((sides[0], sides[1]), row["similarity"], known)

    def _view_again(self, row: Row, n: int, model: Model | None) -> Any:
        modality, name = row[f"modality_{n}"], row[f"input_{n}"]
        if model is None:
            raise InputError(
                f"results: what is shown of the {modality} {name!r:.120} was not kept, and is read again by the model; give "
                "model=, or run with keep_inputs=True (--keep-inputs)"
            )
        with plugin_code("the model"):
            item = model.item(modality, name, truncate=bool(self.manifest["asked"]["options"]["truncate"]))
        before = json.loads(row[f"side_{n}"])["origin"].get("sha256")
        if item.origin.get("sha256") != before:
            raise InputError(
                f"results: the {modality} {name!r:.120} is not the file that was explained; bring that back, or explain it again"
            )
        return item.view

    def _files(self, key: str) -> dict[str, bytes]:
        import pyarrow.parquet as pq

        for path in sorted((self.folder / VIEWS).glob("*.parquet")):
            found = pq.read_table(path, filters=[("key", "=", key)]).to_pylist()
            if found:
                return {each["name"]: each["content"] for each in found[0]["files"]}
        raise StorageError(
            f"{str(self.folder / VIEWS)!r} lacks a view that a row names; run again with force"
        )

    def _arrays(self, row: Row) -> dict[str, np.ndarray]:
        if row["arrays"] is None:
            return {}
        name = Path(row["arrays"]).name
        return read_arrays(self.folder / ARRAYS, name)


def open(folder: str | Path) -> ResultTable:
    """The results in a folder that :func:`m2ib.run` wrote into, finished or not.

    Raises :class:`StorageError` where there are none.
    """
    require_arrow("results")
    place = local_path(folder)
    path = place / MANIFEST
    if not path.is_file():
        raise StorageError(f"{str(folder)!r} holds no results of a run: {MANIFEST} is missing")
    with sound(path):
        manifest = json.loads(path.read_text(encoding="utf-8"))
        for name in ("fingerprint", "asked"):
            manifest[name]
    return ResultTable(place, manifest)
