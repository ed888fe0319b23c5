"""A progress bar for what takes longer than a second, on a terminal only."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress

PATIENCE = 1.0  # seconds before a bar appears
LOG_EVERY = 30.0  # seconds


class Bar:
    """Counts; shows itself once ``PATIENCE`` has passed, if it may.

    told  how far it is in numbers too, where there is no terminal in a line now and then
    """

    def __init__(self, title: str, total: int | None, visible: bool, told: bool = False) -> None:
        self._title, self._total, self._visible, self._told = title, total, visible, told
        self._done = self._failed = self._skipped = 0
        self._started = self._logged = time.monotonic()
        self._live: Progress | None = None

    def steps(self, total: int) -> Callable[[], None]:
        """Expect ``total`` more steps; what is returned counts one."""
        self._total = (self._total or 0) + total
        return self.advance

    def advance(self, *, failed: bool = False, skipped: bool = False) -> None:
        """One step is done; it failed, or had been done before."""
        self._done += 1
        self._failed += failed
        self._skipped += skipped
        if not self._visible or time.monotonic() - self._started < PATIENCE:
            return
        if self._live is None:
            self._live = self._open()
        shown = f"{self._title} {self.said}" if self._told else self._title
        self._live.update(self._live.task_ids[0], completed=self._done, total=self._total, description=shown)

    def log(self) -> None:
        """A line on standard error, where there is no terminal, and the last one is half a minute old."""
        now = time.monotonic()
        if self._told and not self._visible and now - self._logged > LOG_EVERY:
            self._logged = now
            print(f"m2ib: {self._title}: {self.said}", file=sys.stderr, flush=True)

    @property
    def said(self) -> str:
        """How far it is, how fast, and how long it will take."""
        seconds = time.monotonic() - self._started
        rate = (self._done - self._skipped) / max(seconds, 1e-9)
        parts = [f"{self._done:,}" + ("" if self._total is None else f" of {self._total:,}")]
        parts += [f"{self._failed:,} errors"] if self._failed else []
        parts += [f"{rate:.3g} a second"] if rate else []
        if self._total is not None and rate:
            left = timedelta(seconds=round(max(0, self._total - self._done) / rate))
            parts.append(f"{left} left")
        return ", ".join(parts)

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
def progress(title: str, *, total: int | None = None, show: bool = True, told: bool = False) -> Iterator[Bar]:
    """A :class:`Bar` that is gone at the end, also when something raises."""
    bar = Bar(title, total, show and sys.stderr.isatty(), told)
    try:
        yield bar
    finally:
        bar.close()


def every(calls: int, advance: Callable[[], None]) -> Callable[[], None]:
    """``advance`` once for so many calls."""
    number = count(1)

    def call() -> None:
        if next(number) % calls == 0:
            advance()

    return call
