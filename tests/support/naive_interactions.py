"""Interactions once more, slower and simpler: whole Jacobians, and the mean over all subsets. Nothing here uses m2ib."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from naive import embed_with, read_layer


def integrated(
    embed: Callable[[], Tensor],
    module: nn.Module,
    start: Tensor,
    end: Tensor,
    *,
    steps: int,
    sequence_first: bool = False,
) -> Tensor:
    """(T, D): for each position the integral of the Jacobian of the unit embedding, times the way from ``start`` to ``end`` (1, T, C)."""
    places, weights = np.polynomial.legendre.leggauss(steps)
    found = torch.zeros(())
    for place, weight in zip((places + 1) / 2, weights / 2, strict=True):

        def unit(z: Tensor) -> Tensor:
            return normalize(embed_with(embed, module, z, sequence_first=sequence_first)[0], dim=0)

        jacobian = torch.autograd.functional.jacobian(unit, start + place * (end - start))  # (D, 1, T, C)
        found = found + weight * (jacobian[:, 0] * (end - start)[0]).sum(-1)  # (D, T)
    return found.T


def activations(
    embed: Callable[[], Tensor],
    hidden: Callable[[], Tensor],
    module: nn.Module,
    *,
    sequence_first: bool = False,
) -> tuple[Tensor, Tensor]:
    """What passes at a module with everything hidden, and of the input itself, (1, T, C) each."""
    first, second = (read_layer(run, module, sequence_first=sequence_first) for run in (hidden, embed))
    return first, second


def banzhaf(
    value: Callable[[tuple[int, ...], tuple[int, ...]], float], first: int, second: int
) -> np.ndarray:
    """(first, second) by the definition: the mean over all that else may be there, of so many units of two inputs."""
    found = np.zeros((first, second))
    for i, j in product(range(first), range(second)):
        gains = []
        for left in product((0, 1), repeat=first):
            for right in product((0, 1), repeat=second):
                if left[i] or right[j]:
                    continue
                with_i, with_j = (*left[:i], 1, *left[i + 1 :]), (*right[:j], 1, *right[j + 1 :])
                gains.append(
                    value(with_i, with_j) - value(with_i, right) - value(left, with_j) + value(left, right)
                )
        found[i, j] = np.mean(gains)
    return found
