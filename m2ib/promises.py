"""What is put in place is promised first to be taken away again, so that nothing stays behind, wherever Ctrl-C comes.

An interrupt may come at any line, also between a change and the ``try`` that would have undone it, and within what
undoes it. So each thread keeps a list of what is to be undone: a promise is made *before* the change that it takes
back, and struck off after it was kept. Whatever an interrupt kept from being undone is undone by the next context or
call further out that ends. A promise may be kept twice, or without its change: it must not mind.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


class _Promised(threading.local):
    """Of each thread."""

    def __init__(self) -> None:
        self.undos: list[Callable[[], object]] = []


_promised = _Promised()


def promise(undo: Callable[[], object]) -> None:
    """``undo`` is called when the innermost :func:`kept_promises` or :func:`leaves_nothing` ends."""
    _promised.undos.append(undo)


@contextmanager
def kept_promises() -> Iterator[None]:
    """What is promised inside is kept at the end, the last first, whatever happens."""

    def mark() -> None:  # found again by itself: this may end long after it was interrupted
        pass

    _promised.undos.append(mark)
    try:
        yield
    finally:
        if mark in _promised.undos:
            _keep(_promised.undos.index(mark))


def leaves_nothing(function: F) -> F:
    """For what users call: what an interrupt kept a context inside from undoing is undone when it is over."""

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        before = len(_promised.undos)
        try:
            return function(*args, **kwargs)
        finally:
            _keep(before)

    return call  # type: ignore[return-value]


def _keep(place: int) -> None:
    """Undo what was promised from ``place`` on, all of it; then raise the first error that came, if any."""
    undos, fault = _promised.undos, None
    while len(undos) > place:
        try:
            undos[-1]()
        except Exception as error:
            fault = fault or error
        undos.pop()
    if fault is not None:
        raise fault
