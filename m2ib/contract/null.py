"""Whether a map is of this pair: the same map against other inputs, and how far the pair's own stands above those."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from m2ib.contract.schema import bounded, check_array, require

SPECIFIC = 1.645  # standard deviations; one in twenty of a normal null stands higher
_LEAST = 1e-6  # of the own value, or the own map's greatest: a deviation that is rounding of float32


def standard_score(similarity: float, others: Sequence[float]) -> float:
    """How many standard deviations (n - 1 in the denominator) a similarity stands above two others or more; 0 where these are all alike."""
    apart = float(np.std(others, ddof=1))
    above = similarity - float(np.mean(others))
    return above / apart if apart > _LEAST * max(1.0, abs(similarity)) else 0.0


@dataclass(frozen=True, eq=False)
class Null:
    """Of one input of a pair, against others than its own partner.

    mean, deviation  (*grid) over the maps against the others; of the deviation n - 1 in the denominator
    similarities     to each of the others
    similarity       to its own partner: what they are compared with
    """

    mean: np.ndarray
    deviation: np.ndarray
    similarities: tuple[float, ...]
    similarity: float

    def __post_init__(self) -> None:
        require(len(self.similarities) > 1, "null: its inputs", len(self.similarities), "2 or more")
        require(bounded([*self.similarities, self.similarity]), "null: similarities", "too large", "finite")
        for name in ("mean", "deviation"):
            check_array(f"null: {name}", getattr(self, name), self.mean.shape)

    @classmethod
    def of(cls, maps: np.ndarray, similarities: tuple[float, ...], similarity: float) -> Null:
        """maps  (others, *grid)"""
        return cls(maps.mean(0), maps.std(0, ddof=1), similarities, similarity)

    @property
    def score(self) -> float:
        """How many standard deviations the pair's similarity stands above those to the others; 0 where these are all alike."""
        return standard_score(self.similarity, self.similarities)

    def scores(self, grid: np.ndarray) -> np.ndarray:
        """Likewise for each value of the pair's own map; 0 where the others' are all alike."""
        large = self.deviation > _LEAST * max(float(np.abs(grid).max()), 1e-30)
        above = np.subtract(grid, self.mean, dtype=np.float64)
        return np.asarray(np.divide(above, self.deviation, out=np.zeros_like(above), where=large))

    def specific(self, grid: np.ndarray) -> float:
        """The share of a map that is not in the others' mean map: 1 where they have nothing in common, 0 where it is theirs.

        ``sum max(0, g - m) / sum max(0, g)`` with both maps' least value taken off.
        """
        own, usual = grid - grid.min(), self.mean - self.mean.min()
        whole = float(own.sum())
        return float(np.maximum(own - usual, 0).sum()) / whole if whole > 0 else 0.0
