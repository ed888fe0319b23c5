"""Every error a user can meet. Each message says who, what, the value and the way out."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class M2IBError(Exception):
    """Base of all errors raised on purpose by m2ib; the CLI prints it as one line and exits with 2."""


class InputError(M2IBError, ValueError):
    """A raw input (a photo, a caption, a tensor, ...) cannot be used as it is."""


class SettingError(M2IBError, ValueError):
    """A setting is unknown, of the wrong type or out of range."""


class AdapterError(M2IBError, LookupError):
    """An adapter is unknown, ambiguous, incomplete or lacks a package."""


class PluginError(M2IBError):
    """The code of a plugin failed, or gave what it must not; its own exception is the cause."""


class CheckpointError(M2IBError, ValueError):
    """Weights are missing, damaged or belong to another architecture."""


class StorageError(M2IBError, OSError):
    """A result cannot be written or read."""


class M2IBWarning(UserWarning):
    """Something that runs, but that a careful reader of the result has to know."""


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """How an error goes on after an unknown name: the known one that comes close, or a full stop."""
    close = difflib.get_close_matches(str(name), list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else "."


_LONGEST = 300


def in_one_line(error: BaseException, longest: int = _LONGEST) -> str:
    """What an exception of somebody else's says, in one line of a readable length, whatever its class makes of ``str``."""
    try:
        text = str(error)
    except BaseException:  # its own code, as anything else of a plugin's
        return "(its message cannot be shown)"
    return shortened(text, longest)


def described(error: BaseException) -> str:
    """Its class and what it says, as at the end of a traceback, in one line."""
    text = in_one_line(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def shortened(text: str, longest: int = _LONGEST) -> str:
    """In one line of printable characters, cut where it is longer."""
    line = " ".join(text[: 8 * longest].split())
    line = "".join(each if each.isprintable() else ascii(each)[1:-1] for each in line)
    return line if len(line) <= longest else f"{line[: longest - 4]} ..."
