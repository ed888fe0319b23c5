"""How an atom is taken out: a dummy atom, which is of no element, stands in its place; its bonds stay."""

from dataclasses import dataclass

import torch
from torch import Tensor

import m2ib

DUMMY = 1


@dataclass(frozen=True)
class Dummies:
    gradual: bool = False

    def positions(self, inputs: m2ib.Inputs, grid: tuple[int, ...]) -> tuple[int, ...]:
        return grid

    def hideable(self, layout: m2ib.Layout, grid: tuple[int, ...]) -> Tensor:
        return torch.ones(grid, dtype=torch.bool)

    def apply(self, inputs: m2ib.Inputs, keep: Tensor, layout: m2ib.Layout) -> m2ib.Inputs:
        """(1, A) atoms and ``keep`` (K, cells) -> (K, A)."""
        assert isinstance(inputs, dict)
        atoms = inputs["atoms"].repeat(len(keep), 1)  # (K, A)
        cells = keep.shape[1]
        atoms[:, :cells] = torch.where(keep > 0.5, atoms[:, :cells], DUMMY)
        return {"atoms": atoms, "bonds": inputs["bonds"].expand(len(keep), -1, -1)}
