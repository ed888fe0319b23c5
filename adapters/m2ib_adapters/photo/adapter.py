"""The model behind ``photo``: images and sentences in the space of an ImageNet classifier's rows.

An image's embedding is its pooled feature (1280). A sentence's is its MiniLM embedding sent through a linear
map, fitted (``fit_text_map.py``) so that prompts about a class land on that class's centred row, and from there to the
rows that it came closest to (:class:`TextMap`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from m2ib.contract.encoder import Attention, Defaults, Encoder
from m2ib.contract.inputs import Inputs, Item
from m2ib.contract.layout import Layout
from m2ib.contract.model import Model
from m2ib.errors import CheckpointError, InputError
from m2ib_adapters.bounds import SIDE
from m2ib_adapters.inputs.images import ImagePreparation
from m2ib_adapters.inputs.texts import check_words
from m2ib_adapters.inputs.wordpiece import WordPieceCoder
from m2ib_adapters.memory import described
from m2ib_adapters.photo.minilm import VOCABULARY, MiniLM, parts_of
from m2ib_adapters.photo.networks import TextMap, class_rows, image_network, sentence_embedding, text_network
from m2ib_adapters.towers.images import image_encoder
from m2ib_adapters.towers.layers import block_layers
from m2ib_adapters.towers.text import TextTower, text_encoder

TEXT_MAP = Path(__file__).with_name("text_map.safetensors")
SIZE = 384
SMOOTH = 1.0  # cells: the highest of single ones is ragged
LONGEST_TEXT = 256  # tokens, what the sentence encoder was trained with
USUAL = (  # every 31st class of ImageNet, which the image side was trained to tell apart
    "tench", "tree frog", "rock python", "hornbill", "crayfish", "Shih-Tzu", "Norwich terrier", "English springer",
    "Eskimo dog", "Arctic fox", "ant", "hog", "baboon", "aircraft carrier", "bath towel", "bulletproof vest",
    "Christmas stocking", "desktop computer", "flute", "hand blower", "laptop", "microwave", "obelisk", "photocopier",
    "projectile", "sarong", "sock", "sunglasses", "tray", "water jug", "French loaf", "dough", "agaric",
)  # fmt: skip


def can(checkpoint: Any, **options: Any) -> str:
    """Why it opens no checkpoint at all."""
    return "has its own weights and takes no checkpoint"


def load(
    *,
    checkpoint: Any = None,
    device: torch.device,
    dtype: torch.dtype,
    size: int = SIZE,
    image: Mapping[str, Any] | None = None,
) -> Model:
    """The embedded default. Needs no download: the weights come with the extra ``photo``.

    size   side of the square that images are resized to, in pixels, a multiple of 32
    image  how raw images are read: page, minimum, maximum
    """
    if checkpoint is not None:
        raise CheckpointError(
            f"photo: has its own weights and takes no checkpoint, not {described(checkpoint) if isinstance(checkpoint, nn.Module) else repr(checkpoint)}"
        )
    if isinstance(size, bool) or not isinstance(size, int) or size < 64 or size % 32:
        raise InputError(f"photo: size {size!r} is not a multiple of 32 from 64 on")
    SIDE.check("photo", size, f"size={size}")
    text, coder = text_network()
    network, fitted = image_network(), load_file(TEXT_MAP)
    text_map = TextMap(fitted["weight"], fitted["bias"], class_rows(network))
    parts = {"image": network, "text": text, "text_map": text_map}
    module: Any = nn.ModuleDict(parts).to(device, dtype).eval().requires_grad_(False)
    module.image.to(memory_format=torch.channels_last)  # up to twice as fast on a processor
    encoders = {
        "image": _image_encoder(module, _preparation(size).given(image, "photo")),
        "text": _text_encoder(module, coder),
    }
    origin = {
        "checkpoint": "efficientnet-lite2-9656183e + all-MiniLM-L6-v2",
        "architecture": f"photo, {size} px",
    }
    return Model(module, encoders, device, dtype, origin)


def _preparation(size: int) -> ImagePreparation:
    return ImagePreparation((size, size), mean=(127 / 255,) * 3, std=(128 / 255,) * 3, fit="squash")


def _image_encoder(module: Any, preparation: ImagePreparation) -> Encoder:
    network: Any = module.image
    layers = tuple(
        layer
        for stage, blocks in enumerate(network.blocks)
        for layer in block_layers(blocks, f"blocks.{stage}", channel_axis=1)
    )

    def embed(pixels: Inputs) -> Tensor:
        return network.global_pool(network.forward_features(pixels))  # (N, 1280)

    def tail(z: Tensor, layer: int, pixels: Inputs) -> Tensor:
        for after in layers[layer + 1 :]:
            z = after.module(z)  # (M, C, H, W)
        return network.global_pool(network.bn2(network.conv_head(z)))  # (M, 1280)

    return image_encoder(
        embed,
        preparation,
        Layout(),
        layers,
        defaults=Defaults(layer=14, methods={"m2ib": {"smooth": SMOOTH}}),
        presets={"sharp": {"granularity": "element", "smooth": SMOOTH}},
        tail=tail,
        reference=partial(_photographs, preparation.size),
    )


def _text_encoder(module: Any, coder: WordPieceCoder) -> Encoder:
    network: MiniLM = module.text
    padding = coder.pad

    def embed(ids: Tensor) -> Tensor:
        return module.text_map(sentence_embedding(network, ids, padding))  # (N, 1280)

    def cut(ids: list[int]) -> list[int]:
        """Without the padding at the end, which is masked out of attention and of the mean."""
        kept = ids[: max((place for place, value in enumerate(ids, 1) if value != padding), default=0)]
        check_words(value in coder.special for value in kept)
        return kept

    tower = TextTower(
        embed,
        block_layers(network.encoder.layer, "encoder.layer"),
        None,
        LONGEST_TEXT,
        VOCABULARY,
        cut,
        pad=padding,
        attention=Attention(None),  # the mean of what is not padding
        parts_of=parts_of,
    )
    encoder = text_encoder(tower, coder)
    return replace(encoder, defaults=Defaults(layer=3), reference=_captions)


def _photographs(size: tuple[int, int]) -> list[Item]:
    """Those of scikit-image that its package holds, made ready without options."""
    import skimage.data

    names = (
        "astronaut", "chelsea", "coffee", "rocket", "grass", "gravel", "brick", "coins", "horse", "moon", "retina",
    )  # fmt: skip
    plain = _preparation(size[0])
    return [plain.prepare(np.asarray(getattr(skimage.data, name)()), Layout()) for name in names]


def _captions() -> list[str]:
    return [f"a photo of a {name}" for name in USUAL]
