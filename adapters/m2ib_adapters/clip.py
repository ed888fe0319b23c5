"""CLIP through transformers: ``CLIPModel`` from a hub id or a local folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from m2ib.contract.model import Model
from m2ib_adapters.huggingface.adapter import fault, load_family


def can(checkpoint: Any, *, config: Any = None, **options: Any) -> str | None:
    """Why a checkpoint is no CLIP of transformers, by its config.json; None where it is."""
    return fault("clip", ("clip",), checkpoint, config)


def load(
    *,
    checkpoint: Any = None,
    device: torch.device,
    dtype: torch.dtype,
    attention: str | None = None,
    processor: Any = None,
    tokenizer: Any = None,
    config: Any = None,
    image_size: int | None = None,
    image: Mapping[str, Any] | None = None,
) -> Model:
    """A CLIP of any size with a ViT.

    checkpoint  a hub id or a folder written by ``save_pretrained``; or a ``CLIPModel`` in memory, also inside PEFT's
                model or torch.compile's, which is taken and left as it is; or a file of weights alone, with ``config``
    attention   transformers' ``attn_implementation`` ("sdpa", "eager"); None: its default
    processor   transformers' ``CLIPProcessor`` or image processor; None: the checkpoint's own
    tokenizer   transformers' tokenizer; None: the processor's, else the checkpoint's own
    config      of a file of weights: the hub id or folder whose config.json, image processor and tokenizer are the model's
    image_size  pixels along a side of the images, in place of the checkpoint's: positions are interpolated to it, and the
                sizes of the image processor change with it
    image       how raw images are read: page, minimum, maximum
    """
    return load_family(
        "clip", ("clip",), checkpoint, device, dtype, attention=attention, processor=processor, tokenizer=tokenizer,
        config=config, image_size=image_size, image=image,
    )  # fmt: skip
