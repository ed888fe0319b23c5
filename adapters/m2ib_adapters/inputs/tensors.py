"""The inputs of an encoder that takes one tensor."""

from __future__ import annotations

from torch import Tensor

from m2ib.contract import Inputs
from m2ib.errors import InputError


def tensor_of(inputs: Inputs, who: str) -> Tensor:
    """The one tensor. Raises :class:`InputError`, in the name of ``who``, for several by name."""
    if not isinstance(inputs, Tensor):
        raise InputError(f"{who}: takes a tensor, not {type(inputs).__name__}")
    return inputs
