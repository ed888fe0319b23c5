"""What is shown of inputs, as a run kept it: looked up by key, a file at a time."""

from __future__ import annotations

from functools import cached_property, lru_cache
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from m2ib.errors import StorageError
from m2ib.folders import sound
from m2ib.folders.files import regular
from m2ib.results.rows import VIEWS

if TYPE_CHECKING:
    import pyarrow as pa


class KeptViews:
    """The table of views in a run's folder. A view lies in the shard of the first row that shows it."""

    def __init__(self, folder: Path) -> None:
        self._home, self._folder = folder, folder / VIEWS
        self._parts = lru_cache(4)(_Part)

    def files(self, key: str, shard: str = "") -> dict[str, bytes]:
        """By name, what a renderer stored.

        shard  the name of the row's, where it is looked for first

        Raises :class:`StorageError`.
        """
        for path in regular(self._home, f"{VIEWS}/{escape(Path(shard).name)}") if shard else ():
            if key in (part := self._parts(path)).keys:
                return part.files(key)
        for path in self._paths_of(key):
            if key in (part := self._parts(path)).keys:
                return part.files(key)
        raise StorageError(f"{str(self._folder)!r} lacks a view that a row names; run again with force")

    def _paths_of(self, key: str) -> list[Path]:
        paths, beginnings, where = self._index
        first, last = (np.searchsorted(beginnings, _beginning(key), side) for side in ("left", "right"))
        return [paths[number] for number in where[first:last].tolist()]

    @cached_property
    def _index(self) -> tuple[list[Path], np.ndarray, np.ndarray]:
        """(files, 8 bytes of each key in order, the number of its file)"""
        paths = regular(self._home, f"{VIEWS}/*.parquet")
        keys = [np.array([*map(_beginning, _keys(path))], np.uint64) for path in paths]
        every = np.concatenate([np.zeros(0, np.uint64), *keys])
        order = np.argsort(every, kind="stable")
        where = np.repeat(np.arange(len(paths), dtype=np.int32), [len(each) for each in keys])
        return paths, every[order], where[order]


def _beginning(key: str) -> int:
    return int(key[:16], 16)


def _keys(path: Path) -> list[str]:
    import pyarrow.parquet as pq

    with sound(path):
        found: list[str] = pq.read_table(path, columns=["key"], partitioning=None)["key"].to_pylist()
        return found


class _Part:
    """One file of views, the last group of its rows in memory."""

    def __init__(self, path: Path) -> None:
        import pyarrow.parquet as pq

        self._path = path
        self.keys = {key: number for number, key in enumerate(_keys(path))}
        with sound(path):
            self._file = pq.ParquetFile(path)
            sizes = [self._file.metadata.row_group(n).num_rows for n in range(self._file.num_row_groups)]
        self._ends = np.cumsum([0, *sizes])
        self._group: tuple[int, pa.Table] | None = None

    def files(self, key: str) -> dict[str, bytes]:
        number = self.keys[key]
        group = int(np.searchsorted(self._ends, number, "right")) - 1
        if self._group is None or self._group[0] != group:
            with sound(self._path):
                self._group = group, self._file.read_row_group(group, columns=["files"])
        found = self._group[1]["files"][number - int(self._ends[group])].as_py()
        return {each["name"]: each["content"] for each in found}
