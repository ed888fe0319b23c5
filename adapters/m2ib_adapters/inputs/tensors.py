"""The inputs of an encoder that takes one tensor; tensors as raw inputs."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from m2ib.contract.inputs import Inputs
from m2ib.errors import InputError


def tensor_of(inputs: Inputs, who: str) -> Tensor:
    """The one tensor. Raises :class:`InputError`, in the name of ``who``, for several by name."""
    if not isinstance(inputs, Tensor):
        raise InputError(f"{who}: takes a tensor, not {type(inputs).__name__}")
    return inputs


def array_of(tensor: Tensor) -> np.ndarray:
    """As a numpy array, which knows no bfloat16: float32 then."""
    tensor = tensor.detach().cpu()
    return np.asarray(tensor.float() if tensor.dtype == torch.bfloat16 else tensor)
