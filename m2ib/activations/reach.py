"""Which layers' positions the embedding depends on.

After the last block of an encoder that is read at one pooled token, the other positions lead nowhere: a bottleneck
there costs them nothing, and what their map shows is how large activations are, dressed up as evidence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from m2ib.activations.capture import cut_graph, replace_value
from m2ib.contract.encoder import Encoder
from m2ib.contract.inputs import Inputs
from m2ib.contract.layout import Layout
from m2ib.promises import kept_promises


def content_reached(layout: Layout, reached: np.ndarray) -> bool:
    """Whether a cell of the grid is among the ``reached`` (positions); of texts, one that is no special token."""
    cells = layout.to_grid(reached)
    special = np.array([token.special for token in layout.tokens], dtype=bool)
    return bool(cells.any() if special.all() else cells[~special].any())  # all, where there are none


def reaching_layers(encoder: Encoder, inputs: Inputs, layout: Layout) -> tuple[int, ...]:
    """The layers -1 .. last with cells that move the embedding, for one input (1, ...) and its layout.

    One forward and one backward pass: the gradients of a random projection of the embedding at all layers. A
    position counts as soon as one of its channels has a gradient that is not zero. Raises :class:`AdapterError` where no
    graph leads back to any of them.
    """
    passed: dict[int, Tensor] = {}

    def keep(index: int) -> Callable[[Any], Any]:
        layer = encoder.layer(index)

        def through(value: Any) -> Any:
            activation = layer.read(value)
            if index == -1:
                activation = activation.detach().requires_grad_()
            passed[index] = activation
            return layer.write(value, activation)

        return through

    with torch.enable_grad(), kept_promises():
        for index in range(-1, len(encoder.blocks)):
            replace_value(encoder.layer(index), keep(index))
        embedding = encoder.embed(inputs)  # (1, D)
    if not embedding.requires_grad:
        raise cut_graph(encoder, -1)
    passed = {index: activation for index, activation in passed.items() if activation.requires_grad}
    generator = torch.Generator("cpu").manual_seed(0)
    probe = torch.randn(embedding.shape, generator=generator, device="cpu").to(embedding)
    grads = torch.autograd.grad(embedding, list(passed.values()), probe, allow_unused=True)
    if all(grad is None for grad in grads):
        raise cut_graph(encoder, -1)
    good = []
    for (index, activation), grad in zip(passed.items(), grads, strict=True):
        if grad is None:
            continue
        axis = encoder.layer(index).channel_axis % activation.ndim
        if content_reached(layout, (grad != 0).any(axis)[0].cpu().numpy()):
            good.append(index)
    return tuple(sorted(good))


class GoodLayers(tuple[int, ...]):
    """The layers, from -1 on, at which evidence can be shown; ``to_try`` has them in an order to search in.

    default  the encoder's own
    """

    default: int

    def __new__(cls, layers: Iterable[int], default: int) -> Self:
        made = super().__new__(cls, layers)
        made.default = default
        return made

    def __getnewargs__(self) -> tuple[tuple[int, ...], int]:
        return tuple(self), self.default

    @property
    def to_try(self) -> tuple[int, ...]:
        """The default first, then each time the one farthest from those before it, of two the earlier one.

        So a few tries see early, middle and late layers. Nothing that one pass shows tells which of them points best.
        """
        found, left = list[int](), list(self)
        while left:
            if found:
                best = max(left, key=lambda each: (min(abs(each - other) for other in found), -each))
            else:
                best = min(left, key=lambda each: (abs(each - self.default), each))
            found.append(best)
            left.remove(best)
        return tuple(found)


def nearest(layer: int, good: tuple[int, ...]) -> int | None:
    """The good layer closest to ``layer``, of two the earlier one; None if there is none."""
    return min(good, key=lambda each: (abs(each - layer), each), default=None)
