"""The attacks of ``tests/benchmarks/attacks.py``: what they catch, and a few of each kind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import m2ib

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "tests" / "benchmarks" / "attacks.py"


def refused() -> None:
    raise m2ib.InputError("image 'x': damaged; give another")


def raised() -> None:
    raise IndexError("tuple")


def several_lines() -> None:
    raise m2ib.InputError("one\ntwo")


def swallowed() -> None:
    try:
        socket.getaddrinfo("localhost", 80)
    except Exception:
        return


CASES: dict[str, tuple[Callable[[], Any], str, str]] = {
    "an answer": (lambda: None, "accepted", ""),
    "our own error": (refused, "refused", "damaged; give another"),
    "another error": (raised, "finding", "IndexError: tuple"),
    "a long error": (several_lines, "finding", "an error of 2 lines"),
    "an end": (lambda: sys.exit(0), "finding", "SystemExit"),
    "a crash": (lambda: os.kill(os.getpid(), signal.SIGKILL), "finding", "SIGKILL"),
    "too much memory": (lambda: bytearray(2**36), "finding", "MemoryError"),
    "a question": (lambda: input("run this code?"), "finding", "builtins.input"),
    "the network, in silence": (swallowed, "finding", "socket.getaddrinfo"),
    "a process": (lambda: subprocess.run(["true"], check=True), "finding", "subprocess.Popen"),
    "a file elsewhere": (lambda: open(os.path.expanduser("~/executed"), "a").close(), "finding", "open of"),
}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="each attack is a fork")
@pytest.mark.parametrize("case", CASES)
def test_what_an_attack_is_watched_for(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.syspath_prepend(SCRIPT.parent)
    from attack.sandbox import attempt

    read, kind, said = CASES[case]
    outcome = attempt(lambda folder: ("nothing", read), tmp_path / "here")
    assert (outcome.kind, outcome.done) == (kind, "nothing")
    assert said in outcome.said
    assert not (tmp_path / "here").exists()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="each attack is a fork")
def test_a_few_attacks_of_each_kind() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "adapters")])}
    command = [sys.executable, str(SCRIPT), "--attacks", "4", "--seed", "17"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert ended.returncode == 0, ended.stdout + ended.stderr[-2000:]
    rows = {line.split()[0]: line.split()[1:] for line in ended.stdout.splitlines()}
    assert set(rows) >= {"saved", "readers", "tables", "configs", "models", "cli"}
    assert all(rows[name][0] == "4" and rows[name][3] == "0" for name in rows if name != "target")
