"""Maps that know nothing: what any method has to beat.

``uniform``  1 everywhere. It degrades nothing, so its confidence drop is 0: a low drop alone says little
``random``   uniform noise in [0, 1) for each cell, of the seed
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from torch import Tensor

from m2ib.methods.base import Batch, Begun, Map, Method, Ready
from m2ib.methods.options import Options, layer, resolver


def uniform() -> Method:
    """1 everywhere."""
    return Method(
        lambda batch, settings: _begin(batch, settings, np.ones), resolve=resolver(layer()), additive=False
    )


def random() -> Method:
    """Uniform noise."""

    def begin(batch: Batch, settings: Options) -> Begun:
        return _begin(batch, settings, lambda shape: batch.generator(settings.seed).random(shape))

    return Method(begin, resolve=resolver(layer()), additive=False, draws=True)


def _begin(batch: Batch, settings: Options, make: Callable[[tuple[int, ...]], np.ndarray]) -> Begun:
    def maps(targets: Tensor, advance: Callable[[], None]) -> list[Map]:
        advance()
        return [Map(make(grid)) for grid in batch.grids(settings.layer)]

    return Ready(batch.embed(), maps)
