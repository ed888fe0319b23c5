"""The list of a folder's files that are ours, ``m2ib-folder.json``."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath

from m2ib.errors import StorageError
from m2ib.folders.files import replace_file

MARKER = "m2ib-folder.json"
PART = f"{MARKER}.part"
STAGING = re.compile(r"\.m2ib-[0-9a-f]{16}")
_OURS = "m2ib results, 6a0f3f51-0d0c-4c39-9d0e-5f0a4f3b8f5e"
_MOST = 1 << 24  # bytes of a list


@dataclass(frozen=True)
class Commit:
    """What is decided: the new files, in ``staging``, take the place of those of ours that are replaced, and the old ones go."""

    staging: str
    new: tuple[str, ...]
    old: tuple[str, ...]
    replaced: tuple[str, ...]


@dataclass(frozen=True)
class Listed:
    """What a list says.

    kind     of results
    names    the files and folders of results that are ours, as POSIX paths from here
    staging  folders in which files are being made
    version  another one each time that it is written
    """

    kind: str
    names: tuple[str, ...] = ()
    staging: tuple[str, ...] = ()
    commit: Commit | None = None
    version: int = 0


def read(folder: Path) -> Listed | None:
    """The list of a folder; None where there is none. Raises :class:`StorageError` for what is no list of ours."""
    path = folder / MARKER
    try:
        if not path.is_file() or path.stat().st_size > _MOST:
            if os.path.lexists(path):
                raise ValueError
            return None
        row = json.loads(path.read_text(encoding="utf-8"))
        if row.pop("m2ib") != _OURS:
            raise ValueError
        commit = row.pop("commit")
        if commit is not None:
            names = (_names(commit[name]) for name in ("new", "old", "replaced"))
            commit = Commit(_staging(commit["staging"]), *names)
        staging = tuple(map(_staging, row.pop("staging")))
        listed = Listed(row.pop("kind"), _names(row.pop("names")), staging, commit, row.pop("version"))
        if row or not isinstance(listed.kind, str) or not isinstance(listed.version, int):
            raise ValueError
        return listed
    except FileNotFoundError:  # between the look and the reading
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise StorageError(
            f"{str(path)!r} is not m2ib's list of its files, or is damaged; name another folder, or move it away"
        ) from error


def _names(given: Sequence[str]) -> tuple[str, ...]:
    """Raises ValueError for what leads out of a folder."""
    for name in given:
        parts = PurePosixPath(name).parts
        if (
            not parts
            or PurePosixPath(name).is_absolute()
            or ".." in parts
            or "\0" in name
            or name in (MARKER, PART)
        ):
            raise ValueError(name)
    return tuple(given)


def _staging(name: str) -> str:
    if not STAGING.fullmatch(name):
        raise ValueError(name)
    return name


def write(folder: Path, listed: Listed) -> None:
    """As the next version. Raises :class:`StorageError`."""
    row = {"m2ib": _OURS, **asdict(replace(listed, version=listed.version + 1))}
    replace_file(
        folder / MARKER, folder / PART, json.dumps(row, indent=1).encode(), listed.commit is not None
    )
