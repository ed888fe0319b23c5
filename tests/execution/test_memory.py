"""Memory that is no longer used."""

from __future__ import annotations

import resource
import sys

import numpy as np
import pytest

from m2ib.execution import memory


def resident() -> float:
    """MiB of this process now."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks /proc")
@pytest.mark.skipif(memory._trim is None, reason="a library of C's that keeps nothing, or cannot be asked")
def test_what_was_freed_goes_back_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    def given_back() -> float:
        arrays = [np.ones(1000) for _ in range(20_000)]  # 160 MB in small pieces
        del arrays[:-1]  # the last one holds the heap's end
        before = resident()
        memory.give_back_memory()
        return before - resident()

    monkeypatch.setattr(memory, "_given_back", -1e9)
    assert given_back() > 100
    assert given_back() < 50  # so soon again it is left
