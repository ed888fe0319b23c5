"""The model behind ``photo``: images and sentences in the space of an ImageNet classifier's rows.

An image's embedding is its pooled feature (1280). A sentence's is its MiniLM embedding sent through a linear
map, fitted (``fit_text_map.py``) so that prompts about a class land on that class's centred row.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from m2ib.contract.degradation import Replacing
from m2ib.contract.encoder import Attention, Defaults, Encoder, Layer
from m2ib.contract.inputs import Inputs, Item
from m2ib.contract.layout import Layout
from m2ib.contract.model import Model
from m2ib.errors import CheckpointError, InputError
from m2ib.renderers import ImageRenderer, TextRenderer
from m2ib_adapters.inputs.images import ImagePreparation
from m2ib_adapters.inputs.tensors import tensor_of
from m2ib_adapters.inputs.texts import check_ids, check_text, tokens_of_ids, tokens_of_text, too_long
from m2ib_adapters.photo.networks import image_network, sentence_embedding, text_network
from m2ib_adapters.towers.attention import by_sdpa_of

TEXT_MAP = Path(__file__).with_name("text_map.safetensors")
SIZE = 384
LONGEST_TEXT = 256  # tokens, what the sentence encoder was trained with


class JoinedModel(nn.Module):
    """Both networks and the linear map between them."""

    def __init__(self, image: nn.Module, text: nn.Module, text_map: nn.Linear) -> None:
        super().__init__()
        self.image = image
        self.text = text
        self.text_map = text_map


def load(*, checkpoint: Any = None, device: torch.device, dtype: torch.dtype, size: int = SIZE) -> Model:
    """The embedded default. Needs no download: the weights come with the extra ``photo``.

    size  side of the square that images are resized to, in pixels, a multiple of 32
    """
    if checkpoint is not None:
        raise CheckpointError(f"photo: has its own weights and takes no checkpoint, not {checkpoint!r}")
    if isinstance(size, bool) or not isinstance(size, int) or size < 64 or size % 32:
        raise InputError(f"photo: size {size!r} is not a multiple of 32 from 64 on")
    text, tokenizer = text_network()
    module = JoinedModel(image_network(), text, _text_map()).to(device, dtype).eval().requires_grad_(False)
    module.image.to(memory_format=torch.channels_last)  # up to twice as fast on a processor
    encoders = {"image": _image_encoder(module, size), "text": _text_encoder(module, tokenizer)}
    origin = {
        "checkpoint": "efficientnet-lite2-9656183e + all-MiniLM-L6-v2",
        "architecture": f"photo, {size} px",
    }
    return Model(module, encoders, device, dtype, origin)


def _text_map() -> nn.Linear:
    tensors = load_file(TEXT_MAP)
    linear = nn.Linear(*tensors["weight"].shape)  # (384, 1280)
    with torch.no_grad():
        linear.weight.copy_(tensors["weight"].float().T)
        linear.bias.copy_(tensors["bias"].float())
    return linear


def _image_encoder(module: JoinedModel, size: int) -> Encoder:
    network: Any = module.image
    named = [
        (f"blocks.{stage}.{place}", block)
        for stage, blocks in enumerate(network.blocks)
        for place, block in enumerate(blocks)
    ]
    layers = tuple(Layer(block, name, channel_axis=1) for name, block in named)
    stem = Layer(named[0][1], f"{named[0][0]} (input)", channel_axis=1, at="input")
    preparation = ImagePreparation((size, size), mean=(127 / 255,) * 3, std=(128 / 255,) * 3, fit="squash")

    def embed(pixels: Inputs) -> Tensor:
        return network.global_pool(network.forward_features(pixels))  # (N, 1280)

    def tail(z: Tensor, layer: int, pixels: Inputs) -> Tensor:
        for _, block in named[layer + 1 :]:
            z = block(z)  # (M, C, H, W)
        return network.global_pool(network.bn2(network.conv_head(z)))  # (M, 1280)

    def prepare(raw: Any, *, truncate: bool = False) -> Item:
        return preparation.prepare(raw, Layout())

    def describe(pixels: Inputs) -> Item:
        return preparation.describe(tensor_of(pixels, "photo"), Layout())

    defaults = Defaults(layer=14)
    return Encoder(
        modality="image",
        prepare=prepare,
        describe=describe,
        embed=embed,
        layers=layers,
        stem=stem,
        defaults=defaults,
        renderer=ImageRenderer(),
        tail=tail,
    )


def _text_encoder(module: JoinedModel, tokenizer: Any) -> Encoder:
    network: Any = module.text
    blocks = network.encoder.layer
    layers = tuple(Layer(block, f"encoder.layer.{number}") for number, block in enumerate(blocks))
    stem = Layer(blocks[0], "encoder.layer.0 (input)", at="input")
    padding = tokenizer.pad_token_id

    def embed(ids: Inputs) -> Tensor:
        return module.text_map(sentence_embedding(network, tensor_of(ids, "photo"), padding))  # (N, 1280)

    def prepare(raw: Any, *, truncate: bool = False) -> Item:
        string = check_text(raw)
        coded = tokenizer(
            string,
            return_offsets_mapping=True,
            return_special_tokens_mask=True,
            truncation=truncate,
            max_length=LONGEST_TEXT if truncate else None,
        )
        ids = coded["input_ids"]
        if len(ids) > LONGEST_TEXT:
            raise too_long(string, len(ids), LONGEST_TEXT)
        special = [bool(flag) for flag in coded["special_tokens_mask"]]
        if all(special):
            raise InputError(f"text {string!r} is empty once tokenized; give at least one word")
        tokens = tokens_of_text(
            string, tokenizer.convert_ids_to_tokens(ids), coded["offset_mapping"], special
        )
        layout = Layout((len(ids),), read=len(ids), tokens=tokens)
        return Item(torch.tensor(ids), layout, {"text": string}, {"source": "text"})

    def describe(given: Inputs) -> Item:
        values = check_ids(given, LONGEST_TEXT, network.config.vocab_size)
        while values and values[-1] == padding:
            values.pop()
        special = [value in tokenizer.all_special_ids for value in values]
        if all(special):
            raise InputError("text: the token ids hold special tokens only")
        names = tokenizer.convert_ids_to_tokens(values)
        string, tokens = tokens_of_ids(values, special, names, tokenizer.decode)
        layout = Layout((len(values),), read=len(values), tokens=tokens)
        return Item(torch.tensor(values), layout, {"text": string}, {"source": "ids"})

    def collate(items: Sequence[Inputs]) -> Inputs:
        rows = [tensor_of(item, "photo") for item in items]
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=padding)  # (N, T)

    return Encoder(
        modality="text",
        prepare=prepare,
        describe=describe,
        embed=embed,
        layers=layers,
        stem=stem,
        defaults=Defaults(layer=3),
        renderer=TextRenderer(),
        collate=collate,
        attention=Attention(None, by_sdpa_of(network.config)),  # the mean of what is not padding
        degradation=Replacing(padding),  # masked out of attention and of the mean, as if it were not there
    )
