"""A map's values as arrays for those who plot themselves: at the raw input's own size, and with named axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from m2ib.contract.layout import Axis, Token
from m2ib.errors import InputError

if TYPE_CHECKING:
    from xarray import DataArray


def at_size(grid: np.ndarray, axes: Sequence[Axis], size: Sequence[int], *, density: bool) -> np.ndarray:
    """``grid`` (*cells) over the places of a raw input, (*size); place n lies from n to n + 1 of an axis' unit.

    density  False: each place has the value of the cell that its centre lies in, the nearest where cells overlap; NaN
             where there is none. True: each cell is spread over the places that it covers, by how much of it lies
             there, so that all of them add up to what lies inside; 0 where there is none

    Both go along one axis after the other, since cells are boxes.
    """
    values = grid.astype(np.float64) if density or grid.dtype.kind != "f" else grid
    for number, (axis, length) in enumerate(zip(axes, size, strict=True)):
        if density:
            spans = np.sort(np.array(axis.spans, dtype=np.float64), 1)  # (cells, 2)
            starts = np.arange(length)
            overlap = np.minimum(spans[:, 1:], starts + 1) - np.maximum(
                spans[:, :1], starts
            )  # (cells, length)
            shares = overlap.clip(0) / np.maximum(spans[:, 1:] - spans[:, :1], 1e-12)
            values = np.moveaxis(np.tensordot(values, shares, (number, 0)), -1, number)
            continue
        cells = cells_at(axis, length)
        values = np.take(values, cells.clip(0), number)
        beyond = [1] * values.ndim
        beyond[number] = length
        values = np.where((cells < 0).reshape(beyond), np.nan, values)
    return values.astype(grid.dtype)


def cells_at(axis: Axis, length: int) -> np.ndarray:
    """(length,) the cell that the middle of each place lies in, the nearest where cells overlap; -1 where there is none."""
    spans = np.sort(np.array(axis.spans, dtype=np.float64), 1)  # (cells, 2)
    points = np.arange(length)[:, None] + 0.5  # (length, 1)
    away = np.where((points >= spans[:, 0]) & (points < spans[:, 1]), abs(points - spans.mean(1)), np.inf)
    return np.where(np.isinf(away.min(1)), -1, away.argmin(1))


def data_array(
    grid: np.ndarray, axes: Sequence[Axis], tokens: Sequence[Token], name: str, attrs: Mapping[str, Any]
) -> DataArray:
    """See :meth:`m2ib.Attribution.to_xarray`. Raises :class:`InputError` where xarray is missing."""
    try:
        from xarray import DataArray
    except ImportError:
        raise InputError("to_xarray needs the package xarray: pip install xarray") from None
    dims = [f"axis_{number}" for number in range(grid.ndim)]
    coords: dict[str, Any] = {}
    if tokens:
        dims = ["token"]
        coords["token"] = ("token", [token.text for token in tokens])
        for part in ("start", "end", "special"):
            coords[part] = ("token", [getattr(token, part) for token in tokens])
    elif tuple(len(axis.spans) for axis in axes) == grid.shape:
        dims = [axis.name for axis in axes]
        for axis in axes:
            spans, unit = np.array(axis.spans, dtype=np.float64), {"units": axis.unit}  # (cells, 2)
            coords[axis.name] = (axis.name, spans.mean(1), unit)
            coords[f"{axis.name}_start"] = (axis.name, spans[:, 0], unit)
            coords[f"{axis.name}_end"] = (axis.name, spans[:, 1], unit)
    return DataArray(grid, dims=dims, coords=coords, name=name, attrs=dict(attrs))
