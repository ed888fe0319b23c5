"""What an evaluation measures, from the definitions, with loops in float64."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

import m2ib

AXES = {"image": (1, 2), "depth": (1, 2), "thermal": (1, 2), "audio": (0, 2, 3), "imu": (1,)}
"""Which axis of an input (without the batch's) lies under each axis of its map."""


def similarity(model: m2ib.Model, modality: str, inputs: Tensor, target: Tensor) -> float:
    """The cosine of one input (without a batch axis) and an embedding."""
    with torch.no_grad():
        found = model.encoder(modality).embed(inputs[None].to(model.device))[0]
    one, other = found.double().cpu().numpy(), target.double().cpu().numpy()
    return float(one @ other / np.sqrt((one @ one) * (other @ other)))


def between(cells: np.ndarray, length: int) -> np.ndarray:
    """(cells,) -> (length,): linear between the cells' centres, constant beyond the outer ones."""
    found = np.zeros(length)
    for position in range(length):
        place = min(max((position + 0.5) * len(cells) / length - 0.5, 0.0), len(cells) - 1.0)
        low = min(int(place), len(cells) - 1)
        high = min(low + 1, len(cells) - 1)
        found[position] = cells[low] + (place - low) * (cells[high] - cells[low])
    return found


def enlarged(grid: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """A map at an input's positions, axis by axis."""
    found = grid.astype(np.float64)
    for axis, length in enumerate(shape):
        found = np.apply_along_axis(between, axis, found, length)
    return found


def unit_range(values: np.ndarray) -> np.ndarray:
    """Min-max scaled; a constant map above 0 keeps everything."""
    low, high = values.min(), values.max()
    return np.ones(values.shape) * (high > 0) if low == high else (values - low) / (high - low)


def weighed(inputs: Tensor, weights: np.ndarray, axes: Sequence[int]) -> Tensor:
    """Values times the weight of their position, one by one."""
    out = inputs.clone()
    for place in itertools.product(*map(range, inputs.shape)):
        out[place] = inputs[place] * float(weights[tuple(place[axis] for axis in axes)])
    return out


def multiplied(modality: str, inputs: Tensor, grid: np.ndarray) -> Tensor:
    """Normalised values times the enlarged map in [0, 1]."""
    axes = AXES[modality]
    weights = unit_range(enlarged(grid, [inputs.shape[axis] for axis in axes]))
    shape = [1] * inputs.ndim
    for axis, length in zip(axes, weights.shape, strict=True):
        shape[axis] = length
    return inputs * torch.from_numpy(weights.reshape(shape)).to(inputs)


def replaced(ids: Tensor, scores: np.ndarray, special: Sequence[bool], padding: int) -> Tensor:
    """Tokens above the median of those that are not special stay, the others become padding; special ones stay."""
    median = np.median([score for score, fixed in zip(scores, special, strict=True) if not fixed])
    above = [score > median for score in scores]
    if not any(
        kept for kept, fixed in zip(above, special, strict=True) if not fixed
    ):  # at least half of them tie
        above = [score >= median for score in scores]
    out = ids.clone()
    for number, fixed in enumerate(special):
        if not fixed and not above[number]:
            out[number] = padding
    return out


def cell_of(position: int, cells: int, length: int) -> int:
    """The cell that a position's centre lies in."""
    return int((position + 0.5) * cells / length)


def without_cells(modality: str, inputs: Tensor, shape: Sequence[int], gone: set[tuple[int, ...]]) -> Tensor:
    """The positions of these cells at 0."""
    axes = AXES[modality]
    kept = np.ones([inputs.shape[axis] for axis in axes])
    for place in itertools.product(*map(range, kept.shape)):
        cell = tuple(
            cell_of(p, cells, length) for p, cells, length in zip(place, shape, kept.shape, strict=True)
        )
        if cell in gone:
            kept[place] = 0
    full = [1] * inputs.ndim
    for axis, length in zip(axes, kept.shape, strict=True):
        full[axis] = length
    return inputs * torch.from_numpy(kept.reshape(full)).to(inputs)


def without_tokens(ids: Tensor, gone: set[tuple[int, ...]], padding: int) -> Tensor:
    out = ids.clone()
    for (number,) in gone:
        out[number] = padding
    return out


def curve_areas(
    grid: np.ndarray,
    cells: Sequence[tuple[int, ...]],
    steps: int,
    cosine: Callable[[set[tuple[int, ...]]], float],
) -> tuple[float, float]:
    """Deletion and insertion AUC of a map without equal cells.

    cells   those that can be taken out
    cosine  of the input without some
    """
    ranked = sorted(cells, key=lambda cell: -grid[cell])
    counts = sorted({round(number * len(ranked) / steps) for number in range(steps + 1)})
    out = [cosine(set(ranked[:count])) for count in counts]
    into = [cosine(set(ranked[count:])) for count in counts]
    shares = [count / len(ranked) for count in counts]

    def area(heights: list[float]) -> float:
        return sum(
            (shares[n + 1] - shares[n]) * (heights[n + 1] + heights[n]) / 2 for n in range(len(shares) - 1)
        )

    return area(out), area(into)
