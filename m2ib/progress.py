"""How far a long task is: a bar on a terminal; elsewhere a line on standard error now and then."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import timedelta
from itertools import count
from typing import Any

PATIENCE = 1.0  # seconds before a bar appears
REFRESH = 0.25  # seconds between its looks
SILENCE = 10.0  # seconds before the first line, where there is no terminal
LOG_EVERY = 30.0  # seconds between lines

_silent: ContextVar[bool] = ContextVar("silent", default=False)


class Bar:
    """Counts, and tells how far it is from a thread of its own: a step may take minutes, as a download does.

    waiting  whether nothing is done, because nobody has asked for more: no line is due meanwhile
    """

    def __init__(self, title: str, total: int | None) -> None:
        self.waiting = False
        self._title, self._total = title, total
        self._done = self._failed = self._skipped = 0
        self._started = time.monotonic()
        self._closed = threading.Event()
        self._teller: threading.Thread | None = None

    def steps(self, total: int) -> Callable[[], None]:
        """Expect ``total`` more steps; what is returned counts one."""
        self._total = (self._total or 0) + total
        return self.advance

    def advance(self, *, failed: bool = False, skipped: bool = False) -> None:
        """One step is done; it failed, or had been done before."""
        self._done += 1
        self._failed += failed
        self._skipped += skipped

    @property
    def said(self) -> str:
        """How far it is, how fast, and how long it will take; of what has no steps, how long it takes already."""
        seconds = time.monotonic() - self._started
        rate = (self._done - self._skipped) / max(seconds, 1e-9)
        total = self._total if self._total and self._total >= self._done else None
        parts = (
            [f"{self._done:,}" + ("" if total is None else f" of {total:,}")] if total or self._done else []
        )
        parts += [f"{self._failed:,} failed"] if self._failed else []
        parts += [f"{rate:.3g} a second" if rate >= 1 else f"{1 / rate:.3g} s each"] if rate else []
        if total is not None and rate:
            parts.append(f"{timedelta(seconds=round((total - self._done) / rate))} left")
        else:
            parts.append(f"{timedelta(seconds=round(seconds))} so far")
        return ", ".join(parts)

    def open(self) -> None:
        """Begin to tell."""
        tell = self._show if sys.stderr.isatty() else self._log
        teller = threading.Thread(target=tell, name=f"m2ib: {self._title}", daemon=True)
        teller.start()
        self._teller = teller  # one that an interrupt kept from starting cannot be joined

    def close(self) -> None:
        """Tell no more, and take the bar off the screen."""
        self._closed.set()
        if self._teller is not None:
            self._teller.join()

    @property
    def _shown(self) -> dict[str, Any]:
        return {
            "completed": self._done,
            "total": self._total or None,
            "description": f"{self._title}: {self.said}",
        }

    def _show(self) -> None:
        if self._closed.wait(PATIENCE):
            return
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        columns = TextColumn("{task.description}", markup=False), BarColumn()
        with Progress(*columns, console=Console(stderr=True), transient=True) as live:
            task = live.add_task(**self._shown)
            while not self._closed.wait(REFRESH):
                live.update(task, **self._shown)

    def _log(self) -> None:
        wait = SILENCE
        while not self._closed.wait(wait):
            if not self.waiting:
                with suppress(OSError, ValueError):  # nobody is left to be told
                    sys.stderr.write(f"m2ib: {self._title}: {self.said}\n")
                    sys.stderr.flush()
            wait = LOG_EVERY


@contextmanager
def progress(title: str, *, total: int | None = None, show: bool = True) -> Iterator[Bar]:
    """A :class:`Bar` that is gone at the end, also when something raises."""
    bar = Bar(title, total)
    try:
        if show and not _silent.get():
            bar.open()
        yield bar
    finally:
        bar.close()


@contextmanager
def silence() -> Iterator[None]:
    """Inside, nothing tells how far it is."""
    token = _silent.set(True)
    try:
        yield
    finally:
        _silent.reset(token)


def every(calls: int, advance: Callable[[], None]) -> Callable[[], None]:
    """``advance`` once for so many calls."""
    number = count(1)

    def call() -> None:
        if next(number) % calls == 0:
            advance()

    return call


def going_on(title: str, done: int, total: int | None, what: str, *, show: bool = True) -> None:
    """A line on standard error, on a terminal too: that so much was there already, where some was and some is left."""
    if show and not _silent.get() and done and done != total:
        of = f" of {total:,}" if total is not None and total > done else ""
        with suppress(OSError, ValueError):  # nobody is left to be told
            print(
                f"m2ib: {title}: going on: {done:,}{of} {what} were there already",
                file=sys.stderr,
                flush=True,
            )
