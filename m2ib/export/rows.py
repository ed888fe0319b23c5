"""What all formats do with a table: go through its rows, count what is left out, and find the files of its pictures."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from m2ib.errors import InputError
from m2ib.folders import open_folder
from m2ib.paths import local_path, printable
from m2ib.progress import progress
from m2ib.renderers.pixels import PixelRenderer
from m2ib.results.rows import Row, RowSide

if TYPE_CHECKING:
    from m2ib.results.table import ResultTable

KIND = "export"
_MOST_FILES = 50_000  # of one folder, whose list names each


@dataclass(frozen=True)
class Exported:
    """What was written.

    path      of what another program opens
    written   how many of what
    left_out  rows that are not in it, by why
    """

    path: Path
    written: Mapping[str, int]
    left_out: Mapping[str, int]

    def lines(self) -> list[str]:
        """In words."""
        found = [", ".join(f"{name}: {count:,}" for name, count in self.written.items())]
        return found + [f"left out: {count:,} {reason}" for reason, count in self.left_out.items()]


@dataclass
class Source:
    """The rows of a table for one format.

    who    the format, in messages
    holds  what it holds, in messages
    """

    table: ResultTable
    who: str
    holds: str
    show_progress: bool = True
    left_out: Counter[str] = field(default_factory=Counter)
    _said: dict[str, str] = field(default_factory=dict)

    def __iter__(self) -> Iterator[tuple[Row, tuple[RowSide, RowSide]]]:
        """Each row that was explained."""
        with progress("export", total=len(self.table), show=self.show_progress) as bar:
            for row in self.table.records():
                bar.advance()
                if row["error"] is None:
                    yield row, self.table.sides(row)
                else:
                    self.skip("with an error")

    def skip(self, why: str, said: str = "") -> None:
        """A row is not in it; of all for this reason, the first one's own words are told."""
        self.left_out[why] += 1
        self._said.setdefault(why, said)

    def pictures(self, row: Row, sides: tuple[RowSide, RowSide]) -> list[tuple[int, RowSide]]:
        """The sides, from 1, whose cells lie in the pixels of a picture; a row without one is skipped."""
        found = [(n, side) for n, side in enumerate(sides, 1) if side.raster and len(side.axes) == 2]
        if not found:
            self.skip(f"without a picture ({row['modality_1']} and {row['modality_2']})")
        return found

    def exported(self, path: Path, **written: int) -> Exported:
        """Raises :class:`InputError` where nothing was written."""
        left_out = {
            f"{why}, as: {self._said[why]}" if self._said[why] else why: n for why, n in self.left_out.items()
        }
        if not any(written.values()):
            reasons = ", ".join(f"{count:,} {why}" for why, count in left_out.items())
            raise InputError(
                f"{self.who}: it holds {self.holds}; there is nothing to write: {reasons or 'no row'}"
            )
        return Exported(path, written, left_out)


@contextmanager
def written_into(folder: str | Path, force: bool) -> Iterator[tuple[Path, Path]]:
    """(a folder to write into, the folder that all of it will be in at once). Raises :class:`StorageError`."""
    path = local_path(folder)
    with open_folder(path, KIND, force=force).replacing(all=True) as place:
        yield place, path


class Files:
    """The files of the pictures in a table: the inputs' own, or written beside where a run kept an input that has none.

    place  the folder that is written into, which will be ``folder``
    """

    def __init__(self, source: Source, place: Path, folder: Path) -> None:
        self._source, self._place, self._folder = source, place, folder
        self._written: set[str] = set()
        self._digest = lru_cache(1024)(_digest)

    def pictures(self, row: Row, sides: tuple[RowSide, RowSide]) -> list[tuple[int, RowSide, Path]]:
        """The sides of :meth:`Source.pictures` with their files; [] where one has none, and the row is skipped."""
        found = []
        for n, side in self._source.pictures(row, sides):
            if (file := self.of(row, n, side)) is None:
                return []
            found.append((n, side, file))
        return found

    def of(self, row: Row, n: int, side: RowSide) -> Path | None:
        """Of a picture; None where there is none, or another one than was explained, and the row is skipped."""
        if _on_disk(side):
            if (why := self._refused(Path(side.input), side.stored.origin["sha256"])) is None:
                return Path(os.path.abspath(side.input))
            self._source.skip(why)
            return None
        if side.view is None:
            self._source.skip("whose input has no file and was not kept")
            return None
        name = f"images/{side.view}.png"
        if name not in self._written:
            if len(self._written) >= _MOST_FILES:
                raise InputError(
                    f"{self._source.who}: there are more than {_MOST_FILES:,} pictures without a file of their own; choose rows"
                )
            shown = self._source.table.shown(row, n, side)
            if not isinstance(shown.renderer, PixelRenderer):
                self._source.skip("whose input is no picture of pixels")
                return None
            picture = Image.fromarray(shown.renderer.pixels(shown.view))
            (self._place / "images").mkdir(exist_ok=True)
            rows, columns = side.raster
            picture.resize((columns, rows), Image.Resampling.BICUBIC).save(self._place / name)
            self._written.add(name)
        return self._folder.absolute() / name

    def read(self, file: Path, side: RowSide) -> bytes:
        """What is in one of them."""
        return (file if _on_disk(side) else self._place / "images" / file.name).read_bytes()

    def _refused(self, file: Path, digest: str) -> str | None:
        """Why a file is none to refer to; None of the one that was explained."""
        if not os.path.isfile(file):
            return "whose file is not there"
        try:
            same = self._digest(file) == digest
        except OSError:
            return "whose file cannot be read"
        return None if same else "whose file is not the one that was explained"


def _on_disk(side: RowSide) -> bool:
    """Whether it was read from a file: what was given as bytes has a name only, as a member of an archive has."""
    return side.file is not None and "given_as" not in side.stored.origin


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


class JsonList:
    """A JSON list that is written item by item, inside one that is written around it."""

    def __init__(self, file: IO[str]) -> None:
        self._file, self.count = file, 0

    def add(self, item: Any) -> None:
        self._file.write(",\n" if self.count else "\n")
        self._file.write(as_json(item))
        self.count += 1


def as_json(value: Any) -> str:
    """On one line; half a character is spelled out."""
    return printable(json.dumps(value, ensure_ascii=False, allow_nan=False))


def from_root(root: str | Path | None, file: Path) -> str:
    """A file's name from a folder on; None: all of it."""
    return str(file) if root is None else Path(os.path.relpath(file, local_path(root).absolute())).as_posix()


def words_of(side: RowSide) -> Iterable[tuple[str, int, int, float]]:
    """(word, start, end, value) of a text; nothing of anything else."""
    text = side.text or ""
    return [(printable(text[start:end]), start, end, float(value)) for start, end, value in side.words]


def shares(values: np.ndarray) -> np.ndarray:
    """Of the sum of what is above 0, what each of them is."""
    positive = np.maximum(values.astype(np.float64), 0)
    return positive / (positive.sum() or 1.0)
