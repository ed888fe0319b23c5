"""``kernelshap``: Shapley values of the cosine, by Kernel SHAP (Lundberg and Lee, NeurIPS 2017).

The players are the M cells of the map that can be hidden, or the M segments that the input was given as units; v(S) is the
cosine where only those of S are left, all others hidden. Shapley values phi are the solution of (Theorem 2)::

    minimise    sum over S of  pi(|S|) ( v(S) - v(none) - sum of phi_i, i in S )^2
    subject to  sum of phi_i, i = 1 .. M  =  v(all) - v(none)

    pi(s) = (M - 1) / ( binomial(M, s) s (M - s) )                                    s = 1 .. M - 1

*Which coalitions.* All of them where they are no more than ``masks``. Otherwise sizes are taken from the outside in,
s together with M - s, while all of a size are no more than drawing would have brought of it; the others are drawn:
their size by its share of the kernel, then the players, each coalition followed by its complement (Covert and Lee,
AISTATS 2021). Drawn ones share equally what the kernel gives their sizes.

*Solution.* With phi_i = (v(all) - v(none)) / M + psi_i, the constraint says that psi sums to 0. Then only the row
z - |S|/M of a coalition z in {0, 1}^M matters, and such rows are orthogonal to (1, .., 1): the least-squares solution of
least norm sums to 0 by itself. Where there are fewer coalitions than players, it shares equally between those that
the coalitions do not tell apart. Values want several times as many masks as there are cells.

Cells that are never hidden, special tokens and what is in no segment, have 0.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain, combinations
from math import comb

import numpy as np
import torch

from m2ib.contract.targets import Targets
from m2ib.methods.base import Batch, Map, Method, PreparedBatch, Settings
from m2ib.methods.hiding import Hidden, parts, passes

NEGLIGIBLE = 1e-10  # a singular value, as a share of the largest, that is rounding


def coalitions(players: int, most: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(K, players) bool and their weights (K,), K <= most; neither the empty nor the full one."""
    # Of a whole size:
    kernel = {size: (players - 1) / (size * (players - size)) for size in range(1, players)}
    every = 2**players - 2 <= most
    rows, weights = [np.zeros((0, players), bool)], [np.zeros(0)]
    left, first = most, 1
    while first <= players - first:
        pair = sorted({first, players - first})
        number = sum(comb(players, size) for size in pair)
        whole = sum(kernel[size] for size in range(first, players - first + 1))
        share = sum(kernel[size] for size in pair) / whole
        if not every and number > left * share:
            break
        for size in pair:
            rows.append(_all_of_size(players, size))
            weights.append(np.full(len(rows[-1]), kernel[size] / len(rows[-1])))
        left -= number
        first += 1
    rest = np.arange(first, players - first + 1)
    if len(rest) and left:
        shares = np.array([kernel[size] for size in range(first, players - first + 1)])
        sizes = random.choice(rest, -(-left // 2), p=shares / shares.sum())
        rows.append(_drawn(players, sizes, random)[:left])
        weights.append(np.full(left, shares.sum() / left))
    return np.concatenate(rows), np.concatenate(weights)


def _all_of_size(players: int, size: int) -> np.ndarray:
    """(binomial(players, size), players) bool"""
    members = np.fromiter(chain.from_iterable(combinations(range(players), size)), dtype=np.int64)
    rows = np.zeros((len(members) // size, players), bool)
    np.put_along_axis(rows, members.reshape(-1, size), True, axis=1)
    return rows


def _drawn(players: int, sizes: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """(2 * len(sizes), players) bool: a coalition of each size and its complement, in turn."""
    order = random.random((len(sizes), players), dtype=np.float32).argsort(1).argsort(1)
    rows = order < sizes[:, None]
    return np.stack([rows, ~rows], 1).reshape(-1, players)


def shapley(rows: np.ndarray, weights: np.ndarray, gains: np.ndarray, whole: float) -> np.ndarray:
    """(M,) float64 out of coalitions (K, M), their weights and v(S) - v(none) (K,), and v(all) - v(none)."""
    players = rows.shape[1]
    equal = whole / players
    if not len(rows):
        return np.full(players, equal)
    size = rows.sum(1)  # (K,)
    root = np.sqrt(weights)
    centred = (rows - size[:, None] / players) * root[:, None]  # (K, M)
    psi = np.linalg.lstsq(centred, (gains - size * equal) * root, rcond=NEGLIGIBLE)[0]
    return np.asarray(equal + psi)


def prepare(batch: Batch, settings: Settings) -> PreparedBatch:
    """Coalitions are drawn for each number of players."""
    inputs = Hidden.each(batch, settings.layer)
    players = [one.players for one in inputs]
    games = {
        number: coalitions(number, settings.masks, np.random.default_rng(settings.seed))
        for number in {*players} - {0}
    }

    def maps(targets: Targets, advance: Callable[[], None]) -> list[Map]:
        values = [np.zeros(len(games[number][0]) if number else 0) for number in players]
        for part in parts(settings.masks):
            for one, number, target, v in zip(inputs, players, targets, values, strict=True):
                if part.start < len(v):
                    v[part] = _values(one, games[number][0][part], target)
            advance()
        found = []
        for one, number, target, v in zip(inputs, players, targets, values, strict=True):
            phi = np.zeros(number)
            if number:
                none, whole = _values(one, np.array([[False], [True]]).repeat(number, 1), target)
                phi = shapley(*games[number], v - none, whole - none)
            found.append(one.map(phi))
        return found

    return PreparedBatch(batch.embed(), maps)


def _values(one: Hidden, rows: np.ndarray, target: Targets) -> np.ndarray:
    """v (K,) of coalitions (K, M)."""
    values: np.ndarray = one.similarities(one.by_player(rows), target).to("cpu", torch.float64).numpy()
    return values


def method() -> Method:
    return Method(
        prepare, "cosine", steps=lambda settings: passes(settings.masks), draws=True, signs="values"
    )
