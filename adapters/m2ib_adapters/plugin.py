"""Registers the first-party adapters. Imports nothing heavy: each ``load`` does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import m2ib


def _load_photo(**options: Any) -> m2ib.Model:
    from m2ib_adapters.photo.adapter import load

    return load(**options)


def _load_clip(**options: Any) -> m2ib.Model:
    from m2ib_adapters.clip import load

    return load(**options)


def _load_open_clip(**options: Any) -> m2ib.Model:
    from m2ib_adapters.openclip.adapter import load

    return load(**options)


@m2ib.hookimpl
def m2ib_register_adapters(register: Callable[[m2ib.AdapterSpec], None]) -> None:
    """The adapters that come with m2ib."""
    register(
        m2ib.AdapterSpec(
            name="photo",
            summary="the embedded default: an ImageNet CNN and a sentence encoder, joined by a linear map",
            modalities=("image", "text"),
            load=_load_photo,
            models="EfficientNet-Lite2 + all-MiniLM-L6-v2, from PyPI, no download at run time",
            extra="m2ib[photo]",
        )
    )
    register(
        m2ib.AdapterSpec(
            name="clip",
            summary="CLIP through transformers",
            modalities=("image", "text"),
            load=_load_clip,
            models="any CLIPModel with a ViT: hub id (openai/clip-vit-base-patch32) or local folder",
            extra="m2ib[clip]",
        )
    )
    register(
        m2ib.AdapterSpec(
            name="open-clip",
            summary="CLIP, SigLIP and their kin through open_clip",
            modalities=("image", "text"),
            load=_load_open_clip,
            models="any open_clip architecture with a pretrained tag or a local checkpoint file",
            extra="m2ib[open-clip]",
        )
    )
