"""Taking parts out of an image that is cut into patches already."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

import m2ib


@dataclass(frozen=True)
class PatchFading:
    """Pixels fade to 0 of the normalised image, as :class:`m2ib.Fading` does it before an image is cut.

    patch  pixels along a patch's side

    It works on one input: a dict of ``pixel_values`` (1, P, patch * patch * 3) and what goes with them.
    """

    patch: int
    gradual: bool = True

    def positions(self, inputs: m2ib.Inputs, grid: tuple[int, ...]) -> tuple[int, ...]:
        """(rows, columns) in pixels of the resized image."""
        rows, columns = _patches(inputs)[1]
        if grid != (rows, columns):
            raise m2ib.InputError(
                f"degradation: an image of {rows} x {columns} patches, and a map of {grid} cells"
            )
        return (rows * self.patch, columns * self.patch)

    def hideable(self, layout: m2ib.Layout, grid: tuple[int, ...]) -> Tensor:
        """(*grid) True: every patch can be taken out."""
        return torch.ones(grid, dtype=torch.bool)

    def apply(self, inputs: m2ib.Inputs, keep: Tensor, layout: m2ib.Layout) -> m2ib.Inputs:
        """``keep`` (K, rows * patch, columns * patch) -> K images, (K, ...) by name."""
        parts, (rows, columns) = _patches(inputs)
        count, side = len(keep), self.patch
        pixels = parts["pixel_values"]  # (1, P, patch * patch * 3)
        weights = keep.to(pixels).reshape(count, rows, side, columns, side).transpose(2, 3)
        weights = weights.reshape(count, rows * columns, side * side)  # as patches are cut
        weights = weights.repeat_interleave(3, 2)  # (K, rows * columns, patch * patch * 3): channels are last
        rest = pixels[:, rows * columns :].expand(count, -1, -1)  # (K, P - rows * columns, ...) padding
        faded = torch.cat([pixels[:, : rows * columns] * weights, rest], 1)  # (K, P, patch * patch * 3)
        others = {
            name: part.expand(count, *part.shape[1:])
            for name, part in parts.items()
            if name != "pixel_values"
        }
        return {"pixel_values": faded, **others}


def _patches(inputs: m2ib.Inputs) -> tuple[dict[str, Tensor], tuple[int, int]]:
    """The parts of one input, and its rows and columns of patches."""
    if not isinstance(inputs, dict):
        raise m2ib.InputError(
            f"degradation: an image in patches is a dict of tensors, not a {type(inputs).__name__}"
        )
    rows, columns = inputs["spatial_shapes"][0].tolist()
    return inputs, (rows, columns)
