"""Views on disk: a dataclass field by field, its arrays in a file of their own, everything else JSON-able."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, asdict, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from m2ib.contract.layout import Axis
from m2ib.contract.regions import Region


def store_view(view: Any, folder: Path, stem: str) -> dict[str, Any]:
    """Write a view into ``folder``; what :func:`restore_view` needs, JSON-able."""
    arrays = {name: getattr(view, name) for name in _array_names(type(view))}
    return {"arrays": store_arrays(folder, stem, arrays), **store_fields(view, folder, stem)}


def restore_view(kind: type, stored: Mapping[str, Any], folder: Path) -> Any:
    """The view of this class that :func:`store_view` wrote. Raises as :func:`restore_arrays` does."""
    names = _array_names(kind)
    arrays = dict(zip(names, restore_arrays(folder, stored["arrays"], names), strict=True))
    return kind(**arrays, **restore_fields(kind, stored, folder))


def store_fields(view: Any, folder: Path, stem: str) -> dict[str, Any]:
    """All but the arrays."""
    return {
        field.name: store_regions(view.regions, folder, stem)
        if field.name == "regions"
        else _as_lists(getattr(view, field.name))
        for field in _plain_fields(type(view))
    }


def restore_fields(kind: type, stored: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """All but the arrays; what was stored before a field with a default was there has none of it.

    Raises KeyError for a field without default that is not there.
    """
    return {
        field.name: restore_regions(stored["regions"], folder)
        if field.name == "regions"
        else as_tuples(stored[field.name])
        for field in _plain_fields(kind)
        if field.name in stored or field.default is MISSING
    }


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


def store_regions(regions: Sequence[Region], folder: Path, stem: str) -> Mapping[str, Any]:
    """Write them into ``folder``; what :func:`restore_regions` needs, JSON-able."""
    if not regions:
        return {}
    arrays = {}
    for number, region in enumerate(regions):
        arrays[f"{number}.mask"] = region.mask
        for place, axis in enumerate(region.axes):
            arrays[f"{number}.axis{place}"] = np.array(axis.spans, dtype=np.float64).reshape(-1, 2)
    return {
        "arrays": store_arrays(folder, f"{stem}-regions", arrays),
        "each": [
            {
                "name": region.name,
                "main": region.main,
                "axes": [[axis.name, axis.unit] for axis in region.axes],
            }
            for region in regions
        ],
    }


def restore_regions(stored: Mapping[str, Any], folder: Path) -> tuple[Region, ...]:
    """The regions that :func:`store_regions` wrote."""
    found = []
    for number, row in enumerate(stored["each"] if stored else ()):
        names = [f"{number}.mask", *(f"{number}.axis{place}" for place in range(len(row["axes"])))]
        mask, *spans = restore_arrays(folder, stored["arrays"], names)
        placed = zip(row["axes"], spans, strict=True)
        axes = tuple(Axis(name, unit, as_tuples(each.tolist())) for (name, unit), each in placed)
        found.append(Region(row["name"], mask, axes, row["main"]))
    return tuple(found)


def _array_names(kind: type) -> list[str]:
    return [field.name for field in fields(kind) if field.type == "np.ndarray"]


def _plain_fields(kind: type) -> list[Field[Any]]:
    return [field for field in fields(kind) if field.type != "np.ndarray"]


def _as_lists(value: Any) -> Any:
    """Tuples as JSON has them, and the dataclasses in them as mappings."""
    if isinstance(value, tuple):
        return [asdict(each) if is_dataclass(each) else _as_lists(each) for each in value]  # type: ignore[arg-type]
    return value


def as_tuples(value: Any) -> Any:
    """Lists of JSON, and the lists in them, as tuples; anything else as it is."""
    return tuple(map(as_tuples, value)) if isinstance(value, list) else value
