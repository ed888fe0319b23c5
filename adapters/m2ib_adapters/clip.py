"""CLIP through transformers: ``CLIPModel`` from a hub id or a local folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from m2ib.contract.encoder import Attention, Encoder
from m2ib.contract.inputs import Inputs
from m2ib.contract.model import Model
from m2ib.errors import CheckpointError, InputError, SettingError
from m2ib.notices import warn
from m2ib_adapters.checkpoints import loading
from m2ib_adapters.files import sha256
from m2ib_adapters.inputs.images import ImagePreparation
from m2ib_adapters.inputs.processors import processed_images
from m2ib_adapters.inputs.tensors import tensor_of
from m2ib_adapters.inputs.texts import check_words
from m2ib_adapters.inputs.tokens import Coded, Coder, IdCoder, TokenizerCoder
from m2ib_adapters.looking import transformers_fault
from m2ib_adapters.memory import described, parts_nearby, parts_of, place_of, resized, unwrapped, weights_of
from m2ib_adapters.towers.attention import by_sdpa_of, first_position
from m2ib_adapters.towers.hugging_face import parts_of as parts_of_block
from m2ib_adapters.towers.images import image_encoder
from m2ib_adapters.towers.layers import block_layers
from m2ib_adapters.towers.patches import Patches
from m2ib_adapters.towers.pooled import run_pooled
from m2ib_adapters.towers.text import TextTower, text_encoder
from m2ib_adapters.transformers_models import base_of, from_transformers, from_weights

DEFAULT_CHECKPOINT = "openai/clip-vit-base-patch32"
_NO_TOKENIZER = (
    "this checkpoint comes without a tokenizer; save one into its folder (CLIPTokenizer.save_pretrained)"
)


def can(checkpoint: Any, *, config: Any = None, **options: Any) -> str | None:
    """Why a checkpoint is no CLIP of transformers, by its config.json; None where it is."""
    of_file = config is not None and isinstance(checkpoint, str | PathLike) and os.path.isfile(checkpoint)
    return transformers_fault("clip", config if of_file else checkpoint, ("clip",), "transformers.CLIPModel")


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
    from transformers import CLIPModel

    if isinstance(checkpoint, nn.Module):
        if attention is not None or image_size is not None or config is not None:
            raise SettingError(
                "clip: attention, image_size and config are those of the model in memory; leave them out"
            )
        module = unwrapped("clip", checkpoint, (CLIPModel,))
        parts, source = parts_nearby("clip", module, processor, tokenizer), described(checkpoint)
        if parts.image is None:
            warn(
                "clip: the model in memory came without processor=, so pixels are prepared with OpenAI's values; give it "
                "if the model was trained with others"
            )
        missing = "this model in memory came without tokenizer=; give it, or token ids"
    else:
        source = place_of("clip", checkpoint, DEFAULT_CHECKPOINT, (CLIPModel,))
        kinds = {"clip": CLIPModel}
        place, file = weights_of("clip", source, config, DEFAULT_CHECKPOINT)
        read = partial(from_weights, "clip", file) if file else partial(from_transformers, "clip")
        module, options = read(place, kinds, dtype=dtype, attn_implementation=attention)
        module = module.to(device).eval()
        parts, missing = parts_of("clip", place, options, processor, tokenizer), _NO_TOKENIZER
        if image_size is not None:
            parts = resized("clip", module, image_size, parts)
    encoders = {
        "image": _image_encoder(module, _preparation(source, parts.image, module).given(image, "clip")),
        "text": _text_encoder(module, parts.tokenizer, missing),
    }
    origin: dict[str, Any] = {"checkpoint": source, "architecture": _describe(module.config)}
    if config is not None:
        origin |= {"config": str(config), "sha256": sha256(Path(source))}
    elif not isinstance(checkpoint, nn.Module) and base_of(source) != source:
        origin["base"] = base_of(source)
    if image_size is not None:
        origin |= {"image_size": image_size, "positions": "interpolated"}
    return Model(module, encoders, module.device, module.dtype, origin)


def _describe(config: Any) -> str:
    vision, text = config.vision_config, config.text_config
    return (
        f"CLIP ViT {vision.hidden_size}x{vision.num_hidden_layers}, patch {vision.patch_size}, "
        f"{vision.image_size} px; text {text.hidden_size}x{text.num_hidden_layers}"
    )


def _preparation(source: str, processor: Any, module: Any) -> ImagePreparation:
    """By the checkpoint's image processor; OpenAI's where it comes without one."""
    vision = module.config.vision_config
    with loading("clip", source):
        processor = processor or _openai_processor(vision.image_size)
        return processed_images(processor, vision.image_size, vision.num_channels)


def _openai_processor(side: int) -> Any:
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    return CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size=side)


def _run_pooled(blocks: Sequence[nn.Module], z: Tensor, mask: Tensor | None, index: Tensor) -> Tensor:
    """The blocks that are left, the last one for the pooled position alone: (M, T, C), (M,) -> (M, C).

    mask  additive, for a causal encoder; None where every position sees all
    """
    return run_pooled(blocks, lambda block, x: block(x, mask), z, index, parts_of_block, mask)


def _image_encoder(module: Any, preparation: ImagePreparation) -> Encoder:
    vision = module.vision_model
    blocks = vision.encoder.layers
    patch, size = module.config.vision_config.patch_size, preparation.size
    patches = Patches((patch, patch), (patch, patch))

    def embed(pixels: Inputs) -> Tensor:
        return module.get_image_features(pixel_values=pixels).pooler_output  # (N, D), projected

    def tail(z: Tensor, layer: int, pixels: Inputs) -> Tensor:
        pooled = _run_pooled(blocks[layer + 1 :], z, None, first_position(z))  # (M, C)
        return module.visual_projection(vision.post_layernorm(pooled))  # (M, D)

    return image_encoder(
        embed,
        preparation,
        patches.layout(size),
        block_layers(blocks, "vision_model.encoder.layers"),
        tail=tail,
        patches=patches,
        size=size,
        attention=Attention(first_position, by_sdpa_of(vision.config)),
    )


def _text_encoder(module: Any, tokenizer: Any, missing: str) -> Encoder:
    """``missing``: what is said where there is no tokenizer."""
    text = module.text_model
    config = module.config.text_config
    blocks = text.encoder.layers
    end = text.eos_token_id

    def pooled_at(ids: Tensor) -> Tensor:
        """(N, T) ids -> (N,) the position that is read, by transformers' own two rules."""
        if end == 2:  # the legacy rule: OpenAI's configurations name the wrong id
            return ids.int().argmax(-1)
        return (ids == end).int().argmax(-1)

    def cut(ids: list[int]) -> list[int]:
        """What comes after the pooled token of a causal encoder is never read."""
        if end != 2 and end not in ids:
            raise InputError(f"text: the token ids hold no end token ({end}), where the model reads a text")
        return ids[: int(pooled_at(torch.tensor([ids]))) + 1]

    def embed(ids: Inputs) -> Tensor:
        return module.get_text_features(input_ids=ids).pooler_output  # (N, D), projected

    def tail(z: Tensor, layer: int, ids: Inputs) -> Tensor:
        index = pooled_at(tensor_of(ids, "clip"))  # (M,)
        length = z.shape[1]
        mask = torch.full((length, length), torch.finfo(z.dtype).min, dtype=z.dtype, device=z.device)
        mask = mask.triu(1)[None, None]  # (1, 1, T, T) causal
        pooled = _run_pooled(blocks[layer + 1 :], z, mask, index)  # (M, C)
        return module.text_projection(text.final_layer_norm(pooled))  # (M, D)

    coder: Coder = IdCoder(missing)
    if tokenizer is not None:
        coder = TokenizerCoder(tokenizer, tokenizer.all_special_ids)
    tower = TextTower(
        embed,
        block_layers(blocks, "text_model.encoder.layers"),
        None,
        config.max_position_embeddings,
        config.vocab_size,
        cut,
        pad=_padding(tokenizer, end),
        tail=tail,
        attention=Attention(lambda ids: pooled_at(tensor_of(ids, "clip")), by_sdpa_of(text.config)),
        reads="largest" if end == 2 else None,
    )
    return replace(text_encoder(tower, _UpToEnd(coder, cut)), collate=_collate)


@dataclass(frozen=True)
class _UpToEnd:
    """A coder of texts that are read up to their end token; ``cut`` takes ids up to it."""

    coder: Coder
    cut: Callable[[list[int]], list[int]]

    @property
    def pad(self) -> int:
        return self.coder.pad

    @property
    def end(self) -> int | None:
        return getattr(self.coder, "end", None)

    def code(self, raw: str, limit: int, *, truncate: bool, padded: bool) -> Coded:
        coded = self.coder.code(raw, limit, truncate=truncate, padded=padded)
        kept = len(self.cut(coded.ids))
        if kept < len(coded.ids):
            raise InputError(
                f"text {raw[:40]!r} holds the model's own end token after {kept - 2} others, and the model reads "
                "no further; take it out of the text"
            )
        return coded

    def read(self, ids: list[int]) -> Coded:
        coded = self.coder.read(self.cut(ids))
        check_words(token.special for token in coded.tokens)
        return coded


def _collate(items: Sequence[Inputs]) -> Tensor:
    """Pad with what ends each text: by either rule the first one is pooled."""
    rows = [tensor_of(item, "clip") for item in items]
    longest = max(len(row) for row in rows)
    return torch.stack([torch.cat([row, row[-1:].expand(longest - len(row))]) for row in rows])  # (N, T)


def _padding(tokenizer: Any, end: int) -> int:
    """What a token is replaced by: 0, as OpenAI padded, where the tokenizer pads with the end token itself.

    An end token in the middle would be where the text is read, and hide all that follows it.
    """
    if not isinstance(end, int):
        raise CheckpointError(f"clip: eos_token_id is {end!r:.60} in config.json; it must be a whole number")
    pad = None if tokenizer is None else tokenizer.pad_token_id
    ends = {end, None if tokenizer is None else tokenizer.eos_token_id}
    return 0 if pad is None or pad in ends else int(pad)
