"""What is known of transformers' families of models, and cannot be seen: the one table that tells them apart.

A model is told by the ``model_type`` of its config.json, each of its towers by that of the tower's own configuration, so that
a pair of towers made by ``VisionTextDualEncoderModel`` needs no entry for each combination.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Family:
    """A model.

    model     its class in transformers
    usual     a checkpoint, which is opened where none is given
    image     where its tower for images, films or sounds is
    text      where its text tower is
    sees      beside texts: "image", "video" or "audio"
    heads     of ``image`` and ``text``: what makes an embedding of each tower's first token, in a model without
              ``get_..._features``
    """

    model: str
    usual: str
    image: str = "vision_model"
    text: str = "text_model"
    sees: Literal["image", "video", "audio"] = "image"
    heads: tuple[str, str] | None = None


@dataclass(frozen=True)
class Image:
    """A tower for images, cut into patches row by row.

    blocks  the list of its blocks
    prefix  tokens before those of the patches, register tokens aside. None: its layers give maps of the image
    reads   the "first" token, or "all" by attention after the last block; None: its blocks do not attend by torch's function
    """

    blocks: str = "encoder.layers"
    prefix: int | None = 1
    reads: Literal["first", "all"] | None = "first"


@dataclass(frozen=True)
class Text:
    """A tower for texts.

    blocks  the list of its blocks
    reads   "end": the end token, causal. "largest": likewise, by OpenAI's rule where the end token is 2. "first": the first
            token, with padding masked. "mean": all tokens, with padding masked. "last": the last position of a
            padded text, padding read
    attends whether its blocks attend by torch's function
    shifted positions are counted from the padding's id + 1 on, as RoBERTa does
    given   what the model is called with besides ids
    causal_by_mask  it is causal where it is told so by a mask: transformers forgets it where there is no padding
    """

    blocks: str = "encoder.layers"
    reads: Literal["end", "largest", "first", "mean", "last"] = "first"
    attends: bool = True
    shifted: bool = False
    given: Mapping[str, Any] = field(default_factory=dict)
    causal_by_mask: bool = False


_PE = "facebook/pe-av-large"
FAMILIES: Mapping[str, Family] = {
    "clip": Family("CLIPModel", "openai/clip-vit-base-patch32"),
    "metaclip_2": Family("MetaClip2Model", "facebook/metaclip-2-worldwide-huge-quickgelu"),
    "siglip": Family("SiglipModel", "google/siglip-base-patch16-224"),
    "siglip2": Family("Siglip2Model", "google/siglip2-base-patch16-naflex"),
    "chinese_clip": Family("ChineseCLIPModel", "OFA-Sys/chinese-clip-vit-base-patch16"),
    "altclip": Family("AltCLIPModel", "BAAI/AltCLIP"),
    "aimv2": Family("Aimv2Model", "apple/aimv2-large-patch14-224-lit"),
    "align": Family("AlignModel", "kakaobrain/align-base"),
    "blip": Family("BlipModel", "Salesforce/blip-itm-base-coco"),
    "flava": Family("FlavaModel", "facebook/flava-full", "image_model"),
    "groupvit": Family("GroupViTModel", "nvidia/groupvit-gcc-yfcc"),
    "tipsv2": Family("Tipsv2Model", "google/tipsv2-b14"),
    "xclip": Family("XCLIPModel", "microsoft/xclip-base-patch32", sees="video"),
    "pe_audio": Family(
        "PeAudioModel", _PE, "audio_encoder", sees="audio", heads=("audio_head", "text_audio_head")
    ),
    "pe_video": Family(
        "PeVideoModel", _PE, "video_encoder", sees="video", heads=("video_head", "text_video_head")
    ),
    "pe_audio_video": Family("PeAudioVideoModel", _PE),  # it holds one of each of these two
    "vision-text-dual-encoder": Family("VisionTextDualEncoderModel", "clip-italian/clip-italian"),
}

PAIRS = (("audio", "text"), ("video", "text"), ("audio", "video"))
"""That a ``pe_audio_video`` compares, each in a space of its own."""

CLASSES: Mapping[str, Family] = {
    "blip": Family(
        "BlipForImageTextRetrieval",
        "Salesforce/blip-itm-base-coco",
        text="text_encoder",
        heads=("vision_proj", "text_proj"),
    ),
}
"""By ``model_type`` the one further class that a config.json may name in its ``architectures``."""

PLUGINS: Mapping[str, Family] = {
    "clap": Family("ClapModel", "laion/clap-htsat-unfused", "audio_model", sees="audio"),
}
"""What other packages open, whose texts alone are read here."""


def family_of(module: Any) -> Family:
    """Of a model of one of these classes."""
    kind, name = module.config.model_type, type(module).__name__
    if kind in CLASSES and CLASSES[kind].model == name:
        return CLASSES[kind]
    return PLUGINS[kind] if kind in PLUGINS else FAMILIES[kind]


IMAGES: Mapping[str, Image] = {
    "clip_vision_model": Image(),
    "metaclip_2_vision_model": Image(),
    "chinese_clip_vision_model": Image(),
    "altclip_vision_model": Image(),
    "siglip_vision_model": Image(prefix=0, reads="all"),
    "aimv2_vision_model": Image(prefix=0, reads="all"),
    "align_vision_model": Image("encoder.blocks", prefix=None, reads=None),
    "blip_vision_model": Image(reads=None),
    "flava_image_model": Image("encoder.layer", reads=None),
    # Blocks of its later stages hold groups of patches.
    "groupvit_vision_model": Image("encoder.stages.0.layers", prefix=0, reads=None),
    "tipsv2_vision_model": Image("encoder.layer"),
    "vit": Image("layers"),
    "dinov2": Image("encoder.layer"),
}
"""Of other towers in a pair, blocks are found and the layout is proven, as :func:`m2ib.adapt` does it."""

TEXTS: Mapping[str, Text] = {
    "clip_text_model": Text(reads="largest"),
    "metaclip_2_text_model": Text(reads="end"),
    "siglip_text_model": Text(reads="last"),
    "siglip2_text_model": Text(reads="last"),
    "chinese_clip_text_model": Text("encoder.layer"),
    "altclip_text_model": Text("roberta.encoder.layers", shifted=True),
    "aimv2_text_model": Text(reads="end", causal_by_mask=True),
    # Blocks of the next two do not say themselves that they are not causal.
    "align_text_model": Text("encoder.layer", given={"is_causal": False}),
    "clap_text_model": Text("encoder.layer", shifted=True, given={"is_causal": False}),
    "blip_text_model": Text("encoder.layer", attends=False),
    "flava_text_model": Text("encoder.layer", attends=False),
    "groupvit_text_model": Text(reads="largest", attends=False),
    "xclip_text_model": Text(reads="largest"),
    "tipsv2_text_model": Text(reads="mean"),
    "modernbert": Text("layers"),
    "bert": Text("encoder.layer"),
    "roberta": Text("encoder.layer", shifted=True),
    "xlm-roberta": Text("encoder.layer", shifted=True),
}
