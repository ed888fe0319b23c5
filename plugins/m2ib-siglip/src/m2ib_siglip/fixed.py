"""Images of SigLIP and SigLIP 2 at a fixed resolution: squashed to a square, and cut into patches without a class token."""

from __future__ import annotations

from typing import Any

from torch import Tensor

import m2ib
from m2ib_adapters.kit import (
    ImagePreparation,
    Patches,
    block_layers,
    by_sdpa_of,
    image_encoder,
    loading,
    processed_images,
)
from m2ib_siglip.examples import example_images


def preparation(source: str, processor: Any, config: Any) -> ImagePreparation:
    """By the checkpoint's image processor; SigLIP's where it comes without one.

    Raises :class:`m2ib.CheckpointError` for one that cannot be read.
    """
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    vision = config.vision_config
    with loading("siglip", source):
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
    patch, size = config.patch_size, preparation.size
    patches = Patches((patch, patch), (patch, patch))

    def embed(pixels: m2ib.Inputs) -> Tensor:
        features: Tensor = module.get_image_features(pixel_values=pixels).pooler_output  # (N, D)
        return features

    return image_encoder(
        embed,
        preparation,
        m2ib.Layout(grid=patches.grid(size)),
        block_layers(vision.encoder.layers, "vision_model.encoder.layers"),
        patches=patches,
        size=size,
        attention=m2ib.Attention(None, by_sdpa_of(vision.encoder.config)),
        examples=example_images,
    )
