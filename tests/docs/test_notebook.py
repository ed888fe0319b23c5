"""The documentation's notebook runs as it stands, and what it shows is what it keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
from notebook import NOTEBOOK, executed


def kinds(book: Any) -> list[list[list[str]]]:
    """Of each cell of code, what its outputs are."""
    return [
        [sorted(output.data) for output in cell.outputs] for cell in book.cells if cell.cell_type == "code"
    ]


def test_the_notebook_runs_and_keeps_what_it_shows(tmp_path: Path) -> None:
    stored = nbformat.read(NOTEBOOK, 4)
    picture, text = ["image/png", "text/plain"], ["text/plain"]
    assert kinds(stored) == [[], [picture], [text], [text], [picture], [picture], [picture], [picture]]
    assert NOTEBOOK.stat().st_size < 1_000_000
    assert kinds(executed(NOTEBOOK, tmp_path)) == kinds(stored)
    assert (tmp_path / "figure.pdf").read_bytes().startswith(b"%PDF")
