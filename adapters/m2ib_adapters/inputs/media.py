"""What raw inputs share: the library, a file that has to be there, its name, clips spread over the time."""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import tempfile
import warnings
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from importlib import import_module
from os import PathLike
from pathlib import Path
from threading import RLock
from typing import Any

from m2ib.contract.layout import Axis
from m2ib.errors import AdapterError, InputError, decoding
from m2ib.paths import file_fault, local_path, url_fault
from m2ib_adapters.bounds import BYTES, WHOLE

_FAULTS: dict[type[Exception], str] = {
    FileNotFoundError: "does not exist; check the path",
    PermissionError: "cannot be read: permission denied",
}
_LONGEST_NAME = 300  # characters in a message


class Turn:
    """A lock: one thread at a time. A forked child, which has no thread that would ever give it back, gets a new one.

    A fork does not wait for it, for who holds it may be waited for by a fit, and the fit by the fork.
    """

    def __init__(self) -> None:
        self._renew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self._lock = RLock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *exception: object) -> None:
        self._lock.release()


_FILTERS = Turn()


def optional(module: str, extra: str) -> Any:
    """A module of m2ib's optional packages. Raises :class:`AdapterError`, which says what to install."""
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise AdapterError(f"{package} is needed here, and missing: pip install 'm2ib[{extra}]'") from error


@contextmanager
def ignoring(category: type[Warning]) -> Iterator[None]:
    """Inside, such warnings of a library are not issued; one thread after another, for Python's filters are all threads'."""
    with _FILTERS, warnings.catch_warnings():
        warnings.simplefilter("ignore", category)
        yield


def called(raw: Any, kind: str) -> str:
    """What messages call a raw input: "audio 'bark.wav'" for a file or an open file that has a name, else "audio"."""
    if isinstance(raw, (str, PathLike)):
        name = str(local_path(raw)) if url_fault(raw) is None else str(raw)
    else:
        name = _own_name(raw) or ""
    cut = f"{name[:60]} ..." if len(name) > _LONGEST_NAME else name
    return f"{kind} {cut!r}" if name else kind


def rounded(value: float) -> float:
    """``value`` to six digits, for the provenance."""
    return float(f"{value:.6g}")


def sha256(path: Path) -> str:
    """Of a file's content, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True, eq=False)
class InputFile:
    """A file that can be read: the user's own, or a copy of bytes and of what an open file holds.

    path    where it is; a copy is removed with this object
    name    for messages: "audio 'bark.wav'", or "audio"
    origin  "source" and "sha256"; of a copy also "given_as", which is "bytes" or "file"
    """

    path: Path
    name: str
    origin: dict[str, Any]


def input_file(raw: Any, kind: str) -> InputFile | None:
    """A path, bytes, or a file that is open for reading bytes, as a file; None of anything else.

    An open file that can be rewound is read from its beginning, wherever it stands, and left where it stood; a stream
    is read to its end. Neither is closed. ``kind`` is "audio", "video", ... for the message.

    Raises :class:`InputError`.
    """
    name = called(raw, kind)
    if isinstance(raw, (str, PathLike)):
        path = existing_file(raw, kind)
        return InputFile(path, name, {"source": str(path), "sha256": sha256(path)})
    if isinstance(raw, (bytes, bytearray, memoryview)):
        return _copied(bytes(raw), name, "", "bytes", kind)
    own = _own_name(raw)
    return None if own is None else _copied(_content(raw, name), name, own, "file", kind)


def existing_file(raw: str | PathLike[str], kind: str) -> Path:
    """The path of a file that can be opened, ``~`` as the home directory; ``kind`` is "audio", ... for the message.

    Raises :class:`InputError`.
    """
    if raw == "":
        raise InputError(f"{kind} '' is empty; give a path")
    path, name = local_path(raw), called(raw, kind)
    try:
        fault = file_fault(path)
        if fault is None:
            path.open("rb").close()
            size = path.stat().st_size
    except (OSError, ValueError) as error:
        fault = url_fault(raw) or _FAULTS.get(type(error), f"cannot be read: {error}")
    if fault is not None:
        raise InputError(f"{name} {fault}")
    if not size:
        raise InputError(f"{name} is empty: the file holds 0 bytes")
    BYTES.check(name, size)
    return path


def _own_name(raw: Any) -> str | None:
    """An open file's, "" where it has none, or a number; None of what is no open file."""
    if not callable(getattr(raw, "read", None)):
        return None
    name = getattr(raw, "name", None)
    return str(name) if isinstance(name, (str, PathLike)) else ""


def _content(file: Any, name: str) -> bytes:
    """All that an open file holds, of a stream what is left. Raises :class:`InputError`."""
    as_text = InputError(f"{name} is open as text; open it for bytes, as in open(path, 'rb')")
    if isinstance(file, io.TextIOBase):
        raise as_text
    with decoding(name, "cannot be read from its open file"):  # which may be anybody's
        try:
            rewinds = file.seekable()
            place = file.tell() if rewinds else 0
            if rewinds:
                file.seek(0)
            content = _read(file, WHOLE.limit + 1)
            if rewinds:
                file.seek(place)
        except io.UnsupportedOperation:
            raise InputError(
                f"{name} is not open for reading; open it for bytes, as in open(path, 'rb')"
            ) from None
    if isinstance(content, str):
        raise as_text
    if not isinstance(content, bytes):
        raise InputError(f"{name}: its open file gives {type(content).__name__}, not bytes")
    WHOLE.check(name, len(content), f"at least {len(content):,} bytes")
    if not content and not rewinds:
        raise InputError(f"{name} is empty: its stream holds nothing, or was read before")
    return content


def _read(file: Any, most: int) -> Any:
    """All that a file gives, at most so many bytes; what is no bytes as it is."""
    parts, left = [], most
    while left and (part := file.read(left)):  # what is not buffered gives less at a time
        if not isinstance(part, bytes):
            return part
        parts.append(part)
        left -= len(part)
    return b"".join(parts) if parts or isinstance(part, bytes) else part


def _copied(content: bytes, name: str, own: str, given_as: str, kind: str) -> InputFile:
    """What was given without a path, in a temporary file called as its ``own`` name ends."""
    if not content:
        raise InputError(f"{name} is empty: 0 bytes")
    last = Path(own).name
    folder = tempfile.mkdtemp(prefix="m2ib-")
    path = Path(folder, last if re.fullmatch(r"\w[\w .()-]*", last) else kind)
    origin = {"source": own or given_as, "sha256": hashlib.sha256(content).hexdigest(), "given_as": given_as}
    file = InputFile(path, name, origin)
    weakref.finalize(file, shutil.rmtree, folder, ignore_errors=True)
    path.write_bytes(content)
    return file


def clip_starts(duration: float, seconds: float, clips: int) -> list[Fraction]:
    """Seconds at which ``clips`` clips of so many ``seconds`` begin: evenly from 0 to ``duration - seconds``.

    All begin at 0 where there is less. Exact fractions, so that a start falls on the same sample or frame
    whichever way it is computed.
    """
    room = Fraction(max(duration - seconds, 0))
    return [room * clip / max(clips - 1, 1) for clip in range(clips)]


def counted_clips(count: int) -> Axis:
    """The axis of clips of which nobody knows where they lie: they are counted."""
    return Axis("clip", "clips", tuple((float(n), n + 1.0) for n in range(count)))
