"""Paths as people write them."""

from __future__ import annotations

import os
import re
import stat
from os import PathLike
from pathlib import Path
from typing import Any

LONGEST_PATH = 4096  # characters
_URL = re.compile(
    r"[a-z][a-z0-9+.-]+:/|data:", re.IGNORECASE
)  # a drive has one letter; a Path keeps one slash
WHOLE = 2**30  # bytes that are read at once
_NO_FILES = (
    (stat.S_ISDIR, "is a folder; name a file"),
    (stat.S_ISFIFO, "is a pipe, which may never end; give a file, or what it holds as bytes"),
    (stat.S_ISSOCK, "is a socket, which may never end; give a file"),
    (stat.S_ISCHR, "is a device, which may never end; give a file"),
    (stat.S_ISBLK, "is a device; give a file"),
)


def local_path(raw: str | PathLike[str]) -> Path:
    """With a ``~`` at its beginning as the home directory; environment variables are left as they are."""
    return Path(os.path.expanduser(raw))


def at_home(given: Any) -> Any:
    """A path that begins with ``~`` with the home directory in its place; anything else as it is."""
    if isinstance(given, (str, PathLike)) and os.fspath(given)[:1] == "~":
        return type(given)(local_path(given))  # type: ignore[call-arg]
    return given


def printable(text: str) -> str:
    """With what no encoding can write, as in the name of a file that is not UTF-8, spelled out."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def is_text(given: str) -> bool:
    """Whether it can be written as UTF-8; half a character (a lone surrogate) cannot."""
    try:
        given.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_name(text: str) -> bool:
    """Whether a file could be called so; half a character (a lone surrogate) has no bytes."""
    try:
        name = os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return bool(name) and b"\0" not in name


def is_url(raw: str | PathLike[str]) -> bool:
    """Whether this is a URL, and not something that is there under this very name."""
    text = os.fspath(raw)
    return _URL.match(text) is not None and not os.path.exists(text)


def file_of(url: str) -> str | None:
    """The path in a ``file:`` URL; None of another one."""
    if not url.lower().startswith("file:"):
        return None
    from urllib.parse import urlsplit
    from urllib.request import url2pathname

    return url2pathname(urlsplit(url).path)


def url_fault(raw: str | PathLike[str]) -> str | None:
    """Why a URL is no path to read from, and the way out; None of anything else."""
    if not is_url(raw):
        return None
    text = os.fspath(raw)
    if text.lower().startswith("data:"):
        return "is a URL that holds its data itself; give the bytes, base64.b64decode(url.partition(',')[2])"
    if (path := file_of(text)) is not None:
        return f"is a URL; give the path, {path!r}"
    return "is a URL, and nothing is fetched; download it and give the path"


def file_fault(path: str | PathLike[str], *, whole: bool = False) -> str | None:
    """Why what stands there is no file to read, and the way out; None of a regular file, behind a link too.

    To open a pipe may take for ever, and a device has no end: this looks before anything is opened. Raises :class:`OSError` and
    ``ValueError`` for what is not there, or cannot be.

    whole  whether it is read at once, so that it must not be too large
    """
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode):
        return next((what for kind, what in _NO_FILES if kind(found.st_mode)), "is no file")
    if whole and found.st_size > WHOLE:
        return f"has {found.st_size:,} bytes, more than the {WHOLE:,} that are read at once; split it"
    return None
