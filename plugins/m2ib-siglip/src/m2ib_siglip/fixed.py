"""Images of SigLIP and SigLIP 2 at a fixed resolution: squashed to a square, and cut into patches without a class token."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor

import m2ib
from m2ib_adapters.kit import (
    ImagePreparation,
    block_layers,
    by_sdpa_of,
    image_processor,
    loading,
    processed_images,
    tensor_of,
)
from m2ib_siglip.examples import example_images


def preparation(source: str, options: dict[str, Any], config: Any) -> ImagePreparation:
    """From preprocessor_config.json; SigLIP's values where the checkpoint comes without one.

    Raises :class:`m2ib.CheckpointError` for one that cannot be read.
    """
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    vision = config.vision_config
    with loading("siglip", source):
        processor = image_processor(source, options)
        if processor is None:
            side = {"height": vision.image_size, "width": vision.image_size}
            processor = SiglipImageProcessorPil(size=side)
        return processed_images(processor, vision.image_size, vision.num_channels)


def fixed_image_encoder(module: Any, preparation: ImagePreparation) -> m2ib.Encoder:
    """The image side of a ``SiglipModel``.

    Its embedding is read by a learned query that attends to all patches after the last block.
    """
    vision = module.vision_model
    config = vision.config
    patch, size = config.patch_size, config.image_size
    side = size // patch
    layout = m2ib.Layout(grid=(side, side))
    covered = side * patch / size  # 27 patches of 14 pixels leave 6 of 384 unseen, to the right and below

    def embed(pixels: m2ib.Inputs) -> Tensor:
        features: Tensor = module.get_image_features(pixel_values=pixels).pooler_output  # (N, D)
        return features

    def prepare(raw: Any, *, truncate: bool = False) -> m2ib.Item:
        return _seen(preparation.prepare(raw, layout), covered)

    def describe(pixels: m2ib.Inputs) -> m2ib.Item:
        return _seen(preparation.describe(tensor_of(pixels, "siglip"), layout), covered)

    return m2ib.Encoder(
        modality="image",
        prepare=prepare,
        describe=describe,
        embed=embed,
        layers=block_layers(vision.encoder.layers, "vision_model.encoder.layers"),
        stride=(patch, patch),
        attention=m2ib.Attention(None, by_sdpa_of(vision.encoder.config)),
        examples=example_images,
    )


def _seen(item: m2ib.Item, covered: float) -> m2ib.Item:
    """``item``, whose cells tile the whole image, with cells that end where the last whole patch ends."""
    if covered == 1:
        return item
    axes = tuple(
        m2ib.Axis(axis.name, axis.unit, tuple((start * covered, end * covered) for start, end in axis.spans))
        for axis in item.layout.axes
    )
    left, top, right, bottom = item.view.region
    view = replace(item.view, region=(left, top, right * covered, bottom * covered))
    return replace(item, layout=replace(item.layout, axes=axes), view=view)
