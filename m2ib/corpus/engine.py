"""Rows in, a result for each out, in order; whatever happens to a row is that row's alone.

::

    rows --chunks--> backend: job(chunk) here, in other processes, or on Ray --> (row, result or Failed)

A job takes a list of rows and gives as many results. Where it raises, the chunk is halved until it is known which row it was: that one
is :class:`Failed`. For want of memory it is halved too, and the chunks that follow are no larger.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import m2ib.errors
from m2ib.errors import M2IBError, OutOfMemoryError, PluginError, one_line
from m2ib.execution.memory import free_memory

R = TypeVar("R")
Job = Callable[[Sequence[Any]], Sequence[Any]]
"""Rows to a result, or :class:`Failed`, for each. Picklable, where the backend has other processes."""


@dataclass(frozen=True)
class Failed:
    """In place of a result: why there is none.

    kind     the error's class: "InputError", ...
    message  what it says
    error    itself, in the process where it was raised
    """

    kind: str
    message: str
    error: Exception | None = field(default=None, compare=False)

    @classmethod
    def of(cls, error: Exception) -> Failed:
        said = str(error) if isinstance(error, M2IBError) else one_line(error)
        return cls(type(error).__name__, said, error)

    def raised(self, where: str) -> Exception:
        """The error, named by the row that it is about; one that is not ours as it was."""
        if self.error is not None and not isinstance(self.error, M2IBError):
            return self.error
        kind = getattr(m2ib.errors, self.kind, None)
        if not (isinstance(kind, type) and issubclass(kind, M2IBError)):
            kind = PluginError if self.error is None else type(self.error)
        made: M2IBError = kind(f"{where}: {self.message}")
        made.__cause__ = self.error
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return Failed, (self.kind, self.message)  # in another process it is told


class Backend(Protocol):
    """Where chunks are worked on."""

    def map(self, job: Job, chunks: Iterable[Sequence[Any]]) -> Generator[Sequence[Any]]:
        """The results in the chunks' order; few more chunks are taken than are worked on."""
        ...


class Here:
    """In this process, one chunk after the other."""

    def map(self, job: Job, chunks: Iterable[Sequence[Any]]) -> Generator[Sequence[Any]]:
        yield from map(job, chunks)


def stream(chunks: Iterable[Sequence[R]], job: Job, backend: Backend) -> Generator[list[tuple[R, Any]]]:
    """Of each chunk, its rows with their results, or :class:`Failed`."""
    taken: list[Sequence[R]] = []

    def kept() -> Iterator[Sequence[R]]:
        for chunk in chunks:
            taken.append(chunk)
            yield chunk

    with closing(backend.map(job, kept())) as results:
        for found in results:
            yield [*zip(taken.pop(0), found, strict=True)]


def chunks_of(rows: Iterable[R], size: int) -> Iterator[list[R]]:
    """So many at a time."""
    rows = iter(rows)
    while chunk := list(itertools.islice(rows, size)):
        yield chunk


class Halving:
    """A job that raises for a list of rows, told for each of them.

    caught  what is a row's own failure; anything else goes on. A warning that was made an error always does
    """

    def __init__(self, job: Job, caught: type[Exception] = Exception) -> None:
        self._job = job
        self._caught = caught
        self._most: int | None = None  # what memory has sufficed for

    def __call__(self, rows: Sequence[Any]) -> list[Any]:
        found: list[Any] = []
        while len(found) < len(rows):
            found += self._tried(rows[len(found) :][: self._most])
        return found

    def _tried(self, rows: Sequence[Any]) -> list[Any]:
        half, short = len(rows) // 2, False
        try:
            return [*self._job(rows)]
        except Warning:
            raise
        except OutOfMemoryError as error:
            if not half:
                return [Failed.of(error)]
            self._most, short = half, True
        except self._caught as error:
            cause = error.__cause__
            if isinstance(cause, Warning):
                raise cause from None
            if not half:
                return [Failed.of(error)]
        if short:
            free_memory()  # outside of the handler, whose frames held it
        return [*self(rows[:half]), *self(rows[half:])]
