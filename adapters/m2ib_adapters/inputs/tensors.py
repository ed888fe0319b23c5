"""The inputs of an encoder that takes one tensor; tensors as raw inputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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


def pixels_of(raw: Any) -> Tensor | None:
    """The pixels of what an image processor of transformers gives; None of anything else. Raises :class:`InputError`."""
    if not isinstance(raw, Mapping) or "pixel_values" not in raw:
        return None
    try:
        return torch.as_tensor(raw["pixel_values"])
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"image: pixel_values are numbers of one image: {error}") from error


def array_of(tensor: Tensor) -> np.ndarray:
    """As a numpy array, which knows no bfloat16: float32 then."""
    tensor = tensor.detach().cpu()
    return np.asarray(tensor.float() if tensor.dtype == torch.bfloat16 else tensor)
