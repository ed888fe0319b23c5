"""A progress bar for what takes longer than a second, on a terminal only."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress

PATIENCE = 1.0  # seconds before a bar appears


class Bar:
    """Counts; shows itself once ``PATIENCE`` has passed, if it may."""

    def __init__(self, title: str, total: int | None, visible: bool) -> None:
        self._title, self._total, self._visible = title, total, visible
        self._done = 0
        self._started = time.monotonic()
        self._live: Progress | None = None

    def steps(self, total: int) -> Callable[[], None]:
        """Expect ``total`` more steps; what is returned counts one."""
        self._total = (self._total or 0) + total
        return self.advance

    def advance(self) -> None:
        """One step is done."""
        self._done += 1
        if not self._visible or time.monotonic() - self._started < PATIENCE:
            return
        if self._live is None:
            self._live = self._open()
        self._live.update(self._live.task_ids[0], completed=self._done, total=self._total)

    def close(self) -> None:
        """Take the bar off the screen."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _open(self) -> Progress:
        from rich.console import Console
        from rich.progress import Progress

        live = Progress(console=Console(stderr=True), transient=True)
        live.add_task(self._title, total=self._total)
        live.start()
        return live


@contextmanager
def progress(title: str, *, total: int | None = None, show: bool = True) -> Iterator[Bar]:
    """A :class:`Bar` that is gone at the end, also when something raises."""
    bar = Bar(title, total, show and sys.stderr.isatty())
    try:
        yield bar
    finally:
        bar.close()
