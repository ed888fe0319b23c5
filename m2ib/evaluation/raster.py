"""Between three ways to divide the same input: a map's cells, a mask's raster and a tensor's samples.

Axes are matched by name and compared in places of the raster: its cell n lies between n and n + 1, wherever
that is in the raw input. So pixels, seconds and mel bands (which are not even in hertz) are treated alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from m2ib.contract.layout import Axis, Layout, Token, axes_at
from m2ib.errors import InputError
from m2ib.renderers.interpolation import interpolate


def edges(axis: Axis) -> np.ndarray:
    """(cells + 1,) where the cells of a raster's axis begin and end; they touch each other."""
    return np.array([axis.spans[0][0], *(end for _, end in axis.spans)], dtype=np.float64)


def places(axis: Axis, raster: Axis) -> np.ndarray:
    """(cells, 2) start and end of each cell of ``axis`` in places of ``raster``; linear beyond its ends."""
    bounds = edges(raster)
    return interpolate(
        np.array(axis.spans, dtype=np.float64), bounds, np.arange(len(bounds), dtype=np.float64)
    )


def even_axes(shape: Sequence[int], raster: Sequence[Axis]) -> tuple[Axis, ...]:
    """Axes of a grid that does not tell them: equal cells over the whole raster.

    Raises :class:`InputError` where the grid has another number of axes.
    """
    if len(shape) != len(raster):
        raise InputError(
            f"regions: a map of shape {tuple(shape)} does not tell its axes, and cannot be laid over a mask of "
            f"{' and '.join(axis.name for axis in raster)}; give the adapter's Layout `axes`"
        )
    found = []
    for count, axis in zip(shape, raster, strict=True):
        bounds = edges(axis)
        cuts = np.interp(np.linspace(0, len(bounds) - 1, count + 1), np.arange(len(bounds)), bounds).tolist()
        found.append(Axis(axis.name, axis.unit, tuple(pairwise(cuts))))
    return tuple(found)


def grid_axes(shape: Sequence[int], axes: Sequence[Axis], raster: Sequence[Axis]) -> tuple[Axis, ...]:
    """Those that a layout tells; without any, even ones over the raster."""
    return tuple(axes) if len(axes) == len(shape) else even_axes(shape, raster)


def on_raster(values: np.ndarray, axes: Sequence[Axis], raster: Sequence[Axis]) -> np.ndarray:
    """Maps (N, *cells) on a raster, (N, *places): linear between the cells' centres, constant beyond the outer ones.

    axes    of the cells
    raster  the axes wanted, each of which ``axes`` must have. The map is summed over those of its axes
            that the raster does not have (a clip, a frequency)

    Raises :class:`InputError` for an axis that the map does not have.
    """
    kept = [axis.name for axis in raster]
    for place in reversed(range(len(axes))):
        if axes[place].name not in kept:
            values = values.sum(place + 1)
    left = [axis for axis in axes if axis.name in kept]
    for number, wanted in enumerate(raster):
        at = next((place for place, axis in enumerate(left) if axis.name == wanted.name), None)
        if at is None:
            raise InputError(
                f"regions: a map over {', '.join(axis.name for axis in axes)} cannot be laid over a mask's {wanted.name}"
            )
        values = np.moveaxis(values, at + 1, number + 1)
        left.insert(number, left.pop(at))
        values = _between(values, number + 1, places(left[number], wanted).mean(1), len(wanted.spans))
    return values


def _between(values: np.ndarray, axis: int, centres: np.ndarray, length: int) -> np.ndarray:
    """``values`` known at ``centres``, read at .5, 1.5, ... ; equal neighbours give exactly their value."""
    order = np.argsort(centres)
    centres = centres[order]
    points = np.arange(length) + 0.5
    if len(centres) == 1:
        return np.repeat(values, length, axis)
    left = np.clip(np.searchsorted(centres, points, side="right") - 1, 0, len(centres) - 2)  # (length,)
    share = ((points - centres[left]) / (centres[left + 1] - centres[left])).clip(0, 1)
    low, high = (np.take(values, order[side], axis) for side in (left, left + 1))
    shape = [1] * values.ndim
    shape[axis] = length
    return np.asarray(low + share.reshape(shape).astype(values.dtype) * (high - low))


def on_cells(masks: np.ndarray, raster: Sequence[Axis], axes: Sequence[Axis]) -> np.ndarray:
    """Masks (N, *places) as their mean in each cell, (N, *cells) float64; cells beyond the raster hold nothing.

    Each axis of the raster is one of ``axes``; along one that the raster does not have (a clip) the mask repeats.
    """
    names = [axis.name for axis in raster]
    order = [names.index(axis.name) for axis in axes if axis.name in names]
    found = masks.astype(np.float64).transpose(0, *(at + 1 for at in order))
    for number, axis in enumerate(axes, 1):
        if axis.name not in names:
            found = np.repeat(np.expand_dims(found, number), len(axis.spans), number)
        else:
            shares = _shares(places(axis, raster[names.index(axis.name)]), found.shape[number])
            found = np.moveaxis(np.tensordot(found, shares, (number, 1)), -1, number)
    return found


def _shares(spans: np.ndarray, length: int) -> np.ndarray:
    """(cells, length): how much of each cell (cells, 2) lies in each place; rows add up to 1 inside the raster."""
    low, high = spans.min(1, keepdims=True), spans.max(1, keepdims=True)
    starts = np.arange(length)
    overlap = (np.minimum(high, starts + 1) - np.maximum(low, starts)).clip(0)
    return np.asarray(overlap / (high - low))


def sample_places(length: int, axis: Axis, stride: float, raster: Axis) -> np.ndarray:
    """(length + 1,) where a tensor's samples begin and end, in places of ``raster``.

    length  samples along the tensor's axis; the first cell of ``axis`` begins with the first one. Samples are
            taken to touch each other: frames of a sound, which overlap, stand where they begin
    stride  how many of them the cells of ``axis`` are apart
    """
    spans = places(axis, raster)
    centres = spans.mean(1)
    apart = (centres[-1] - centres[0]) / (len(centres) - 1) if len(centres) > 1 else spans[0, 1] - spans[0, 0]
    return np.asarray(spans[0, 0] + np.arange(length + 1) * apart / stride)


def shares(tokens: Sequence[Token], words: Axis) -> np.ndarray:
    """(words, tokens): 1 where a token belongs to a word, the first one that it overlaps; specials to none."""
    found = np.zeros((len(words.spans), len(tokens)))
    for number, token in enumerate(tokens):
        touched = [w for w, (start, end) in enumerate(words.spans) if start < token.end and token.start < end]
        if touched and not token.special:
            found[touched[0], number] = 1
    return found


def kept_axes(raster: Sequence[Axis], layout: Layout) -> tuple[Axis, ...]:
    """Those of the raster's axes that a layout has too; all, where it tells none."""
    told = [axis.name for axis in layout.axes]
    return tuple(axis for axis in raster if not told or axis.name in told)


def lay(grid: np.ndarray, layout: Layout, frame: Sequence[Axis], raster: Sequence[Axis]) -> np.ndarray:
    """One map at the places of a raster, (*places): of words, the sum over their tokens.

    frame  what the map lies over where its layout does not tell: the raster's axes, and those that are summed over
    """
    if layout.tokens:
        return np.asarray(shares(layout.tokens, raster[0]) @ grid)
    axes = grid_axes(grid.shape, axes_at(layout.axes, grid.shape), frame)
    return np.asarray(on_raster(grid[None], axes, raster)[0])


def on_samples(
    places: np.ndarray,
    raster: Sequence[Axis],
    axes: Sequence[Axis],
    shape: Sequence[int],
    strides: Sequence[float],
) -> np.ndarray:
    """(*shape) bool: chosen places (*raster) at the samples of a tensor; nothing lies outside the raster.

    axes     of the cells over the tensor's axes: the raster's in any order, and others, along which the places repeat
    shape    samples along each
    strides  how many of them the cells of each are apart
    """
    names = [axis.name for axis in raster]
    found = places.transpose([names.index(axis.name) for axis in axes if axis.name in names])
    for number, (axis, length, stride) in enumerate(zip(axes, shape, strides, strict=True)):
        if axis.name not in names:
            found = np.repeat(np.expand_dims(found, number), length, number)
            continue
        wanted = raster[names.index(axis.name)]
        cuts = sample_places(length, axis, stride, wanted)  # (length + 1,)
        centres = np.floor((cuts[:-1] + cuts[1:]) / 2 + 1e-6).astype(int)
        inside = (centres >= 0) & (centres < len(wanted.spans))
        across = [1] * found.ndim
        across[number] = length
        found = np.take(found, centres.clip(0, len(wanted.spans) - 1), number) & inside.reshape(across)
    return np.asarray(found)
