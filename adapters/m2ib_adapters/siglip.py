"""SigLIP through transformers: ``SiglipModel`` or ``Siglip2Model`` from a hub id or a local folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from m2ib.contract.model import Model
from m2ib_adapters.huggingface.adapter import fault, load_family


def can(checkpoint: Any, *, config: Any = None, **options: Any) -> str | None:
    """Why a checkpoint is no SigLIP, by its config.json; None where it is."""
    return fault("siglip", ("siglip", "siglip2"), checkpoint, config)


def load(
    *,
    checkpoint: Any = None,
    device: torch.device,
    dtype: torch.dtype,
    max_patches: int | None = None,
    attention: str | None = None,
    processor: Any = None,
    tokenizer: Any = None,
    config: Any = None,
    image_size: int | None = None,
    image: Mapping[str, Any] | None = None,
) -> Model:
    """A SigLIP or SigLIP 2 of any size.

    checkpoint   a hub id or a folder written by ``save_pretrained``, with tokenizer and image processor; or the model in
                 memory, also inside PEFT's, which is taken and left as it is; or a file of weights alone, with ``config``
    max_patches  NaFlex only: an image is resized to at most so many patches. None: as the checkpoint says, 256
    attention    transformers' ``attn_implementation`` ("sdpa", "eager"); None: its default
    processor    transformers' processor or image processor; None: the checkpoint's own
    tokenizer    transformers' tokenizer; None: the processor's, else the checkpoint's own
    config       of a file of weights: the hub id or folder whose config.json, image processor and tokenizer are the model's
    image_size   pixels along a side of the images of a fixed size, in place of the checkpoint's: positions are interpolated
    image        how raw images are read: page, minimum, maximum
    """
    return load_family(
        "siglip", ("siglip", "siglip2"), checkpoint, device, dtype, max_patches=max_patches, attention=attention, processor=processor, tokenizer=tokenizer,
        config=config, image_size=image_size, image=image,
    )  # fmt: skip
