"""Files behind a URL that the user gave, read by fsspec: that file, and what its cells name in its folder and below.

Nothing else is asked for, whatever stands in a cell.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import PurePosixPath
from typing import IO, Any
from urllib.parse import quote, urlsplit

from m2ib.data.cells import NamedBytes
from m2ib.errors import InputError, SettingError, decoding, one_line
from m2ib.paths import WHOLE, is_url

_WEB = ("http", "https")  # whose paths are whole URLs


@dataclass(frozen=True)
class RemoteFile:
    """A file, or a pattern or folder of several.

    url  as fsspec takes it: "s3://bucket/pairs.csv", "zip://pairs.csv::https://host/data.zip"
    """

    url: str

    def __str__(self) -> str:
        return self.url

    @property
    def place(self) -> str:
        """Without the archive or the cache that it lies in."""
        return _part_with_path(self.url)

    @property
    def name(self) -> str:
        return PurePosixPath(_without_query(self.place)).name

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.name).suffix

    @property
    def stem(self) -> str:
        return PurePosixPath(self.name).stem

    @property
    def parent(self) -> RemoteFolder:
        return RemoteFolder(self.url)

    @contextmanager
    def opened(self) -> Iterator[IO[bytes]]:
        """For reading bytes. Raises :class:`InputError`; :class:`SettingError` for a package that is missing."""
        with _reading(f"data {self.url!r}"):
            system, path = _system(self.url)
            with system.open(path, "rb") as file:
                yield file

    def matching(self, suffixes: tuple[str, ...]) -> list[RemoteFile]:
        """Itself; of a pattern or a folder its files with one of the suffixes, sorted. Raises as ``opened`` does."""
        with _reading(f"data {self.url!r}"):
            system, path = _system(self.url)
            if any(sign in path for sign in "*["):  # a "?" begins a query
                found = system.glob(path)
            elif not self.name.lower().endswith(suffixes) and system.isdir(path):
                below = {each: each.removeprefix(path).strip("/") for each in system.find(path)}
                found = [each for each, name in below.items() if is_data(name, suffixes)]
            else:
                return [self]
        return [RemoteFile(_at(self.url, each)) for each in sorted(found)]


@dataclass(frozen=True)
class RemoteFolder:
    """Where a file lies.

    file  its URL
    """

    file: str

    def read(self, cell: str, what: str) -> NamedBytes:
        """What a file holds that a cell names, "image", ... Raises :class:`InputError` for one elsewhere, or none."""
        with _reading(f"data {self.file!r}"):
            system, path = _system(self.file)
        web, folder = "://" in path, posixpath.dirname(_without_query(path))
        inside = cell
        if not web and is_url(cell) and system._strip_protocol(cell).startswith(f"{folder}/"):
            inside = system._strip_protocol(cell).removeprefix(f"{folder}/")
        normal = posixpath.normpath(inside)
        if (
            is_url(inside)
            or is_remote(inside)
            or normal[:1] in ("/", "\\", "~")
            or ".." in re.split(r"[/\\]", normal)
        ):
            raise InputError(
                f"its {what} {cell!r:.200} does not lie in the folder of the table, from which alone files are read; give "
                "a path from there on, or download the data"
            )
        place = posixpath.join(folder, quote(normal) if web else normal)
        who = f"the {what} {_at(self.file, place)!r}"
        with _reading(who), system.open(place, "rb") as file:
            content = file.read(WHOLE + 1)
        if len(content) > WHOLE:
            raise InputError(f"{who} has more than {WHOLE:,} bytes; download it and give the path")
        return NamedBytes(content, _part_with_path(_at(self.file, place)))


def is_data(name: str, suffixes: tuple[str, ...]) -> bool:
    """Whether a file below a folder is one of its data, and no note beside them, as _SUCCESS, _metadata and ._a.tar."""
    return name.lower().endswith(suffixes) and not any(part[:1] in ("_", ".") for part in name.split("/"))


def is_remote(text: str) -> bool:
    """Whether this is a URL for fsspec, or several chained by ``::``, and nothing that is there under this very name."""
    chained = "::" in text and "://" in text and not os.path.exists(text)
    return (chained or is_url(text)) and not text.lower().startswith("data:")


@contextmanager
def _reading(who: str) -> Iterator[None]:
    with decoding(who, "cannot be read"):
        try:
            yield
        except FileNotFoundError:
            raise InputError(f"{who} cannot be read: No such file or directory") from None
        except ImportError as error:
            raise SettingError(f"{who} needs a package that is missing: {one_line(error)}") from None


def _system(url: str) -> tuple[Any, str]:
    """fsspec's file system, and the path in it."""
    return _made(url, os.getpid())


@lru_cache(maxsize=16)
def _made(url: str, process: int) -> tuple[Any, str]:
    """For a process of its own each, for what is open must not be shared by forked ones."""
    try:
        core = import_module("fsspec.core")
    except ImportError:
        raise ImportError("pip install fsspec") from None
    system, path = core.url_to_fs(url)
    return system, str(path)


def _part_with_path(url: str) -> str:
    """Of URLs that are chained by ``::``, the one with the path in the outermost file system."""
    return next((part for part in url.split("::") if "://" in part), url)


def _at(url: str, path: str) -> str:
    """The URL with another path of its file system."""
    known = _part_with_path(url)
    protocol, _, before = known.partition("://")
    path = path if before.startswith("/") else path.lstrip("/")
    return url.replace(known, path if "://" in path else f"{protocol}://{path}", 1)


def _without_query(url: str) -> str:
    return urlsplit(url)._replace(query="", fragment="").geturl() if url.startswith(_WEB) else url
