"""Files of a run's results: tables as CSV, written into a folder whole or not at all."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from m2ib.errors import StorageError


def csv_text(rows: Iterable[Sequence[Any]]) -> str:
    """Rows as CSV, a line feed after each."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def write_files(folder: Path, files: Mapping[str, str | bytes]) -> None:
    """Write each into a folder that is there, by name; texts as UTF-8. Raises :class:`StorageError`."""
    try:
        for name, content in files.items():
            beside = folder / f"{name}.part"
            beside.write_bytes(content.encode() if isinstance(content, str) else content)
            os.replace(beside, folder / name)
    except OSError as error:
        raise StorageError(f"cannot write into {str(folder)!r}: {error.strerror or error}") from error
