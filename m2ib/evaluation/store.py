"""What an evaluation has found so far, in one SQLite file: whatever moment it is killed at, what was found stays.

A unit of work (one method, seed, side and chunk of pairs) is written in one transaction, with the fact that it is done.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from m2ib.errors import StorageError, one_line
from m2ib.folders import sound
from m2ib.paths import printable

KIND = "evaluation"
UNEMBEDDED = "unembedded"  # notes of pairs that a model failed over, which is tried again
BATCH_SIZES = "batch sizes"  # the fact how many maps were made at once, each number once
FILE = "evaluation.sqlite"
FILES = (FILE, f"{FILE}-wal", f"{FILE}-shm")  # of SQLite
FORMAT = 1

_TABLES = (
    "CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    "CREATE TABLE done (unit TEXT PRIMARY KEY)",
    "CREATE TABLE maps (side INTEGER, method TEXT, seed INTEGER, pair TEXT, number INTEGER, shape TEXT, grid BLOB, "
    "seconds REAL, PRIMARY KEY (side, method, seed, pair))",
    "CREATE TABLE scores (side INTEGER, method TEXT, seed INTEGER, pair TEXT, number INTEGER, metric TEXT, value REAL, "
    "PRIMARY KEY (side, method, seed, pair, metric))",
    "CREATE TABLE notes (kind TEXT, place TEXT, text TEXT, PRIMARY KEY (kind, place, text))",
)


MapOf = tuple[int, str, int, str]
"""(side, method, seed, pair)."""


@dataclass(frozen=True)
class MapRecord:
    """One map of one input.

    number   of the pair in its data
    scores   by metric; NaN where a metric is not defined for it
    seconds  that the map took, as a share of its batch's
    """

    side: int
    method: str
    seed: int
    pair: str
    number: int
    grid: np.ndarray
    scores: Mapping[str, float]
    seconds: float


class Score(NamedTuple):
    """One row of ``scores``; SQLite keeps NaN as nothing."""

    side: int
    method: str
    seed: int
    pair: str
    number: int
    metric: str
    value: float


class Store:
    """One folder's results. Use as a context manager, or :meth:`close` it."""

    def __init__(self, folder: Path) -> None:
        """Opens the file, and makes it where there is none. Raises :class:`StorageError`."""
        self.path = folder / FILE
        if self.path.exists() and not self.path.is_file():
            raise StorageError(f"cannot use {str(self.path)!r}: it is no file; use another folder")
        with self._told("use"):
            self._connection = sqlite3.connect(self.path, isolation_level=None, timeout=30)
        try:
            with self._told("use"):
                self._connection.execute("PRAGMA trusted_schema=OFF")
                self._connection.execute("PRAGMA journal_mode=WAL")
            self._make_tables()
            known = self.fact("format")
            if known is None:
                self.set_fact("format", FORMAT)
            elif known != FORMAT:
                raise StorageError(
                    f"{str(self.path)!r} is of format {known!r}, and this version writes {FORMAT}; use another folder"
                )
        except StorageError:
            self.close()
            raise

    def _make_tables(self) -> None:
        """Where there are none. Raises :class:`StorageError` for others than ours."""
        listing = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid"
        if not self._read(listing):
            with self.whole():
                for table in () if self._read(listing) else _TABLES:
                    self._write(table, ())
        if [sql for (sql,) in self._read(listing)] != [*_TABLES]:
            raise StorageError(
                f"{str(self.path)!r} is no evaluation of this version: its tables are others; use another folder, or begin "
                "anew with --force"
            )

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Nothing is lost without it."""
        self._connection.close()

    @contextmanager
    def whole(self) -> Iterator[None]:
        """All that is written inside, or nothing of it. Raises :class:`StorageError`."""
        with self._told("write"):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                if self._connection.in_transaction:  # SQLite takes some failures back itself
                    self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    @contextmanager
    def _told(self, doing: str) -> Iterator[None]:
        """SQLite's errors as :class:`StorageError`."""
        try:
            yield
        except sqlite3.Error as error:
            raise StorageError(f"cannot {doing} {str(self.path)!r}: {one_line(error)}") from error

    def _read(self, command: str, values: Sequence[Any] = ()) -> list[Any]:
        with self._told("read"):
            return self._connection.execute(command, values).fetchall()

    def _write(self, command: str, *rows: Sequence[Any]) -> None:
        plain = ([printable(each) if isinstance(each, str) else each for each in row] for row in rows)
        with self._told("write"):
            self._connection.executemany(command, plain)

    def fact(self, name: str) -> Any:
        """A JSON value; None for nothing."""
        rows = self._read("SELECT value FROM facts WHERE name = ?", (name,))
        with sound(self.path):
            return json.loads(rows[0][0]) if rows else None

    def set_fact(self, name: str, value: Any) -> None:
        self._write("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, json.dumps(value)))

    def is_done(self, unit: str) -> bool:
        """Whether a unit of work was finished."""
        return bool(self._read("SELECT 1 FROM done WHERE unit = ?", (unit,)))

    def set_done(self, unit: str) -> None:
        self._write("INSERT OR REPLACE INTO done VALUES (?)", (unit,))

    def add(self, found: Iterable[MapRecord]) -> None:
        """Maps and scores, over those of the same place."""
        for each in found:
            grid = np.ascontiguousarray(each.grid, dtype=np.float64)
            place = (each.side, each.method, each.seed, each.pair, each.number)
            self._write(
                "INSERT OR REPLACE INTO maps VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (*place, json.dumps(grid.shape), grid.tobytes(), each.seconds),
            )
            self.add_scores(Score(*place, metric, value) for metric, value in each.scores.items())

    def forget(self, number: int | None = None, pairs: Iterable[str] = ()) -> None:
        """Take back what was found of some pairs of a chunk, and what is about all pairs; without a chunk, everything."""
        if number is None:
            for table in ("done", "maps", "scores", "notes", "facts"):
                self._write(
                    f"DELETE FROM {table}" + (" WHERE name <> 'format'" if table == "facts" else ""), ()
                )
            return
        pairs = [*pairs]
        named = [(pair,) for pair in pairs]
        self._write("DELETE FROM maps WHERE pair = ?", *named)
        self._write("DELETE FROM scores WHERE pair = ?", *named)
        self._write("DELETE FROM notes WHERE kind = 'bad pair' AND place = ?", *named)
        for kind in ("warning", "failed"):
            maps = [(kind, json.dumps(each)) for each in self._by_map(kind) if each[3] in pairs]
            self._write("DELETE FROM notes WHERE kind = ? AND place = ?", *maps)
        self._write(
            "DELETE FROM scores WHERE metric IN ('rank-correlation', 'matched-auc', 'sanity', 'roar')", ()
        )
        for unit in (f"{number}/*", "sanity/*", "roar/*"):
            self._write("DELETE FROM done WHERE unit GLOB ?", (unit,))
        for fact in ("sanity *", "roar *"):
            self._write("DELETE FROM facts WHERE name GLOB ?", (fact,))

    def add_scores(self, scores: Iterable[Score]) -> None:
        """Single scores."""
        self._write("INSERT OR REPLACE INTO scores VALUES (?, ?, ?, ?, ?, ?, ?)", *scores)

    def note(self, kind: str, place: str, text: str) -> None:
        """Something to be told beside the table: a bad row, a method that is not defined for a side."""
        self._write("INSERT OR IGNORE INTO notes VALUES (?, ?, ?)", (kind, place, text))

    def forget_notes(self, kind: str, places: Iterable[str]) -> None:
        """Of what is tried again."""
        self._write("DELETE FROM notes WHERE kind = ? AND place = ?", *((kind, place) for place in places))

    def notes(self, kind: str) -> list[tuple[str, str]]:
        """(place, text), in order of writing."""
        rows = self._read("SELECT place, text FROM notes WHERE kind = ? ORDER BY rowid", (kind,))
        return [(str(place), str(text)) for place, text in rows]

    def warn(self, map_of: MapOf, text: str) -> None:
        """Something to be told of a map of this side, method, seed and pair."""
        self.note("warning", json.dumps(map_of), text)

    def warnings(self) -> dict[MapOf, list[str]]:
        """What :meth:`warn` wrote, by side, method, seed and pair."""
        return self._by_map("warning")

    def fail(self, map_of: MapOf, text: str) -> None:
        """Why a map could not be made."""
        self.note("failed", json.dumps(map_of), text)

    def failures(self) -> dict[MapOf, list[str]]:
        """What :meth:`fail` wrote."""
        return self._by_map("failed")

    def forget_failures(self, maps: Iterable[MapOf]) -> None:
        """Those of maps that are tried again."""
        self._write(
            "DELETE FROM notes WHERE kind = 'failed' AND place = ?", *((json.dumps(each),) for each in maps)
        )

    def _by_map(self, kind: str) -> dict[MapOf, list[str]]:
        found: dict[MapOf, list[str]] = {}
        with sound(self.path):
            for place, text in self.notes(kind):
                side, method, seed, pair = json.loads(place)
                found.setdefault((side, method, seed, pair), []).append(text)
        return found

    def scores(self) -> list[Score]:
        """All of them, in an order of their own that does not depend on when they were written."""
        rows = self._read(
            "SELECT side, method, seed, pair, number, metric, value FROM scores "
            "ORDER BY side, method, seed, number, pair, metric"
        )
        with sound(self.path):
            return [
                Score(int(side), str(method), int(seed), str(pair), int(number), str(metric), _number(value))
                for side, method, seed, pair, number, metric, value in rows
            ]

    def grids(self, side: int, method: str, seed: int) -> dict[str, np.ndarray]:
        """Maps by pair, in the pairs' order."""
        rows = self._read(
            "SELECT pair, shape, grid FROM maps WHERE side = ? AND method = ? AND seed = ? ORDER BY number",
            (side, method, seed),
        )
        with sound(self.path):
            return {
                str(pair): np.frombuffer(grid, np.float64).reshape(json.loads(shape))
                for pair, shape, grid in rows
            }

    def scores_of(self, side: int, method: str, seed: int) -> dict[str, dict[str, float]]:
        """By pair and metric."""
        found: dict[str, dict[str, float]] = {}
        rows = self._read(
            "SELECT pair, metric, value FROM scores WHERE side = ? AND method = ? AND seed = ?",
            (side, method, seed),
        )
        with sound(self.path):
            for pair, metric, value in rows:
                found.setdefault(str(pair), {})[str(metric)] = _number(value)
        return found

    def numbers(self, side: int) -> dict[str, int]:
        """Each pair's number in its data."""
        rows = self._read("SELECT DISTINCT pair, number FROM maps WHERE side = ?", (side,))
        with sound(self.path):
            return {str(pair): int(number) for pair, number in rows}

    def seconds(self) -> dict[tuple[int, str], Sequence[float]]:
        """By side and method, what each map took."""
        found: dict[tuple[int, str], list[float]] = {}
        rows = self._read("SELECT side, method, seconds FROM maps WHERE seconds IS NOT NULL")
        with sound(self.path):
            for side, method, seconds in rows:
                found.setdefault((int(side), str(method)), []).append(float(seconds))
        return dict(found)


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)
