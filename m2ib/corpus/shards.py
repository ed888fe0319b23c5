"""The folder of a run: Parquet shards that appear whole, and a manifest that says of what they are.

::

    run.json                         what was asked, its fingerprint, and how many pairs were worked on at once
    rows/part-000000.parquet         a row for each pair and method
    views/part-000000.parquet        what is shown of inputs that cannot be read again, each once
    arrays/part-000000.safetensors   maps that are too large for a cell

Files that belong together appear at once (``m2ib.folders``), whatever moment a run is killed at. What is in the shards is done: there is
no other list of it.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors.numpy

from m2ib.errors import SettingError, StorageError
from m2ib.folders import ResultFolder, open_folder, sound
from m2ib.folders.files import lock, regular
from m2ib.results.resume import differences
from m2ib.results.rows import ARRAYS, MANIFEST, ROWS, VIEWS, KeptView, Row, schema, view_schema

KIND = "run"
FORMAT = 1
BATCH_SIZES = "batch_sizes"  # in the manifest; by the first one the pairs are divided among parts
_GROUPS = ("model", "methods", "options", "versions")
_MOST_ROWS, _MOST_BYTES = 8192, 2**26  # of a shard
_PATIENCE, _SHARE = 10.0, 0.01  # what a kill costs at most: so many seconds, or such a share of the run
_BUSY = "another run is at work in {!r}; wait for it, or divide the pairs among runs with shard (--shard 1/2)"


class Part(NamedTuple):
    """The ``number``-th of ``total`` runs that share the pairs, from 1."""

    number: int = 1
    total: int = 1

    @classmethod
    def of(cls, given: Any) -> Part:
        """Of "3/16" or (3, 16). Raises :class:`SettingError`."""
        if given is None:
            return cls()
        found = re.fullmatch(r"\s*(\d+)\s*/\s*(\d+)\s*", given) if isinstance(given, str) else None
        number, count = (
            map(int, found.groups())
            if found
            else given
            if isinstance(given, tuple) and len(given) == 2
            else (0, 0)
        )
        if not all(isinstance(each, int) for each in (number, count)) or not 1 <= number <= count:
            raise SettingError(
                f"shard: {given!r:.40} is none; give its number and how many there are, from 1/16 to 16/16"
            )
        return cls(number, count)

    @property
    def stem(self) -> str:
        """Of its files' names."""
        return "part-" if self.total == 1 else f"part-{self.number}-of-{self.total}-"

    @property
    def lock(self) -> str:
        return f"locks/{self.number}-of-{self.total}"


class Known:
    """Which pairs are done. 8-byte hashes of ids: of a million ids two have the same one with a chance of 3e-8."""

    def __init__(self, folder: Path, parts: Sequence[str]) -> None:
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        hashes, keys, failed, where = ([np.zeros(0, kind)] for kind in ("u8", "i8", "?", "i4"))
        self._parts = parts
        for number, name in enumerate(parts):
            with sound(folder / name):
                table = pq.read_table(folder / name, columns=["id", "key", "error"])
                hashes.append(np.array([hash_of(each) for each in table["id"].to_pylist()], "u8"))
                keys.append(table["key"].to_numpy())
                failed.append(pc.is_valid(table["error"]).to_numpy())
                where.append(np.full(len(table), number, "i4"))
        every = np.concatenate(hashes)
        order = np.argsort(every, kind="stable")
        self._hashes, self._keys = every[order], np.concatenate(keys)[order]
        self._failed, self._where = np.concatenate(failed)[order], np.concatenate(where)[order]
        self._met = np.zeros(len(every), "?")

    def count(self, *, failed: bool) -> int:
        """How many pairs there are; those that failed where they count."""
        return len(np.unique(self._hashes if failed else self._hashes[~self._failed]))

    @property
    def others(self) -> int:
        """How many pairs were never met."""
        return len(np.unique(self._hashes[~self._met]))

    def meet(self, ids: Sequence[str]) -> tuple[int, bool, str] | None:
        """As :meth:`look` of the first of them, by which a pair that is given is known."""
        for name in ids:
            self._met[self._rows(name)] = True
        return self.look(ids[0])

    def look(self, name: str) -> tuple[int, bool, str] | None:
        """(key, whether it failed, its shard) of a pair's id; None of one that is new. Of several methods one failure is enough."""
        rows = self._rows(name)
        if rows.start == rows.stop:
            return None
        first = rows.start
        return int(self._keys[first]), bool(self._failed[rows].any()), self._parts[self._where[first]]

    def _rows(self, name: str) -> slice:
        wanted = np.uint64(hash_of(name))
        first, last = (int(np.searchsorted(self._hashes, wanted, side)) for side in ("left", "right"))
        return slice(first, last)


def hash_of(name: str) -> int:
    """64 bits of an id."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")


@dataclass(frozen=True)
class Written:
    """What is written of one pair.

    ids     its own, and then what rows may be known by that could not be read: in their place it comes
    rows    one for each method
    arrays  maps that lie beside, by the name that the rows give them
    views   that are kept
    """

    ids: Sequence[str]
    rows: Sequence[Row]
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    views: Sequence[KeptView] = ()


class Shards:
    """A run's folder, open for one writer. Made by :func:`open_shards`."""

    def __init__(self, folder: ResultFolder, part: Part, options: Mapping[str, Any], size: int) -> None:
        """
        size  pairs that are worked on together
        """
        self._folder = folder
        self._size = size
        self._part = part
        self._schema = schema(options)
        parts = [
            path.relative_to(folder.path).as_posix() for path in regular(folder.path, f"{ROWS}/*.parquet")
        ]
        self.known = Known(folder.path, parts)
        mine = [
            name for name in parts if re.fullmatch(re.escape(f"{ROWS}/{part.stem}") + r"\d+\.parquet", name)
        ]
        self._next = 1 + max(
            (int(name.rpartition("-")[2].removesuffix(".parquet")) for name in mine), default=-1
        )
        self._views = _kept_views(folder.path)
        self._begun = self._flushed = time.monotonic()
        self.division = _batch_sizes(folder.path, size)[0]  # pairs that are one part's, one after another
        self._clear()

    def _clear(self) -> None:
        self._waiting: list[Written] = []
        self._replaced: dict[str, set[str]] = {}  # ids by shard
        self._bytes = 0

    def add(self, made: Sequence[Written]) -> None:
        """What was found of the pairs of a chunk: all of it, for a chunk that is cut is another one when the run goes on."""
        for written in made:
            for name in written.ids:
                known = self.known.look(name)
                if known is not None and (name == written.ids[0] or known[1]):
                    self._replaced.setdefault(known[2], set()).add(name)
            self._bytes += sum(each.nbytes for each in written.arrays.values())
            self._bytes += sum(len(content) for view in written.views for _, content in view.files)
        self._waiting.extend(made)

    def flush_if_due(self) -> None:
        """Not too often: a kill costs ten seconds of work, or a hundredth of the run's."""
        now = time.monotonic()
        late = now - self._flushed > max(_PATIENCE, _SHARE * (now - self._begun))
        if late or len(self._waiting) >= _MOST_ROWS or self._bytes >= _MOST_BYTES:
            self.flush()

    def flush(self) -> None:
        """Everything so far into a shard, at once. Raises :class:`StorageError`."""
        if self._waiting:
            import pyarrow as pa
            import pyarrow.parquet as pq

            name = f"{self._part.stem}{self._next:06d}"
            arrays = {key: array for each in self._waiting for key, array in each.arrays.items()}
            rows = [row for each in self._waiting for row in each.rows]
            views = {
                view.key: view for each in self._waiting for view in each.views if view.key not in self._views
            }
            with self._folder.replacing() as place:
                for kind in (ROWS, VIEWS, ARRAYS):
                    (place / kind).mkdir()
                if arrays:
                    (place / f"{ARRAYS}/{name}.safetensors").write_bytes(safetensors.numpy.save(arrays))
                    for row in rows:
                        row["arrays"] = f"{ARRAYS}/{name}.safetensors" if row.get("arrays") else None
                write = {"compression": "zstd", "write_page_index": True}
                pq.write_table(
                    pa.Table.from_pylist(rows, self._schema), place / f"{ROWS}/{name}.parquet", **write
                )
                if views:
                    kept = [
                        {
                            "key": view.key,
                            "renderer": view.renderer,
                            "view": view.view,
                            "files": [{"name": each, "content": content} for each, content in view.files],
                        }
                        for view in views.values()
                    ]
                    table = pa.Table.from_pylist(kept, view_schema())
                    pq.write_table(table, place / f"{VIEWS}/{name}.parquet", **write, row_group_size=64)
                for part, ids in self._replaced.items():
                    before = pq.read_table(self._folder.path / part)
                    left = before.filter(
                        pa.array([each not in ids for each in before["id"].to_pylist()], pa.bool_())
                    )
                    pq.write_table(left, place / part, **write)
                if self._size not in (sizes := _batch_sizes(self._folder.path, self._size)):
                    manifest = json.loads((self._folder.path / MANIFEST).read_text(encoding="utf-8"))
                    _write_manifest(place, {**manifest, BATCH_SIZES: [*sizes, self._size]})
            self._views |= {*views}
            self._next += 1
            self._clear()
        self._flushed = time.monotonic()


def _batch_sizes(folder: Path, size: int) -> list[int]:
    """How many pairs were worked on at once, each number once; ``size`` where it is not told."""
    with sound(folder / MANIFEST):
        known = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        sizes = [int(each) for each in known.get(BATCH_SIZES) or [size]]
        if min(sizes) < 1:
            raise ValueError(f"{BATCH_SIZES} are {sizes!r:.60}")
        return sizes


def _write_manifest(place: Path, content: Mapping[str, Any]) -> None:
    (place / MANIFEST).write_text(json.dumps(content, indent=1), encoding="utf-8")


def _kept_views(folder: Path) -> set[str]:
    import pyarrow.parquet as pq

    found: set[str] = set()
    for path in regular(folder, f"{VIEWS}/*.parquet"):
        with sound(path):
            found |= {*pq.read_table(path, columns=["key"])["key"].to_pylist()}
    return found


def fingerprint(asked: Mapping[str, Any]) -> str:
    """Of everything that changes a result."""
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]


@contextmanager
def open_shards(
    path: Path, asked: Mapping[str, Any], about: Mapping[str, Any], part: Part, size: int, *, force: bool
) -> Iterator[Shards]:
    """A run's folder, new or its own of before; nobody else writes the same pairs into it meanwhile.

    asked  what changes a result, by group and name
    about  what else the manifest keeps
    size   pairs that are worked on together
    force  begin anew

    Raises :class:`StorageError` for a folder of another run, and for one in which another is at work.
    """
    asked = json.loads(json.dumps(asked))  # as it is read back
    folder = open_folder(path, KIND, force=force, resume=True)
    with ExitStack() as stack:
        _claim(folder, part, stack, alone=force)
        manifest = folder.path / MANIFEST
        if force and manifest.exists():
            for names in (ROWS, VIEWS, ARRAYS, MANIFEST):
                folder.discard(names)
        if manifest.exists():
            _check_same(manifest, asked)
        else:
            content = {"format": FORMAT, "fingerprint": fingerprint(asked), "asked": asked, **about}
            with folder.replacing() as place:
                _write_manifest(place, {**content, BATCH_SIZES: [size]})
        yield Shards(folder, part, asked["options"], size)


def _claim(folder: ResultFolder, part: Part, stack: ExitStack, *, alone: bool) -> None:
    """This part of the pairs is this process's. Raises :class:`StorageError` where it, or some of it, is another's.

    alone  nobody else may be at work on other parts either
    """
    folder.own(part.lock)
    mine = folder.path / part.lock
    mine.parent.mkdir(exist_ok=True)
    mine.touch()
    try:
        stack.enter_context(lock(mine, wait=False))
        for other in sorted(mine.parent.iterdir()):
            if other != mine and (alone or not other.name.endswith(f"-of-{part.total}")):
                with lock(other, wait=False):
                    pass
    except BlockingIOError:
        raise StorageError(_BUSY.format(str(folder.path))) from None


def _check_same(path: Path, asked: Mapping[str, Any]) -> None:
    """Raises :class:`StorageError` for the manifest of another run."""
    with sound(path):
        known = json.loads(path.read_text(encoding="utf-8"))
        if known["format"] != FORMAT:
            raise StorageError(
                f"{str(path)!r} is of format {known['format']!r:.20}, and this version writes {FORMAT}; use another folder"
            )
        theirs = known["fingerprint"]
        differs = differences(known["asked"], asked, _GROUPS)
    if theirs != fingerprint(asked):
        raise StorageError(
            f"{str(path.parent)!r} holds another run: its fingerprint is {theirs}, this one's {fingerprint(asked)}, for "
            f"another {', '.join(differs)}; use another folder, or begin anew with --force (force=True)"
        )
