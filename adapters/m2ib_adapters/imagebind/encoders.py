"""The module's branches as encoders: where layers are, and the way from a layer to the embedding."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from m2ib.contract import encoder as contract
from m2ib.contract.encoder import Encoder, Layer, read_first
from m2ib.contract.inputs import Inputs, Item
from m2ib.renderers import FieldRenderer, FilmRenderer, ImageRenderer, Renderer, SoundRenderer, TracesRenderer
from m2ib_adapters.imagebind.blocks import Attention, Block
from m2ib_adapters.imagebind.network import CLIP_DIMENSIONS, ImageBind
from m2ib_adapters.imagebind.preparations import Preparations, Ready
from m2ib_adapters.inputs.tensors import tensor_of
from m2ib_adapters.inputs.tokens import Coder
from m2ib_adapters.towers.attention import first_position
from m2ib_adapters.towers.pooled import PooledBlock, has_hooks, run_pooled
from m2ib_adapters.towers.text import TextTower, text_encoder


def encoders(module: ImageBind, preparations: Preparations, coder: Coder) -> dict[str, Encoder]:
    """One for each kind of input that is prepared, and for text; images and videos share the branch "vision"."""
    p = preparations
    made = {"image": _encoder(module, "image", "vision", p.image, ImageRenderer())}
    if p.video is not None:
        made["video"] = _encoder(module, "video", "vision", p.video, FilmRenderer())
    return made | {
        "text": _text_encoder(module, coder),
        "audio": _encoder(module, "audio", "audio", p.audio, SoundRenderer()),
        "depth": _encoder(module, "depth", "depth", p.depth, FieldRenderer()),
        "thermal": _encoder(module, "thermal", "thermal", p.thermal, FieldRenderer()),
        "imu": _encoder(module, "imu", "imu", p.imu, TracesRenderer()),
    }


def _encoder(module: ImageBind, modality: str, name: str, preparation: Ready, renderer: Renderer) -> Encoder:
    layers, stem = _layers(module, name)

    def prepare(raw: Any, *, truncate: bool = False) -> Item:
        return preparation.prepare(raw)

    def describe(inputs: Inputs) -> Item:
        return preparation.describe(tensor_of(inputs, modality))

    def tensor(inputs: Inputs) -> Tensor:
        x = tensor_of(inputs, modality)
        single = modality == "video" and x.ndim == CLIP_DIMENSIONS  # (N, 3, frames, H, W): one clip each
        return x[:, None] if single else x

    def embed(inputs: Inputs) -> Tensor:
        return module.embed(name, tensor(inputs))  # (N, D)

    def tail(z: Tensor, layer: int, inputs: Inputs) -> Tensor:
        x = tensor(inputs)
        clips = x.shape[1] if x.ndim >= CLIP_DIMENSIONS else None
        if clips is not None:
            z = z.unflatten(1, (clips, -1)).flatten(0, 1)  # (M, clips * T, C) -> (M * clips, T, C)
        first = torch.zeros(len(z), dtype=torch.long, device=z.device)  # the class token
        pooled = _run_pooled(module, name, z, layer, first)  # (M * clips, C)
        features = module.modality_heads[name](pooled[:, None])  # (M * clips, D)
        if clips is not None:
            features = features.unflatten(0, (-1, clips))  # (M, clips, D)
        return module.finish(name, features, clips is not None)  # (M, D)

    stride = module.architecture.patches(name).stride
    return Encoder(
        modality=modality,
        prepare=prepare,
        describe=describe,
        embed=embed,
        layers=layers,
        stem=stem,
        renderer=renderer,
        tail=tail,
        stride=stride,
        attention=contract.Attention(first_position),
    )


def _text_encoder(module: ImageBind, coder: Coder) -> Encoder:
    layers, stem = _layers(module, "text")

    def cut(ids: list[int]) -> list[int]:
        """What follows the end token, the largest id, is not read."""
        return ids[: ids.index(max(ids)) + 1]

    def pooled_at(inputs: Inputs) -> Tensor:
        """ids (N, T) -> (N,) the end token's position."""
        return tensor_of(inputs, "text").argmax(-1)

    def tail(z: Tensor, layer: int, inputs: Inputs) -> Tensor:
        index = pooled_at(inputs)  # (M,)
        pooled = _run_pooled(module, "text", z, layer, index)[:, None]  # (M, 1, C)
        features = module.modality_heads["text"](pooled, torch.zeros_like(index)[:, None])  # (M, D)
        return module.finish("text", features, False)

    sizes = module.architecture
    tower = TextTower(
        lambda ids: module.embed("text", ids),
        layers,
        stem,
        sizes.context_length,
        sizes.vocabulary_size,
        cut,
        pad=0,
        tail=tail,
        attention=contract.Attention(pooled_at),
    )
    return text_encoder(tower, coder)


def _layers(module: ImageBind, name: str) -> tuple[tuple[Layer, ...], Layer]:
    prefix = f"modality_trunks.{name}.blocks"
    blocks = module.blocks(name)
    layers = tuple(
        Layer(block, f"{prefix}.{number}", read=_read_clips, write=_write_clips)
        for number, block in enumerate(blocks)
    )
    return layers, Layer(blocks[0], f"{prefix}.0 (input)", at="input", read=_read_clips, write=_write_clips)


def _read_clips(output: Any) -> Tensor:
    """(N, clips, T, C) -> (N, clips * T, C), clip-major; (N, T, C) as it is."""
    return read_first(output).flatten(1, -2)


def _write_clips(output: Any, value: Tensor) -> Any:
    """The inverse of :func:`_read_clips`, for any number of rows."""
    return value.reshape(len(value), *read_first(output).shape[1:])


def _run_pooled(module: ImageBind, name: str, z: Tensor, layer: int, index: Tensor) -> Tensor:
    """The blocks after ``layer``, the last one for one position alone: (M, T, C), (M,) -> (M, C)."""
    blocks = module.blocks(name)[layer + 1 :]
    mask = module.mask(name, z.shape[1])
    shortcut = _pooled_block(blocks[-1]) if blocks and _is_plain(blocks[-1]) else None
    return run_pooled(blocks, lambda block, x: block(x, mask), z, index, shortcut, causal=mask is not None)


def _is_plain(block: nn.Module) -> bool:
    """Whether :func:`_pooled_block` knows every part of this block as it is now."""
    if type(block) is not Block or type(block.attn) is not Attention:
        return False
    return type(block.attn.out_proj) is nn.Linear and not has_hooks(block)


def _pooled_block(block: Block) -> PooledBlock:
    """Made anew at each use: it always holds the module's present weights."""
    attention = block.attn
    weights = attention.in_proj_weight.chunk(3)  # query, key, value: (C, C) each
    query, key, value = zip(weights, attention.in_proj_bias.chunk(3), strict=True)
    extra = None
    if attention.bias_k is not None and attention.bias_v is not None:
        extra = attention.bias_k.flatten(), attention.bias_v.flatten()  # (C,) each
    return PooledBlock(
        heads=attention.num_heads,
        norm1=block.norm_1,
        query=query,
        key=key,
        value=value,
        out=(attention.out_proj.weight, attention.out_proj.bias),
        norm2=block.norm_2,
        mlp=block.mlp,
        extra=extra,
    )
