"""Warnings that also stand beside the result they belong to: the input that is made ready, or the map that is made."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial

from m2ib.errors import M2IBWarning
from m2ib.promises import kept_promises, promise

_kept: ContextVar[list[str] | None] = ContextVar("_kept", default=None)


def warn(message: str, *, stacklevel: int = 1) -> None:
    """Issue a :class:`M2IBWarning`. While an input or a map is made, it becomes part of it too.

    stacklevel  1: the caller's own line
    """
    kept = _kept.get()
    if kept is not None:
        kept.append(message)
    warnings.warn(message, M2IBWarning, stacklevel=stacklevel + 1)


@contextmanager
def collected_warnings() -> Iterator[list[str]]:
    """The list that :func:`warn` adds to inside."""
    messages: list[str] = []
    with kept_promises():
        promise(partial(_kept.set, _kept.get()))
        _kept.set(messages)
        yield messages
