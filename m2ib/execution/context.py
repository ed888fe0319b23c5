"""Whatever the caller's surroundings are, a model runs as it was loaded, and is left as it was found."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn

from m2ib.execution.half_precision import products_in_float32

# A fit patches its model, and torch's choice of attention kernels is one for the whole process.
MODEL_LOCK = threading.RLock()


@contextmanager
def default_execution(device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """Whatever the caller's surroundings are (inference mode, autocast), a model runs as it was loaded.

    On a processor without instructions for ``dtype``, products are computed in float32 (``half_precision.py``).
    """
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        if torch.amp.is_autocast_available(device.type):
            stack.enter_context(torch.autocast(device.type, enabled=False))
        stack.enter_context(products_in_float32(device, dtype))
        yield


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Evaluation mode and no weight gradients inside; both as before outside, whatever happens."""
    modes = [(part, part.training) for part in module.modules() if part.training]
    learning = [parameter for parameter in module.parameters() if parameter.requires_grad]
    try:
        for part, _ in modes:
            part.training = False
        for parameter in learning:
            parameter.requires_grad_(False)
        yield
    finally:
        for part, training in modes:
            part.training = training
        for parameter in learning:
            parameter.requires_grad_(True)


@contextmanager
def running(module: nn.Module, device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """All of these: no other fit beside it, as it was loaded, with its weights frozen."""
    with MODEL_LOCK, default_execution(device, dtype), frozen(module):
        yield
