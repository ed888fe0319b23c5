"""What raw inputs share: the library, a file that has to be there, its name, clips spread over the time."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from importlib import import_module
from os import PathLike
from pathlib import Path
from threading import RLock
from typing import Any

from m2ib.contract.layout import Axis
from m2ib.errors import AdapterError, InputError

_FAULTS: dict[type[Exception], str] = {
    FileNotFoundError: "does not exist; check the path",
    IsADirectoryError: "is a folder; name a file",
    PermissionError: "cannot be read: permission denied",
}
_FILTERS = RLock()
MAX_PIXELS = 178_956_970  # 0.5 GiB of RGB


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
    """What messages call a raw input: "audio 'bark.wav'" for a file, else "audio"."""
    return f"{kind} {str(Path(raw))!r}" if isinstance(raw, (str, PathLike)) else kind


def rounded(value: float) -> float:
    """``value`` to six digits, for the provenance."""
    return float(f"{value:.6g}")


def existing_file(raw: str | PathLike[str], kind: str) -> Path:
    """The path of a file that can be opened; ``kind`` is "audio", "video", ... for the message.

    Raises :class:`InputError`.
    """
    if raw == "":
        raise InputError(f"{kind} '' is empty; give a path")
    path, name = Path(raw), called(raw, kind)
    try:
        path.open("rb").close()
    except (OSError, ValueError) as error:
        raise InputError(f"{name} {_FAULTS.get(type(error), f'cannot be read: {error}')}") from None
    if path.is_file() and not path.stat().st_size:
        raise InputError(f"{name} is empty: the file holds 0 bytes")
    return path


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


def check_pixels(name: str, width: int, height: int) -> None:
    """Raises :class:`InputError` for an image of more than :data:`MAX_PIXELS`."""
    if width * height > MAX_PIXELS:
        raise too_large(name, f"{width}x{height} pixels")


def too_large(name: str, size: str) -> InputError:
    """The error for an image of more than :data:`MAX_PIXELS`, with which a small file could fill the memory."""
    return InputError(
        f"{name} has {size}, more than the {MAX_PIXELS:,} that are safe to open; make it smaller"
    )
