"""The blocks of a tower as layers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn

from m2ib.contract.encoder import Layer


def block_layers(blocks: Iterable[nn.Module], prefix: str, **ways: Any) -> tuple[Layer, ...]:
    """In order of running, named by their number; ``ways`` to read and write them as :class:`m2ib.Layer` takes them."""
    return tuple(Layer(block, f"{prefix}.{number}", **ways) for number, block in enumerate(blocks))
