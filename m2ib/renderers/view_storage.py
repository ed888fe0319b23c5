"""Views on disk: a dataclass field by field, its arrays in a file of their own, everything else JSON-able.

What is read is held against its type, whoever wrote it, and is bounded by the sizes of its files.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import Field, asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from m2ib.contract.layout import Axis
from m2ib.contract.regions import Region, check_outlines
from m2ib.contract.schema import check_array, parsed
from m2ib.contract.schema import made as dataclass_of
from m2ib.errors import StorageError

LARGEST_FILE = 2**29  # bytes


def stored_bytes(folder: Path, name: Any, most: int = LARGEST_FILE) -> bytes:
    """A file of a saved explanation: a regular one in ``folder`` itself, and no link.

    Raises ValueError for another name or kind and for one of more than ``most`` bytes, and OSError.
    """
    if not isinstance(name, str) or name != Path(name).name or "\\" in name or "\0" in name:
        raise ValueError(f"{name!r:.80} is not the name of a file in it")
    if (folder / name).is_symlink():
        raise ValueError(f"{name!r:.80} is a link")
    # A pipe without a writer would be waited for.
    with open(folder / name, "rb", opener=lambda path, flags: os.open(path, flags | _AT_ONCE)) as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise ValueError(f"{name!r:.80} is no regular file")
        if found.st_size > most:
            raise ValueError(f"{name!r:.80} has {found.st_size:,} bytes, more than {most:,}")
        return file.read(most)


_AT_ONCE = getattr(os, "O_NONBLOCK", 0)


def store_view(view: Any, folder: Path, stem: str) -> dict[str, Any]:
    """Write a view into ``folder``; what :func:`restore_view` needs, JSON-able."""
    arrays = {name: getattr(view, name) for name in _array_names(type(view))}
    return {"arrays": store_arrays(folder, stem, arrays), **store_fields(view, folder, stem)}


def restore_view(kind: type, stored: Mapping[str, Any], folder: Path) -> Any:
    """The view of this class that :func:`store_view` wrote. Raises as :func:`restore_arrays` does."""
    rest = dict(stored)
    return restore_fields(
        kind, rest, folder, **restore_arrays(folder, rest.pop("arrays", None), _array_names(kind))
    )


def store_fields(view: Any, folder: Path, stem: str) -> dict[str, Any]:
    """All but the arrays."""
    return {
        field.name: store_regions(view.regions, folder, stem)
        if field.name == "regions"
        else _as_lists(getattr(view, field.name))
        for field in _plain_fields(type(view))
    }


def restore_fields(kind: type, stored: Mapping[str, Any], folder: Path, **arrays: np.ndarray) -> Any:
    """The view of :func:`store_fields` and its arrays; a field with a default may lack. Raises ValueError and OSError."""
    rest, given = dict(stored), dict[str, Any](arrays)
    if any(field.name == "regions" for field in fields(kind)):
        given["regions"] = restore_regions(rest.pop("regions", {}), folder)
    return dataclass_of(kind, rest, "view", **given)


def store_arrays(folder: Path, stem: str, arrays: Mapping[str, np.ndarray]) -> str:
    """Write them into ``folder`` as one file; its name."""
    name = f"{stem}.safetensors"
    plain = {key: np.ascontiguousarray(values) for key, values in arrays.items()}
    size = sum(values.nbytes for values in plain.values())
    if size > LARGEST_FILE // 2:  # what is written can be read again
        raise StorageError(
            f"view {stem!r}: its arrays have {size:,} bytes, more than {LARGEST_FILE // 2:,}; show less"
        )
    (folder / name).write_bytes(safetensors.numpy.save(plain))
    return name


def restore_arrays(folder: Path, name: Any, wanted: Sequence[str]) -> dict[str, np.ndarray]:
    """The arrays called ``wanted``, and no others, out of a file in ``folder`` itself.

    Raises OSError or ValueError for a file that is not there or damaged.
    """
    found = read_arrays(folder, name)
    if set(found) != set(wanted):
        raise ValueError(
            f"{name} holds {', '.join(map(repr, sorted(found)))!s:.80}, not {', '.join(map(repr, wanted))}"
        )
    return found


def read_arrays(folder: Path, name: Any) -> dict[str, np.ndarray]:
    """All of a file of arrays, by name. Raises as :func:`stored_bytes` does, and SafetensorError."""
    found = safetensors.numpy.load(stored_bytes(folder, name))
    return {key: values.copy() for key, values in found.items()}  # those of the file cannot be written to


@dataclass(frozen=True)
class _Region:
    """Of a region, what is no array."""

    name: str
    main: bool
    axes: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class _Regions:
    arrays: str
    each: tuple[_Region, ...]


def store_regions(regions: Sequence[Region], folder: Path, stem: str) -> Mapping[str, Any]:
    """Write them into ``folder``; what :func:`restore_regions` needs, JSON-able."""
    if not regions:
        return {}
    arrays = {}
    rows = []
    for number, region in enumerate(regions):
        arrays[f"{number}.mask"] = region.mask
        for place, axis in enumerate(region.axes):
            arrays[f"{number}.axis{place}"] = np.array(axis.spans, dtype=np.float64).reshape(-1, 2)
        named = tuple((axis.name, axis.unit) for axis in region.axes)
        rows.append(asdict(_Region(region.name, region.main, named)))
    return {"arrays": store_arrays(folder, f"{stem}-regions", arrays), "each": rows}


def restore_regions(stored: Any, folder: Path) -> tuple[Region, ...]:
    """The regions that :func:`store_regions` wrote. Raises ValueError, :class:`M2IBError` and OSError."""
    if stored == {}:
        return ()
    known: _Regions = parsed(_Regions, stored, "view.regions")
    names = [
        [f"{n}.mask", *(f"{n}.axis{place}" for place in range(len(row.axes)))]
        for n, row in enumerate(known.each)
    ]
    arrays = restore_arrays(folder, known.arrays, [name for each in names for name in each])
    found = []
    for row, (mask, *places) in zip(known.each, names, strict=True):
        axes = []
        for (name, unit), place in zip(row.axes, places, strict=True):
            check_array(f"region {row.name!r:.40}: {place}", arrays[place], (None, 2), "f")
            axes.append(Axis(name, unit, tuple((start, end) for start, end in arrays[place].tolist())))
        found.append(Region(row.name, arrays[mask], tuple(axes), row.main))
    check_outlines(found)
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
