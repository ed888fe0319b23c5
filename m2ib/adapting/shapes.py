"""What shapes alone show."""

from __future__ import annotations

from torch import Tensor

from m2ib.contract.inputs import Inputs


def shape_text(inputs: Inputs) -> str:
    """Shapes and types as messages show them."""
    if isinstance(inputs, Tensor):
        return f"{tuple(inputs.shape)} {str(inputs.dtype).removeprefix('torch.')}"
    return "{" + ", ".join(f"{name!r}: {shape_text(tensor)}" for name, tensor in inputs.items()) + "}"


def keeps_proportions(positions: tuple[int, ...], sizes: tuple[int, ...]) -> bool:
    """Whether these positions can be a map of the input's last axes: every one in steps of one same length.

    A step that does not divide an axis gives it the whole steps, or one more.
    """
    sizes = sizes[len(sizes) - len(positions) :]
    if not positions or len(sizes) != len(positions) or max(sizes) < 2:
        return False
    return any(
        all(count in (size // step, -(-size // step)) for count, size in zip(positions, sizes, strict=True))
        for step in range(1, max(sizes) + 1)
    )
