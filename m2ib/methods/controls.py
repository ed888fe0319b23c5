"""Maps that know nothing: what any method has to beat.

``uniform``  1 everywhere. It degrades nothing, so its confidence drop is 0: a low drop alone says little
``random``   uniform noise in [0, 1) for each cell, of the seed and the input: not the same map for every pair
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor

from m2ib.contract.inputs import Inputs, Item
from m2ib.contract.targets import Targets
from m2ib.methods.base import Batch, Map, Method, PreparedBatch, Settings


def uniform() -> Method:
    """1 everywhere."""
    return Method(partial(_prepared, lambda seed, shape, item: np.ones(shape)), additive=False, signs="none")


def random() -> Method:
    """Uniform noise."""
    return Method(partial(_prepared, _noise), additive=False, draws=True, signs="none")


def _noise(seed: int, shape: tuple[int, ...], item: Item) -> np.ndarray:
    return np.random.default_rng((seed, _content(item.inputs))).random(shape)


def _content(inputs: Inputs) -> int:
    """A number of what the input holds."""
    tensors = [inputs] if isinstance(inputs, Tensor) else [inputs[name] for name in sorted(inputs)]
    value = 0
    for tensor in tensors:
        value = zlib.crc32(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes(), value)
    return value


def _prepared(make: Callable[..., np.ndarray], batch: Batch, settings: Settings) -> PreparedBatch:
    """make  (seed, shape of the map, item) -> its values"""

    def maps(targets: Targets, advance: Callable[[], None]) -> list[Map]:
        advance()
        pairs = zip(batch.grids(settings.layer), batch.items, strict=True)
        return [Map(make(settings.seed, grid, item)) for grid, item in pairs]

    return PreparedBatch(batch.embed(), maps)
