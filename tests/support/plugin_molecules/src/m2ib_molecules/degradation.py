"""How an atom is taken out: a dummy atom, which is of no element, stands in its place; its bonds stay."""

from dataclasses import dataclass

import torch
from torch import Tensor

import m2ib


@dataclass(frozen=True)
class Dummies:
    """An atom is kept or becomes a dummy.

    dummy  its id
    """

    dummy: int
    gradual: bool = False

    def positions(self, inputs: m2ib.Inputs, grid: tuple[int, ...]) -> tuple[int, ...]:
        return grid

    def hideable(self, layout: m2ib.Layout, grid: tuple[int, ...]) -> Tensor:
        return torch.ones(grid, dtype=torch.bool)

    def apply(self, inputs: m2ib.Inputs, keep: Tensor, layout: m2ib.Layout) -> m2ib.Inputs:
        """(1, A) atoms, (1, A, A) bonds and ``keep`` (K, cells) -> (K, A), (K, A, A)."""
        if not isinstance(inputs, dict):
            raise m2ib.InputError(f"smiles: {type(inputs).__name__} given where atoms and bonds are taken")
        atoms = inputs["atoms"].repeat(len(keep), 1)  # (K, A)
        cells = keep.shape[1]  # what comes after them is padding
        atoms[:, :cells] = torch.where(keep.to(atoms.device) > 0.5, atoms[:, :cells], self.dummy)
        return {"atoms": atoms, "bonds": inputs["bonds"].expand(len(keep), -1, -1)}
