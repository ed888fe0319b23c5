"""The bar: silent where nobody looks, there where somebody waits, gone at the end."""

from __future__ import annotations

import io
import sys

import pytest

from m2ib import progress as module


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_it_is_silent_when_not_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.0)
    out = io.StringIO()
    monkeypatch.setattr(sys, "stderr", out)
    with module.progress("explain", total=3) as bar:
        for _ in range(3):
            bar.advance()
    assert out.getvalue() == ""


@pytest.mark.parametrize(("patience", "shown"), [(0.0, True), (60.0, False)])
def test_it_shows_on_a_terminal_after_a_while(
    monkeypatch: pytest.MonkeyPatch, patience: float, shown: bool
) -> None:
    monkeypatch.setattr(module, "PATIENCE", patience)
    out = Terminal()
    monkeypatch.setattr(sys, "stderr", out)
    with module.progress("explain") as bar:
        advance = bar.steps(4)
        for _ in range(4):
            advance()
    assert ("explain" in out.getvalue()) == shown


def test_it_is_closed_when_something_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.0)
    monkeypatch.setattr(sys, "stderr", Terminal())
    bars: list[module.Bar] = []

    def fail() -> None:
        with module.progress("explain", total=2) as bar:
            bars.append(bar)
            bar.advance()
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        fail()
    assert bars[0]._live is None
