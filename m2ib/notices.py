"""Warnings that also stand beside the result they belong to: the input that is made ready, or the map that is made."""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial

from m2ib.errors import M2IBWarning
from m2ib.promises import kept_promises, promise

_OURS = re.compile(r"m2ib(_\w+)?(\.|$)")  # and adapters' packages, by their usual names
_kept: ContextVar[list[str] | None] = ContextVar("_kept", default=None)


def warn(message: str) -> None:
    """Issue a :class:`M2IBWarning` at the line of whoever called m2ib. While an input or a map is made, it becomes part of it too."""
    kept = _kept.get()
    if kept is not None:
        kept.append(message)
    frame, level = sys._getframe(1), 1
    while _OURS.match(frame.f_globals.get("__name__", "")) and frame.f_back is not None:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, M2IBWarning, stacklevel=level + 1)


@contextmanager
def collected_warnings() -> Iterator[list[str]]:
    """The list that :func:`warn` adds to inside."""
    messages: list[str] = []
    with kept_promises():
        promise(partial(_kept.set, _kept.get()))
        _kept.set(messages)
        yield messages


@contextmanager
def ignored_warnings() -> Iterator[None]:
    """Inside, :func:`warn` issues nothing, unless warnings are errors: for what keeps them elsewhere."""
    with warnings.catch_warnings():
        if not any(action == "error" for action, *_ in warnings.filters):
            warnings.simplefilter("ignore", M2IBWarning)
        yield
