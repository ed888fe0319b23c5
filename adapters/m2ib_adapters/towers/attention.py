"""What encoders say of their attention: where it is read, and how it is made to go by torch's one function."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from m2ib.contract.inputs import Inputs
from m2ib.promises import kept_promises, promise


def first_position(inputs: Inputs) -> Tensor:
    """inputs (N, ...) -> (N,) zeros: a class token that comes first."""
    tensor = inputs if isinstance(inputs, Tensor) else next(iter(inputs.values()))
    return torch.zeros(len(tensor), dtype=torch.long, device=tensor.device)


def by_sdpa_of(config: Any) -> Callable[[], AbstractContextManager[None]]:
    """For a transformers model, by the configuration that its blocks hold, however it was loaded."""
    return lambda: _set([config], "_attn_implementation", "sdpa")


def by_fused(module: nn.Module) -> Callable[[], AbstractContextManager[None]]:
    """For a timm model, whose blocks attend step by step where ``fused_attn`` is off."""
    return lambda: _set(
        [part for part in module.modules() if getattr(part, "fused_attn", True) is False], "fused_attn", True
    )


@contextmanager
def _set(holders: Sequence[Any], name: str, value: Any) -> Iterator[None]:
    """An attribute of each holder; after it, all as before."""
    with kept_promises():
        for holder in holders:
            promise(partial(setattr, holder, name, getattr(holder, name)))
            setattr(holder, name, value)
        yield
