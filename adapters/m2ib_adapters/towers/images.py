"""An image encoder from its tower and its preparation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from m2ib.contract.encoder import Encoder, Layer
from m2ib.contract.inputs import Inputs, Item
from m2ib.contract.layout import Layout
from m2ib_adapters.inputs.images import Preparation
from m2ib_adapters.inputs.tensors import pixels_of, tensor_of
from m2ib_adapters.towers.patches import Patches


def image_encoder(
    embed: Callable[[Any], Tensor],
    preparation: Preparation,
    layout: Layout,
    layers: tuple[Layer, ...],
    *,
    patches: Patches | None = None,
    size: tuple[int, int] = (0, 0),
    **others: Any,
) -> Encoder:
    """The image side of a model whose layout is the same for all images; the ``others`` as :class:`m2ib.Encoder` has.

    patches  that an input of ``size`` (rows, columns) is cut into; None: the grid's cells tile it, whatever they are
    """

    def placed(item: Item) -> Item:
        return item if patches is None else patches.placed(item, size)

    def prepare(raw: Any, *, truncate: bool = False) -> Item:
        pixels = pixels_of(raw)
        return placed(preparation.prepare(raw, layout)) if pixels is None else describe(pixels)

    def describe(pixels: Inputs) -> Item:
        return placed(preparation.describe(tensor_of(pixels, "image"), layout))

    if patches is not None:
        others = {"stride": patches.stride, "degradation": patches.fading(size), **others}
    return Encoder(modality="image", prepare=prepare, describe=describe, embed=embed, layers=layers, **others)
