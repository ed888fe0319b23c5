"""Data in several files: a folder of them, or a pattern such as "shards/{00000..00009}.tar" and "data/train-*.parquet"."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from glob import glob, has_magic
from itertools import islice, takewhile
from pathlib import Path
from typing import Any

from m2ib.data.files import Source, called, source_of
from m2ib.data.remote import RemoteFile, is_data
from m2ib.errors import InputError

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d{1,18})\.\.(\d{1,18})")
_MOST = 10**6


def shards_of(value: Any, suffixes: tuple[str, ...]) -> tuple[str, tuple[Source, ...]]:
    """How to call the data, and the files that an option ``path`` names: one, those of a pattern, or all below a folder.

    Raises :class:`InputError` where there are none, or one that braces name is not there; :class:`SettingError` for what
    is no path.
    """
    path = source_of(value, "path")
    known = [suffix for suffix in suffixes if path.name.lower().endswith(suffix)]
    name = path.name[: -len(known[0])] if known else path.name
    if isinstance(path, Path) and os.path.lexists(path) and not path.is_dir():
        return name, (path,)
    found: list[Source] = []
    for each in _spelled_out(str(path)):
        found += (
            RemoteFile(each).matching(suffixes) if isinstance(path, RemoteFile) else _local(each, suffixes)
        )
    if any(sign in name for sign in "*?[{"):  # says little without its folder
        name = "/".join([*_parts(path)[-2:-1], name])
    if not found:
        raise InputError(f"{called(path)}: there is no file that ends in {' or '.join(suffixes)}")
    return name, tuple(dict.fromkeys(found))


def labels(files: Sequence[Source]) -> list[str]:
    """What rows of each are said to be in: its path from where they all lie, "a.tar: "; "" of a single one."""
    if len(files) == 1:
        return [""]
    paths = [_parts(file) for file in files]
    folders = zip(*(path[:-1] for path in paths), strict=False)
    common = sum(1 for _ in takewhile(lambda names: len({*names}) == 1, folders))
    return ["/".join(path[common:]) + ": " for path in paths]


def _parts(path: Source) -> list[str]:
    return (path.place if isinstance(path, RemoteFile) else path.as_posix()).split("/")


def below(folder: Path, above: tuple[str, ...] = ()) -> Iterator[tuple[Path, list[str]]]:
    """Each folder from this one on, with the names of its files, sorted; what begins with "." is left out.

    Links are followed, but not into a folder that they lie in. Raises :class:`InputError` for one that cannot be read.
    """
    real = os.path.realpath(folder)
    if any(each == real or each.startswith(real + os.sep) for each in above):
        return
    try:
        with os.scandir(folder) as entries:
            there = sorted((each.name, each.is_dir()) for each in entries if not each.name.startswith("."))
    except OSError as error:
        raise InputError(f"data: the folder {str(folder)!r} cannot be read: {error.strerror}") from None
    yield folder, [name for name, is_folder in there if not is_folder]
    for name, is_folder in there:
        if is_folder:
            yield from below(folder / name, (*above, real))


def _local(name: str, suffixes: tuple[str, ...]) -> list[Source]:
    path = Path(name)
    if path.is_dir():
        every = [inside / each for inside, files in below(path) for each in files]
        return [each for each in every if is_data(each.relative_to(path).as_posix(), suffixes)]
    if has_magic(name) and not os.path.lexists(path):
        matching = [Path(each) for each in sorted(glob(name, recursive=True)) if os.path.isfile(each)]
        return [each for each in matching if each.name.lower().endswith(suffixes)] or [*matching]
    if not os.path.isfile(path):
        raise InputError(f"{called(path)} cannot be read: No such file or directory")
    return [path]


def _spelled_out(pattern: str) -> list[str]:
    """With {00..12} as 00, 01, ..., 12, and {a,b} as a, b. Raises :class:`InputError` for more than can be meant."""
    found = list(islice(_each(pattern), _MOST + 1))
    if len(found) > _MOST:
        raise InputError(f"data {pattern!r} stands for more than {_MOST:,} files")
    return found


def _each(pattern: str) -> Iterator[str]:
    for braces in _BRACES.finditer(pattern):
        parts: Iterator[str] | list[str] = braces[1].split(",")
        if ends := _RANGE.fullmatch(braces[1]):
            first, last = int(ends[1]), int(ends[2])
            width = max(map(len, ends.groups())) if any(each[0] == "0" for each in ends.groups()) else 0
            step = 1 if first <= last else -1
            parts = (f"{number:0{width}d}" for number in range(first, last + step, step))
        elif "," not in braces[1]:
            continue
        for part in parts:
            yield from _each(pattern[: braces.start()] + part + pattern[braces.end() :])
        return
    yield pattern
