"""What a command prints: its results alone on standard output, and everything else that prints on standard error."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console


class Results:
    """Standard output. Where it cannot be written the work goes on, and what is printed goes nowhere.

    fault  why it could not be written; None as long as it could
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self.fault: OSError | None = None

    @contextmanager
    def writing(self) -> Iterator[TextIO | None]:
        try:
            yield self._stream
        except OSError as error:
            self.fault = self.fault or error
            self._abandon()

    def flush(self) -> None:
        with self.writing() as stream:
            if stream is not None:
                stream.flush()

    def _abandon(self) -> None:
        """Nothing that is still to be written can fail once more, as it would when Python ends."""
        with suppress(OSError, ValueError, AttributeError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())  # type: ignore[union-attr]
            os.close(nowhere)


_open: list[Results] = []


@contextmanager
def results() -> Iterator[Results]:
    """Inside, :func:`say` and :func:`console` write standard output; ``print`` writes standard error."""
    _open.append(Results(sys.stdout))
    try:
        with redirect_stdout(sys.stderr):
            yield _open[-1]
    finally:
        _open.pop().flush()


def say(text: object, end: str = "\n") -> None:
    """A line of the results."""
    with _open[-1].writing() as stream:
        if stream is not None:
            stream.write(f"{text}{end}")


def console() -> Console:
    """For tables among the results."""
    from rich.console import Console

    out = _open[-1]

    class _Console(Console):
        def print(self, *objects: Any, **how: Any) -> None:
            with out.writing():
                super().print(*objects, **how)

        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    return _Console(file=out._stream or open(os.devnull, "w"))
