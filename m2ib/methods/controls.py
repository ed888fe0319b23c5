"""Maps that know nothing: what any method has to beat.

``uniform``  1 everywhere. It degrades nothing, so its confidence drop is 0: a low drop alone says little
``random``   uniform noise in [0, 1) for each cell, of the seed and the input: not the same map for every pair
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from m2ib.contract.inputs import Inputs, Item
from m2ib.methods.base import Batch, Begun, Map, Method, Ready
from m2ib.methods.options import Options, layer, resolver


def uniform() -> Method:
    """1 everywhere."""
    return Method(
        lambda batch, settings: _begin(batch, settings, lambda shape, item: np.ones(shape)),
        resolve=resolver(layer()),
        additive=False,
    )


def random() -> Method:
    """Uniform noise."""

    def begin(batch: Batch, settings: Options) -> Begun:
        return _begin(
            batch,
            settings,
            lambda shape, item: np.random.default_rng((settings.seed, _content(item.inputs))).random(shape),
        )

    return Method(begin, resolve=resolver(layer()), additive=False, draws=True)


def _content(inputs: Inputs) -> int:
    """A number of what the input holds."""
    tensors = [inputs] if isinstance(inputs, Tensor) else [inputs[name] for name in sorted(inputs)]
    value = 0
    for tensor in tensors:
        value = zlib.crc32(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes(), value)
    return value


def _begin(batch: Batch, settings: Options, make: Callable[[tuple[int, ...], Item], np.ndarray]) -> Begun:
    def maps(targets: Tensor, advance: Callable[[], None]) -> list[Map]:
        advance()
        return [
            Map(make(grid, item)) for grid, item in zip(batch.grids(settings.layer), batch.items, strict=True)
        ]

    return Ready(batch.embed(), maps)
