"""Every error a user can meet. Each message says who, what, the value and the way out."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

_LONGEST = 300  # characters of what others say
_BEGINNING, _END = 1000, 500  # characters that are kept of a message


class M2IBError(Exception):
    """Base of all errors raised on purpose by m2ib; the CLI prints it as one line and exits with 2.

    What a file holds may stand in the message, and be of any length: it is cut in its middle.
    """

    def __init__(self, *message: object) -> None:
        super().__init__(*map(cut, message))


class InputError(M2IBError, ValueError):
    """A raw input (a photo, a caption, a tensor, ...) cannot be used as it is.

    pair  the id of the row of pairs that it stands in, where that could be read
    """

    pair: str | None = None


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


class OutOfMemoryError(M2IBError, MemoryError):
    """There is not the memory for what was asked, here or on the device."""


class M2IBWarning(UserWarning):
    """Something that runs, but that a careful reader of the result has to know."""


def cut(message: object) -> object:
    """A long text without its middle; anything else as it is."""
    if not isinstance(message, str) or len(message) <= _BEGINNING + _END + len(" ... "):
        return message
    return f"{message[:_BEGINNING]} ... {message[-_END:]}"


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """How an error goes on after an unknown name: the known one that comes close, or a full stop."""
    close = difflib.get_close_matches(str(name), list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else "."


def one_line(error: BaseException, *, kind: bool = False, longest: int = _LONGEST) -> str:
    """What an exception of somebody else's says, in one line of a readable length, whatever its class makes of ``str``.

    kind  with its class before it, as at the end of a traceback; one that says nothing has its class anyway
    """
    name = type(error).__name__
    try:
        text = shortened(str(error), longest)
    except BaseException:  # its own code, as anything else of a plugin's
        text = "(its message cannot be shown)"
    return f"{name}: {text}" if kind and text else text or name


def shortened(text: str, longest: int = _LONGEST) -> str:
    """In one line of printable characters, cut where it is longer."""
    line = " ".join(text[: 8 * longest].split())
    line = "".join(each if each.isprintable() else ascii(each)[1:-1] for each in line)
    return line if len(line) <= longest else f"{line[: longest - 4]} ..."


@contextmanager
def decoding(
    who: str,
    fault: str = "is damaged and cannot be decoded",
    *,
    reason: bool = True,
    error: type[M2IBError] = InputError,
) -> Iterator[None]:
    """Whatever a library raises over a file becomes one ``error`` in the name of ``who``.

    Each call of a decoder stands in here, for over a damaged file they raise anything, also what is no ``Exception``. What is
    ours, a warning that was made an error, and what ends the program go on.

    reason  whether it is told what the library said
    """
    try:
        yield
    except (M2IBError, Warning, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except MemoryError:
        raise error(f"{who} needs more memory to be read than there is; make it smaller") from None
    except BaseException as caught:
        odd = not isinstance(caught, (OSError, SyntaxError, ValueError, RuntimeError, EOFError))
        raise error(f"{who} {fault}" + (f": {one_line(caught, kind=odd)}" if reason else "")) from caught
