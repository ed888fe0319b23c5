"""One attack in a process of its own: bounded in time and memory, and watched for what reading must never do."""

from __future__ import annotations

import gc
import io
import os
import pickle
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from m2ib.errors import M2IBError

SECONDS, PATIENCE = 40, 90  # of the processor, and by the clock
LONGEST = 10_000  # characters of an error
MEMORY = 3 * 2**30  # bytes above what is there before
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_MOVES = {
    "os.remove",
    "os.rename",
    "os.mkdir",
    "os.rmdir",
    "os.link",
    "os.symlink",
    "os.chmod",
    "os.truncate",
}
_NEVER = (
    "socket.connect",
    "socket.getaddrinfo",
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "builtins.input",
)


class Finding(Exception):
    """What must not be, where nothing is raised."""


@dataclass(frozen=True)
class Outcome:
    """kind  "accepted", "refused" or "finding"; said  what was done to the input, and what came of it"""

    kind: str
    done: str
    said: str
    trace: str = ""


Attack = Callable[[Path], tuple[str, Callable[[], object]]]
"""Puts what is hostile into a folder, all within it; says what, and gives what reads it."""


def attempt(attack: Attack, folder: Path) -> Outcome:
    """Runs it in a fork of this process. The folder is made, and taken away."""
    folder.mkdir(parents=True)
    reading, writing = os.pipe()
    with warnings.catch_warnings():  # of other threads, which have nothing to do here
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        os.close(reading)
        _run(attack, folder, writing)
    os.close(writing)
    try:
        content, late = _received(reading, child)
        _, status, _ = os.wait4(child, 0)
    finally:
        os.close(reading)
        shutil.rmtree(folder, ignore_errors=True)
    parts = content.split(b"\n", 1)
    done = parts[0].decode() if len(parts) > 1 else "(while it was prepared)"
    if late:
        return Outcome("finding", done, f"no answer within {PATIENCE} s")
    if os.WIFSIGNALED(status):
        return Outcome("finding", done, f"died of {signal.Signals(os.WTERMSIG(status)).name}")
    if not content or not parts[-1]:
        return Outcome("finding", done, f"ended with {os.waitstatus_to_exitcode(status)} and said nothing")
    return Outcome(*pickle.loads(parts[-1]))


def _received(reading: int, child: int) -> tuple[bytes, bool]:
    """All that the child wrote, and whether it was ended for being late."""
    until, content = time.monotonic() + PATIENCE, b""
    while True:
        ready, _, _ = select.select([reading], [], [], max(0.0, until - time.monotonic()))
        if not ready:
            os.kill(child, signal.SIGKILL)
            return content, True
        part = os.read(reading, 2**16)
        if not part:
            return content, False
        content += part


def _run(attack: Attack, folder: Path, writing: int) -> NoReturn:
    """In the child: never comes back."""
    done = ""
    try:
        gc.disable()
        os.setpgid(0, 0)
        silence = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(silence, stream)
        sys.stdin, sys.stdout, sys.stderr = _NoInput(), io.StringIO(), io.StringIO()
        tempfile.tempdir = os.fspath(folder)
        done, read = attack(folder)
        done = " ".join(done.split())[:300] or "nothing"
        os.write(writing, done.encode("utf-8", "replace") + b"\n")
        broken = _watch(folder)
        _limit()
        outcome = _tried(done, read)
        if broken:
            outcome = Outcome("finding", done, f"it did {broken[0]}")
    except BaseException as error:
        outcome = Outcome("finding", done, f"the attack itself failed: {error!r}", traceback.format_exc())
        if not done:
            os.write(writing, b"(while it was prepared)\n")
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        os.write(writing, pickle.dumps((outcome.kind, outcome.done, outcome.said, outcome.trace)))
        os._exit(0)


def _tried(done: str, read: Callable[[], object]) -> Outcome:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read()
    except M2IBError as error:
        said = str(error)
        if len(said.splitlines()) > 1 or len(said) > LONGEST:
            return Outcome(
                "finding",
                done,
                f"an error of {len(said.splitlines())} lines and {len(said)} characters: {said!r:.200}",
            )
        return Outcome("refused", done, said)
    except Finding as error:
        return Outcome("finding", done, str(error)[:500])
    except BaseException as error:
        return Outcome(
            "finding", done, f"{type(error).__name__}: {error}"[:300], traceback.format_exc()[-4000:]
        )
    return Outcome("accepted", done, "")


def _limit() -> None:
    with open("/proc/self/statm", encoding="ascii") as file:
        size = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, resource.RLIM_INFINITY))
    used = resource.getrusage(resource.RUSAGE_SELF)
    resource.setrlimit(
        resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + SECONDS, resource.RLIM_INFINITY)
    )
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**30, resource.RLIM_INFINITY))


class _NoInput(io.TextIOBase):
    def read(self, *_: Any) -> str:
        raise Finding("stdin was asked")

    readline = readlines = __next__ = read  # type: ignore[assignment]


def _watch(folder: Path) -> list[str]:
    """What is done from here on that reading must not do: kept, for whoever swallows the exception."""
    broken: list[str] = []
    caches = (
        os.environ[name] for name in ("MPLCONFIGDIR", "HF_HOME", "XDG_CACHE_HOME") if name in os.environ
    )
    inside = (os.fspath(folder), os.devnull, *caches)

    def look(event: str, args: tuple[Any, ...]) -> None:
        paths: tuple[Any, ...] = ()
        if (
            (event == "open" and (args[2] or 0) & _WRITES and isinstance(args[0], (str, bytes)))
            or event in _MOVES
            or event == "sqlite3.connect"
        ):
            paths = args[:1]
        for path in paths:
            if event in _MOVES and args[-1] != -1:  # beside a folder that was opened, as rmtree does
                continue
            if isinstance(path, (str, bytes)) and not os.path.abspath(os.fsdecode(path)).startswith(inside):
                broken.append(f"{event} of {os.fsdecode(path)!r}")
        if event in _NEVER:
            broken.append(f"{event} {args!r:.100}")
            raise Finding(broken[-1])

    sys.addaudithook(look)
    return broken
