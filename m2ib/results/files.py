"""Files of a run's results: tables as CSV, all at once or not at all."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from m2ib.folders import ResultFolder


def csv_text(rows: Iterable[Sequence[Any]]) -> str:
    """Rows as CSV, a line feed after each."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def write_files(folder: ResultFolder, files: Mapping[str, str | bytes]) -> None:
    """Write them into a folder, by name, all at once; texts as UTF-8. Raises :class:`StorageError`."""
    with folder.replacing() as place:
        for name, content in files.items():
            data = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
            (place / name).write_bytes(data)
