"""An image encoder from its tower and its preparation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from m2ib.activations.capture import replace_value
from m2ib.contract.encoder import Encoder, Layer
from m2ib.contract.inputs import Inputs, Item
from m2ib.contract.layout import Layout
from m2ib.promises import kept_promises
from m2ib_adapters.inputs.images import Preparation
from m2ib_adapters.inputs.tensors import pixels_of, tensor_of
from m2ib_adapters.towers.patches import Patches
from m2ib_adapters.towers.pooled import Pooler
from m2ib_adapters.towers.tails import PartsOf, tail_of


def map_steps(
    embed: Callable[[Any], Tensor], layers: Sequence[Layer], size: tuple[int, int]
) -> Callable[[int], tuple[int, ...] | None]:
    """For a tower of convolutions: how many pixels apart the cells of each layer's map are; None where they do not tile.

    Found by one run of a blank image, at the first question.
    """
    found: dict[int, tuple[int, ...] | None] = {}

    def look(number: int, value: Any) -> Any:
        shape = layers[number].read(value).shape
        channels = layers[number].channel_axis % len(shape)
        cells = [length for axis, length in enumerate(shape) if axis not in (0, channels)]  # rows, columns
        steps = [divmod(pixels, count) for pixels, count in zip(size, cells, strict=False)]
        tiles = len(cells) == 2 and not any(rest for _, rest in steps)
        found[number] = tuple(step for step, _ in steps) if tiles else None
        return value

    def step(layer: int) -> tuple[int, ...] | None:
        if not found:
            weight = next(layers[0].module.parameters())
            with torch.no_grad(), kept_promises():
                for number, place in enumerate(layers):
                    replace_value(place, partial(look, number))
                embed(torch.zeros(1, 3, *size, device=weight.device, dtype=weight.dtype))
        return found.get(layer)

    return step


def image_encoder(
    embed: Callable[[Any], Tensor],
    preparation: Preparation,
    layout: Layout,
    layers: tuple[Layer, ...],
    *,
    patches: Patches | None = None,
    size: tuple[int, int] = (0, 0),
    parts_of: PartsOf | None = None,
    pooler: Pooler | None = None,
    **others: Any,
) -> Encoder:
    """The image side of a model whose layout is the same for all images; the ``others`` as :class:`m2ib.Encoder` has.

    patches   that an input of ``size`` (rows, columns) is cut into; None: the grid's cells tile it, whatever they are
    parts_of  that there is a tail by the blocks' parts, if all are known; and ``pooler`` as :func:`tail_of` takes them
    """

    def placed(item: Item) -> Item:
        return item if patches is None else patches.placed(item, size)

    def prepare(raw: Any, *, truncate: bool = False) -> Item:
        pixels = pixels_of(raw)
        return placed(preparation.prepare(raw, layout)) if pixels is None else describe(pixels)

    def describe(pixels: Inputs) -> Item:
        return placed(preparation.describe(tensor_of(pixels, "image"), layout))

    if patches is None and layout.grid is None:
        side = preparation.size
        whole = (side, side) if isinstance(side, int) else side
        others = {"stride": map_steps(embed, layers, whole), **others}
    if patches is not None:
        others = {"stride": patches.stride, "degradation": patches.fading(size), **others}
    if parts_of is not None:
        attention = others.get("attention")
        pooled = None if attention is None else attention.pooled
        others["tail"] = tail_of(embed, layers, parts_of, pooled, pooler)
    return Encoder(modality="image", prepare=prepare, describe=describe, embed=embed, layers=layers, **others)
