"""The documentation's notebook: executed, with small outputs that are kept in it, and as a page.

``python docs/ext/notebook.py`` executes it anew.
"""

from __future__ import annotations

import base64
import io
import json
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

NOTEBOOK = Path(__file__).parents[1] / "notebook.ipynb"


def executed(path: Path, folder: Path) -> Any:
    """A notebook with the outputs of a fresh kernel in this folder. Raises :class:`nbclient.exceptions.CellExecutionError`."""
    import nbformat
    from nbclient import NotebookClient

    book = nbformat.read(path, 4)
    NotebookClient(book, timeout=600, resources={"metadata": {"path": str(folder)}}).execute()
    for cell in book.cells:
        cell.metadata.pop("execution", None)  # when it ran
        if "outputs" in cell:
            cell.outputs = [output for output in cell.outputs if output.output_type != "stream"]
        for output in cell.get("outputs", []):
            # A page in a frame is far larger than its picture, and not shown by everything that shows notebooks.
            if "image/png" in output.data:
                output.data.pop("text/html", None)
                output.data["image/png"] = smaller(output.data["image/png"])
    return book


def smaller(png: str) -> str:
    """A picture in base64 with 256 colours and 900 pixels across at most."""
    with Image.open(io.BytesIO(base64.b64decode(png))) as picture:
        shown = picture.convert("RGB")
    shown.thumbnail((900, 900), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    shown.quantize(256).save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()


def as_markdown(path: Path) -> str:
    """Cells and their outputs; pictures stand in the page."""
    parts = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        for output in cell.get("outputs", []):
            if "image/png" in output["data"]:
                said = "".join(output["data"]["text/plain"]).replace("[", "(").replace("]", ")")
                data = "".join(output["data"]["image/png"]).replace("\n", "")
                parts.append(f"![{' '.join(said.split())}](data:image/png;base64,{data})")
            else:
                parts.append(f"```{{ .text .no-copy }}\n{''.join(output['data']['text/plain'])}\n```")
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    import nbformat

    with tempfile.TemporaryDirectory() as folder:
        nbformat.write(executed(NOTEBOOK, Path(folder)), NOTEBOOK)
