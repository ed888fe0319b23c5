"""Registers the first-party adapters. Imports nothing heavy: what ``load`` names does."""

from __future__ import annotations

from collections.abc import Callable

import m2ib


@m2ib.hookimpl
def m2ib_register_adapters(register: Callable[[m2ib.AdapterSpec], None]) -> None:
    """The adapters that come with m2ib."""
    register(
        m2ib.AdapterSpec(
            name="photo",
            summary="the embedded default: an ImageNet CNN and a sentence encoder, joined by a linear map",
            modalities=("image", "text"),
            load="m2ib_adapters.photo.adapter:load",
            models="EfficientNet-Lite2 + all-MiniLM-L6-v2, from PyPI, no download at run time",
            extra="m2ib[photo]",
            options=("size",),
            attention=("text",),
        )
    )
    register(
        m2ib.AdapterSpec(
            name="clip",
            summary="CLIP through transformers",
            modalities=("image", "text"),
            load="m2ib_adapters.clip:load",
            models="any CLIPModel with a ViT: hub id (openai/clip-vit-base-patch32) or local folder",
            extra="m2ib[clip]",
            options=("attention",),
            attention=("image", "text"),
        )
    )
    register(
        m2ib.AdapterSpec(
            name="open-clip",
            summary="CLIP, SigLIP and their kin through open_clip",
            modalities=("image", "text"),
            load="m2ib_adapters.openclip.adapter:load",
            models="any open_clip architecture with a pretrained tag or a local checkpoint file",
            extra="m2ib[open-clip]",
            options=("architecture", "quick_gelu", "preprocess", "tokenizer"),
            attention=("image", "text"),
        )
    )
    register(
        m2ib.AdapterSpec(
            name="cxr-repair",
            summary="CLIP for chest X-rays, with DICOM",
            modalities=("image", "text"),
            load="m2ib_adapters.cxr.adapter:load",
            models="CXR-RePaiR and any other CLIP state dict in OpenAI's format, ViT or ResNet",
            extra="m2ib[cxr]",
            options=("preprocess", "equalize"),
            attention=("image", "text"),
        )
    )
    register(
        m2ib.AdapterSpec(
            name="imagebind",
            summary="ImageBind: six kinds of input in one space",
            modalities=("image", "video", "text", "audio", "depth", "thermal", "imu"),
            load="m2ib_adapters.imagebind.adapter:load",
            models="imagebind_huge.pth, safetensors with its keys, or nielsr/imagebind-huge "
            "(weights: CC BY-NC-SA 4.0, no commercial use)",
            extra="m2ib[imagebind]",
            options=("architecture", "image_size", "audio", "video", "depth", "thermal", "imu"),
            attention=("image", "video", "text", "audio", "depth", "thermal", "imu"),
        )
    )
    register(
        m2ib.AdapterSpec(
            name="imagebind-tiny",
            summary="a small ImageBind for a procedural world",
            modalities=("image", "text", "audio", "depth", "thermal", "imu"),
            load="m2ib_adapters.imagebind_tiny.adapter:load",
            models="weights in the package (MIT), trained on m2ib.scenes; a small vocabulary of its own, no download",
            extra="m2ib[imagebind]",
            options=("audio", "depth", "thermal", "imu"),
            attention=("image", "text", "audio", "depth", "thermal", "imu"),
        )
    )
