"""Arrays of a view on disk."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np


def store_arrays(folder: Path, stem: str, arrays: Mapping[str, np.ndarray]) -> str:
    """Write them into ``folder`` as one file; its name."""
    name = f"{stem}.npz"
    with (folder / name).open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type] # its stub takes the names for options
    return name


def restore_arrays(folder: Path, name: str, wanted: Sequence[str]) -> list[np.ndarray]:
    """The arrays called ``wanted``; the file is looked for in ``folder`` alone.

    Raises OSError, KeyError or ValueError for a file that is not there or damaged.
    """
    try:
        with (folder / Path(name).name).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return [arrays[key] for key in wanted]
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise ValueError(f"{name}: {error}") from error
