"""Executes the documentation's notebook and keeps what it shows: ``python docs/ext/notebook.py``."""

from __future__ import annotations

import base64
import io
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from PIL import Image

NOTEBOOK = Path(__file__).parents[1] / "notebook.ipynb"


def executed(book: NotebookNode, folder: Path) -> NotebookNode:
    """With the outputs of a fresh kernel in this folder. Raises :class:`nbclient.exceptions.CellExecutionError`."""
    NotebookClient(book, timeout=600, resources={"metadata": {"path": str(folder)}}).execute()
    for cell in book.cells:
        cell.metadata.pop("execution", None)  # when it ran
        for output in cell.get("outputs", []):
            # A page in a frame is far larger than its picture, which stays the same wherever the notebook is shown.
            if "image/png" in output.get("data", {}):
                output["data"].pop("text/html", None)
                output["data"]["image/png"] = smaller(output["data"]["image/png"])
    return book


def smaller(png: str) -> str:
    """A picture in base64 with 256 colours and 900 pixels across at most."""
    with Image.open(io.BytesIO(base64.b64decode(png))) as picture:
        shown = picture.convert("RGB")
    shown.thumbnail((900, 900), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    shown.quantize(256).save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        nbformat.write(executed(nbformat.read(NOTEBOOK, 4), Path(folder)), NOTEBOOK)
