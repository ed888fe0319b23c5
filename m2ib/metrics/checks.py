"""Reading what a metric is given: numbers, maps and masks, or one error line."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from m2ib.errors import InputError

Arrays: TypeAlias = Iterable[ArrayLike] | ArrayLike
"""N arrays in a list, each with a shape of its own, or one array (N, ...)."""


def floats(who: str, what: str, given: object, *, nan: bool = False) -> np.ndarray:
    """``given`` as float64. Raises :class:`InputError` for infinite values, and for NaN unless ``nan``."""
    try:
        values = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"{who}: {what} cannot be read as numbers ({error}); give an array, or a tensor on the CPU without gradient"
        ) from None
    bad = np.isinf(values) if nan else ~np.isfinite(values)
    if bad.any():
        at = tuple(int(place) for place in np.argwhere(bad)[0])
        index = f"[{', '.join(map(str, at))}]" if at else ""
        raise InputError(f"{who}: {what}{index} is {values[at]:g}; give finite numbers")
    return values


def numbers(who: str, **given: object) -> list[np.ndarray]:
    """Numbers of N samples each, (N,); single numbers are of one sample."""
    found = {what: floats(who, what, values) for what, values in given.items()}
    shapes = {what: values.shape for what, values in found.items()}
    if len(set(shapes.values())) > 1 or any(len(shape) > 1 for shape in shapes.values()):
        there = " and ".join(f"{what} of shape {shape}" for what, shape in shapes.items())
        raise InputError(
            f"{who}: got {there}; give one number a sample in each, all (N,) or all single numbers"
        )
    return [np.atleast_1d(values) for values in found.values()]


def map_list(who: str, what: str, given: Arrays) -> list[np.ndarray]:
    """N maps, float64, each with at least one axis and one place."""
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise InputError(f"{who}: {what} is {given!r:.40}; give a list of maps or an array (N, ...)")
    try:
        parts = list(given)
    except TypeError as error:  # an array without axes
        raise InputError(
            f"{who}: {what} is no list of maps ({error}); give a list or an array (N, ...)"
        ) from None
    found = [floats(who, f"{what}[{number}]", part) for number, part in enumerate(parts)]
    for number, values in enumerate(found):
        if values.ndim == 0:
            raise InputError(
                f"{who}: {what}[{number}] is a single number; give a list of maps: [map] for one"
            )
        if not values.size:
            raise InputError(
                f"{who}: {what}[{number}] of shape {values.shape} is empty; leave the sample out"
            )
    return found


def map_pairs(who: str, **given: Arrays) -> list[tuple[np.ndarray, np.ndarray]]:
    """Two lists of N maps, pair by pair; the two of a pair have one shape."""
    (one, ones), (other, others) = ((what, map_list(who, what, values)) for what, values in given.items())
    if len(ones) != len(others):
        raise InputError(f"{who}: {len(ones)} {one} and {len(others)} {other}; give as many of both")
    for number, (values, beside) in enumerate(zip(ones, others, strict=True)):
        if values.shape != beside.shape:
            raise InputError(
                f"{who}: {other}[{number}] of shape {beside.shape} is not on the cells of {one}[{number}], "
                f"{values.shape}; bring both to one shape"
            )
    return list(zip(ones, others, strict=True))


def masked_maps(who: str, maps: Arrays, masks: Arrays) -> list[tuple[np.ndarray, np.ndarray]]:
    """N maps, float64, each with its mask, bool, of the same shape."""
    pairs = map_pairs(who, maps=maps, masks=masks)
    for number, (_, mask) in enumerate(pairs):
        strange = mask[(mask != 0) & (mask != 1)]
        if strange.size:
            raise InputError(f"{who}: masks[{number}] holds {strange[0]:g}; a mask is bool, or 0 and 1")
    return [(values, mask == 1) for values, mask in pairs]
