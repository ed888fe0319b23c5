"""SigLIP through transformers: ``SiglipModel`` or ``Siglip2Model`` from a hub id or a local folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

import m2ib
from m2ib_adapters.kit import (
    base_of,
    described,
    from_transformers,
    parts_nearby,
    parts_of,
    place_of,
    resized,
    transformers_fault,
    unwrapped,
)
from m2ib_siglip.fixed import fixed_image_encoder, preparation
from m2ib_siglip.naflex import naflex_image_encoder, patching
from m2ib_siglip.texts import siglip_text_encoder

DEFAULT_CHECKPOINT = "google/siglip-base-patch16-224"
MOST_PATCHES = 4096
"""An image of so many takes 50 MB as patches, and its attention 17 million scores a head and block."""


def can(checkpoint: Any, **options: Any) -> str | None:
    """Why a checkpoint is no SigLIP; None where it is."""
    kinds = "transformers.SiglipModel", "transformers.Siglip2Model"
    return transformers_fault("siglip", checkpoint, ("siglip", "siglip2"), *kinds)


def load(
    *,
    checkpoint: Any = None,
    device: torch.device,
    dtype: torch.dtype,
    max_patches: int | None = None,
    attention: str | None = None,
    processor: Any = None,
    tokenizer: Any = None,
    image_size: int | None = None,
    image: Mapping[str, Any] | None = None,
) -> m2ib.Model:
    """A SigLIP or SigLIP 2 of any size.

    checkpoint   a hub id or a folder written by ``save_pretrained``, with tokenizer and image processor; or the model in
                 memory, also inside PEFT's, which is taken and left as it is
    max_patches  NaFlex only: an image is resized to at most so many patches. None: as the checkpoint says, 256
    attention    transformers' ``attn_implementation`` ("sdpa", "eager"); None: its default
    processor    transformers' processor or image processor; None: the checkpoint's own
    tokenizer    transformers' tokenizer; None: the processor's, else the checkpoint's own
    image_size   pixels along a side of the images of a fixed size, in place of the checkpoint's: positions are interpolated
    image        how raw images are read: page, minimum, maximum

    Raises :class:`m2ib.CheckpointError` and :class:`m2ib.SettingError`.
    """
    from transformers import Siglip2Model, SiglipModel

    in_memory = isinstance(checkpoint, nn.Module)
    both = (SiglipModel, Siglip2Model)
    source = described(checkpoint) if in_memory else place_of("siglip", checkpoint, DEFAULT_CHECKPOINT, both)

    def check(config: Any) -> None:
        if not config.vision_config.vision_use_head:
            raise m2ib.CheckpointError(
                f"siglip: checkpoint {source!r} has no pooling head (vision_use_head is false in its config.json), so "
                "it makes no embedding of an image; use a checkpoint with both towers whole"
            )
        _check_patches(max_patches, config)

    kinds = {"siglip": SiglipModel, "siglip2": Siglip2Model}
    if in_memory:
        if image_size is not None:
            raise m2ib.SettingError("siglip: image_size is that of the model in memory; leave it out")
        if attention is not None:
            raise m2ib.SettingError(
                "siglip: attention is set by net.set_attn_implementation for a model in memory"
            )
        module = unwrapped("siglip", checkpoint, both)
        check(module.config)
        parts = parts_nearby("siglip", module, processor, tokenizer, pillow=not _is_flexible(module.config))
        if parts.image is None and not _is_flexible(module.config):
            m2ib.warn(
                "siglip: the model in memory came without processor=, so pixels are prepared with SigLIP's values; give "
                "it if the model was trained with others"
            )
    else:
        module, options = from_transformers(
            "siglip", source, kinds, check=check, dtype=dtype, attn_implementation=attention
        )
        module = module.to(device).eval()
        parts = parts_of(
            "siglip", source, options, processor, tokenizer, pillow=not _is_flexible(module.config)
        )
        if image_size is not None:
            if _is_flexible(module.config):
                raise m2ib.SettingError(
                    "siglip: image_size is for models of a fixed size, and this is a NaFlex checkpoint; say max_patches"
                )
            parts = resized("siglip", module, image_size, parts, own=0)
    config = module.config
    images = (
        naflex_image_encoder(
            module, patching(source, parts.image, config, max_patches).given(image, "siglip")
        )
        if _is_flexible(config)
        else fixed_image_encoder(module, preparation(source, parts.image, config).given(image, "siglip"))
    )
    text = siglip_text_encoder(module, parts.tokenizer)
    origin: dict[str, Any] = {"checkpoint": source, "architecture": _describe(config)}
    if not in_memory and base_of(source) != source:
        origin["base"] = base_of(source)
    if image_size is not None:
        origin |= {"image_size": image_size, "positions": "interpolated"}
    return m2ib.Model(module, {"image": images, "text": text}, module.device, module.dtype, origin)


def _is_flexible(config: Any) -> bool:
    """Whether this is a NaFlex model."""
    return bool(config.model_type == "siglip2")


def _check_patches(given: Any, config: Any) -> None:
    """Raises :class:`m2ib.SettingError` for a ``max_patches`` that the model cannot have."""
    if given is None:
        return
    if not _is_flexible(config):
        side = config.vision_config.image_size
        raise m2ib.SettingError(
            f"siglip: max_patches is {given!r}, and this checkpoint takes images of {side}x{side} pixels alone; "
            "leave it out, or load a NaFlex checkpoint"
        )
    if isinstance(given, bool) or not isinstance(given, int) or not 1 <= given <= MOST_PATCHES:
        raise m2ib.SettingError(
            f"siglip: max_patches is {given!r}; give a whole number from 1 to {MOST_PATCHES}"
        )


def _describe(config: Any) -> str:
    vision, text = config.vision_config, config.text_config
    name, size = (
        ("SigLIP 2 NaFlex", f"{vision.num_patches} positions")
        if _is_flexible(config)
        else ("SigLIP", f"{vision.image_size} px")
    )
    return (
        f"{name} ViT {vision.hidden_size}x{vision.num_hidden_layers}, patch {vision.patch_size}, {size}; "
        f"text {text.hidden_size}x{text.num_hidden_layers}"
    )
