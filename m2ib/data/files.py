"""Text files of rows, read from the first line to the last. Bytes that are not UTF-8 spoil their row alone."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import IO, Any, TextIO

from m2ib.data.cells import utf8
from m2ib.data.remote import RemoteFile, is_remote
from m2ib.errors import InputError, SettingError
from m2ib.paths import file_fault, file_of, is_url, local_path, url_fault

Source = Path | RemoteFile
"""A file that rows are read from."""

_MALFORMED = "it is not CSV: "
_LONGEST = 2**26  # characters of a line or a cell; a file without line ends would fill the memory


def path_of(value: Any, option: str) -> Path:
    """An option that is a path. Raises :class:`SettingError`."""
    if not isinstance(value, (str, PathLike)) or not str(value):
        raise SettingError(f"data: {option}={value!r} is no path")
    if fault := url_fault(value):
        raise InputError(f"data: {option}={str(value)!r:.200} {fault}")
    return local_path(value)


def source_of(value: Any, option: str) -> Source:
    """An option that is a path, or the URL of a file that fsspec reads. Raises :class:`SettingError`."""
    if isinstance(value, PathLike) and is_url(value):
        raise SettingError(
            f"data: {option}={str(value)!r} is a URL that lost a slash as a Path; give it as text"
        )
    if not isinstance(value, str) or not is_remote(value):
        return path_of(value, option)
    path = file_of(value)
    return RemoteFile(value) if path is None else Path(path)


def folder_of(value: Any, option: str) -> Path:
    """An option that is a folder. Raises :class:`SettingError`; :class:`InputError` where there is none."""
    path = path_of(value, option)
    if not os.path.isdir(path):
        raise InputError(f"data: {option}={str(path)!r} is no folder; check the path")
    return path


def called(path: Source) -> str:
    """What messages call the data of a file."""
    return f"data {str(path)!r}"


@contextmanager
def opened_bytes(path: Source, *, whole: bool = False) -> Iterator[IO[bytes]]:
    """A file of bytes. Raises :class:`InputError` where there is none."""
    if isinstance(path, RemoteFile):
        with path.opened() as file:
            yield file
        return
    try:
        if fault := file_fault(path, whole=whole):
            raise InputError(f"{called(path)} {fault}")
        file = path.open("rb")
    except InputError:
        raise
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{called(path)} cannot be read: {reason}") from None
    with file:
        yield file


@contextmanager
def opened(path: Source, newline: str, *, whole: bool = False) -> Iterator[TextIO]:
    """A file of text. Raises :class:`InputError` where there is none."""
    with (
        opened_bytes(path, whole=whole) as file,
        io.TextIOWrapper(file, "utf-8-sig", "surrogateescape", newline) as text,
    ):
        yield text


def lines(path: Source) -> Iterator[tuple[str, str]]:
    """("line 12", the line without its end) of all that are not blank."""
    with opened(path, "\n") as file:
        for number, line in enumerate(_bounded(file, path), 1):
            if line.strip():
                yield f"line {number}", line.rstrip("\r\n")


def load_json(path: Source, hook: Callable[[dict[str, Any]], Any] | None = None) -> Any:
    """What a file of JSON holds, each of its objects as ``hook`` makes it. Raises :class:`InputError`."""
    with opened(path, "", whole=True) as file:
        text = file.read()
    try:
        return json.loads(utf8(text), object_hook=hook)
    except InputError:
        raise InputError(f"{called(path)} is not JSON: it is not UTF-8 text") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{called(path)} is not JSON: {error}") from None


def load_coco(path: Source, hook: Callable[[dict[str, Any]], Any] | None = None) -> dict[str, Any]:
    """What a file of COCO's JSON holds. Raises :class:`InputError` for one of another format."""
    content = load_json(path, hook)
    needed = ("images", "annotations")
    if not isinstance(content, dict) or not all(isinstance(content.get(name), list) for name in needed):
        raise InputError(f"{called(path)} is not COCO JSON: it lacks lists of images and annotations")
    return content


def _bounded(file: TextIO, path: Source) -> Iterator[str]:
    """Its lines. Raises :class:`InputError` for one that is too long."""
    while line := file.readline(_LONGEST + 1):
        if len(line) > _LONGEST:
            raise InputError(
                f"{called(path)} has a line of more than {_LONGEST:,} characters; it is no text with a row a line"
            )
        yield line


def listed(names: Sequence[str]) -> str:
    """Names of columns for a message."""
    return ", ".join(f"{name!r:.40}" for name in names[:12]) or "none"


@dataclass(frozen=True)
class DataTable:
    """A CSV file with a header.

    columns  their names, in order
    """

    path: Source
    columns: tuple[str, ...]
    delimiter: str

    def rows(self) -> Iterator[tuple[str, dict[str, str] | InputError]]:
        """("line 12", the cells by column, or what is wrong with the line) of all that are not blank."""
        wanted = len(self.columns)
        with opened(self.path, "") as file:
            records = _records(file, self.path, self.delimiter)
            next(records)
            for place, cells in records:
                if isinstance(cells, InputError):
                    yield place, cells
                elif len(cells) != wanted:
                    yield place, InputError(f"it has {counted(len(cells), 'column')} instead of {wanted}")
                else:
                    yield place, dict(zip(self.columns, cells, strict=True))

    def require(self, names: Sequence[str]) -> None:
        """Raises :class:`InputError` where one of the columns is not there."""
        check_columns(self.columns, names, called(self.path))


def check_columns(there: Sequence[str], names: Sequence[str], who: str) -> None:
    """Raises :class:`InputError`, in the name of ``who``, where one of the columns is not there, or any is twice."""
    lacking = [name for name in names if name not in there]
    if lacking:
        raise InputError(
            f"{who} lacks the column{'s' * (len(lacking) > 1)} {listed(lacking)}; it has {listed(there)}"
        )
    twice = [name for name in there if there.count(name) > 1]
    if twice:
        raise InputError(
            f"{who} has the column {twice[0]!r} twice; two inputs of one modality are 'text_1' and 'text_2'"
        )


def open_table(path: Source, delimiter: str = ",") -> DataTable:
    """The table of a CSV file, whose rows are read later. Raises :class:`InputError`."""
    csv.field_size_limit(max(csv.field_size_limit(), _LONGEST))  # holds for the process; csv knows no other
    with opened(path, "") as file:
        _, header = next(_records(file, path, delimiter), ("", []))
    try:
        if isinstance(header, InputError):
            raise header
        columns = tuple(utf8(name).strip() for name in header)
    except InputError as error:
        raise InputError(f"{called(path)} is not CSV: {str(error).removeprefix(_MALFORMED)}") from None
    if not columns:
        raise InputError(f"{called(path)} is empty; a CSV file begins with the names of its columns")
    check_columns(columns, (), called(path))
    return DataTable(path, columns, delimiter)


def cells_of(cells: dict[str, str] | InputError) -> dict[str, str]:
    """What a row of a :class:`DataTable` holds. Raises the :class:`InputError` that stands in its stead."""
    if isinstance(cells, InputError):
        raise cells
    return cells


def counted(number: int, what: str) -> str:
    """ "1 column", "2 columns"."""
    return f"{number} {what}{'s' * (number != 1)}"


def _records(file: TextIO, path: Source, delimiter: str) -> Iterator[tuple[str, list[str] | InputError]]:
    """("line 12", the cells) of each row; a row may go over several lines, and is named by its first."""
    reader = csv.reader(_bounded(file, path), delimiter=delimiter, strict=True)
    while True:
        place = f"line {reader.line_num + 1}"
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            reason = str(error)
            if reason == "unexpected end of data":
                reason = "a quote that opens here is never closed, and takes the rest of the file"
            yield place, InputError(_MALFORMED + reason)
        else:
            if len(cells) > 1 or (cells and cells[0].strip()):
                yield place, cells
