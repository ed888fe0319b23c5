"""How far a task is: silent while it is short, told while somebody waits, gone at the end."""

from __future__ import annotations

import io
import re
import sys
import threading
import time
from collections.abc import Callable

import pytest

from m2ib import explain_many, load_model
from m2ib import progress as module


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def until(holds: Callable[[], bool]) -> None:
    """Wait for it, ten seconds at most."""
    late = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < late, "it did not come"
        time.sleep(0.005)


def tellers() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name.startswith("m2ib: ")]


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """What was written on standard error, of a process without a terminal where nobody waits long for a line."""
    monkeypatch.setattr(module, "SILENCE", 0.0)
    monkeypatch.setattr(module, "LOG_EVERY", 0.01)
    kept: list[str] = []

    def lines() -> str:
        kept.append(capsys.readouterr().err)
        return "".join(kept)

    return lines


@pytest.mark.parametrize("out", [io.StringIO(), Terminal()], ids=["file", "terminal"])
def test_what_is_short_is_silent(monkeypatch: pytest.MonkeyPatch, out: io.StringIO) -> None:
    monkeypatch.setattr(sys, "stderr", out)
    with module.progress("explain", total=3) as bar:
        for _ in range(3):
            bar.advance()
    assert out.getvalue() == ""
    assert tellers() == []


def test_a_step_that_takes_long_is_told_meanwhile(lines: Callable[[], str]) -> None:
    with module.progress("load the model"):
        until(lambda: lines().count("\n") >= 2)
    assert lines().splitlines()[0] == "m2ib: load the model: 0:00:00 so far"
    said = lines()
    time.sleep(0.05)
    assert lines() == said
    assert tellers() == []


def test_a_line_says_how_far_it_is(lines: Callable[[], str]) -> None:
    with module.progress("run", total=3) as bar:
        until(lambda: "m2ib: run: 0 of 3, 0:00:00 so far\n" in lines())
        bar.advance(skipped=True)
        bar.advance(failed=True)
        until(lambda: "m2ib: run: 2 of 3, 1 failed, " in lines())
        assert re.search(r" (a second|s each), 0:00:\d\d left\n$", lines())
        bar.advance()
        bar.advance()  # more than were expected
        until(lambda: "m2ib: run: 4, 1 failed, " in lines())


@pytest.mark.parametrize("show", [True, False])
def test_it_can_be_silenced(lines: Callable[[], str], show: bool) -> None:
    with module.silence(), module.progress("run", show=show):
        assert tellers() == []
    with module.progress("run", show=False):
        assert tellers() == []
    with module.progress("run"):
        until(lambda: "run" in lines())


def test_nothing_is_told_while_nobody_asks_for_more(lines: Callable[[], str]) -> None:
    model = load_model("imagebind-tiny", device="cpu")
    pairs = [(("text", "a frog"), ("text", "a frog and a bee"))] * 2
    explanations = explain_many(model, pairs, batch_size=1, steps=1, samples=1)
    next(explanations)
    time.sleep(0.05)  # of a line that had begun
    said = lines()
    time.sleep(0.1)
    assert lines() == said
    explanations.close()  # type: ignore[attr-defined]
    assert tellers() == []


def test_a_standard_error_that_cannot_be_written_is_no_fault(
    lines: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr(sys, "stderr", gone)
    with module.progress("run") as bar:
        gone.detach()
        time.sleep(0.05)
        bar.advance()


def test_a_terminal_shows_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.0)
    out = Terminal()
    monkeypatch.setattr(sys, "stderr", out)
    with module.progress("explain") as bar:
        bar.steps(4)()
        until(lambda: "explain: 1 of 4" in out.getvalue())
        bar.advance()
        until(lambda: "explain: 2 of 4" in out.getvalue())
    assert tellers() == []


def test_it_is_gone_when_something_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.0)
    out = Terminal()
    monkeypatch.setattr(sys, "stderr", out)

    def fail() -> None:
        with module.progress("explain", total=2):
            until(lambda: "explain: " in out.getvalue())
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        fail()
    assert tellers() == []
