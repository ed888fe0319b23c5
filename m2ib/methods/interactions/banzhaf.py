"""``banzhaf``: Banzhaf interactions between units of the two inputs (Grabisch and Roubens 1999), by hiding units of both.

With v(S, T) the similarity where of one input only the units S are left and of the other only T::

    m_ij = E[ v(S+i, T+j) - v(S+i, T) - v(S, T+j) + v(S, T) ]        S without i, T without j, each unit with probability 1/2

The similarity of directions is a product of unit embeddings, v(S, T) = g(S) . h(T), and S and T are drawn apart. So m is
a product too, of how each unit moves its own embedding::

    m_ij = G_i . H_j,   G_i = E[g(S+i) - g(S)] (D,)

and K hidden versions of each input are enough, where a game that is asked as a whole would want K^2 pairs of them. G is the
least-squares fit g(S) ~ G_0 + sum of G_i, i in S, over K drawn S, each followed by its complement: in expectation
that is the mean above (Hammer and Holzman 1992), with less variance. With 2^units versions or more every S is looked at
once, and m is exact.

``units`` is the most of a grid: where it has more cells, neighbours are hidden together, and the matrix is that coarse.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from m2ib.methods.interactions.base import PairMethod, Side, of_directions


def versions(units: int, most: int, seed: int) -> np.ndarray:
    """(K, units) bool, K <= most and even: which units are left; all subsets where they are no more than that."""
    if 2**units <= most:
        return (np.arange(2**units)[:, None] >> np.arange(units) & 1).astype(bool)
    drawn = np.random.default_rng(seed).random((most // 2, units)) < 0.5
    return np.stack([drawn, ~drawn], 1).reshape(-1, units)


def moves(side: Side) -> Tensor:
    """(units, D) float64: how each unit moves the unit embedding."""
    left = torch.from_numpy(versions(side.units.number, side.settings.masks, side.settings.seed)).double()
    embeddings = side.batch.model.unit(side.without(left)).cpu().double()  # (K, D)
    centred = left - left.mean(0)  # (K, units)
    solved = torch.linalg.lstsq(centred, embeddings - embeddings.mean(0), driver="gelsd").solution
    return torch.as_tensor(solved)


def find(first: Side, second: Side) -> tuple[np.ndarray, tuple[str, ...]]:
    few = [
        f"{side.batch.modality}: {side.settings.masks} versions of {side.units.number} units are too few to tell each of them; "
        "give more masks, or fewer units"
        for side in (first, second)
        if side.settings.masks < 2 * side.units.number
    ]
    return (moves(first) @ moves(second).T).numpy(), tuple(few)


def method() -> PairMethod:
    return PairMethod(find, of_directions)
