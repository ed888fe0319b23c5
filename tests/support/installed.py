"""Distributions with entry points, written as an installer would write them."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest


class Plugins:
    """Writes distributions into a folder of ``sys.path``, as an installer would."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(
        self, distribution: str, code: str, *, entry_point: str = "main", module: str | None = None
    ) -> None:
        stem = distribution.replace("-", "_")
        module = module or stem
        (self.folder / f"{module}.py").write_text(dedent(code))
        info = self.folder / f"{stem}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[m2ib]\n{entry_point} = {module}\n")


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Plugins]:
    monkeypatch.delenv("M2IB_STRICT_PLUGINS", raising=False)
    before = set(sys.modules)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    yield Plugins(tmp_path)
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]
