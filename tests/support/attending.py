"""Models of every family with the ways they attend written out once more, for tests of what reads attention."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

import m2ib
from m2ib.activations.capture import record
from naive_attention import Block, packed


@dataclass(frozen=True)
class Case:
    """One encoder, by its parts.

    blocks  as written out
    embed   final states (T, C) of each clip -> embedding (D,), one input
    at      positions where the embedding is read
    causal  whether positions see only those before
    pooling an attention after the blocks: final states (T, C) -> its heads, query, key and value (Q or T, C), and what
            follows it: mixed (Q, C) -> (D,)
    """

    model: m2ib.Model
    modality: str
    raws: Sequence[Any]
    blocks: Sequence[Block]
    embed: Callable[[Sequence[Tensor]], Tensor]
    at: Callable[[m2ib.Item], Sequence[int]]
    causal: bool = False
    pooling: (
        tuple[Callable[[Tensor], tuple[int, Tensor, Tensor, Tensor]], Callable[[Tensor], Tensor]] | None
    ) = None

    def starts(self, item: m2ib.Item) -> list[Tensor]:
        """The inputs of block 0, alone: (T, C) for each clip."""
        encoder = self.model.encoder(self.modality)
        batch = self.model.collate(self.modality, [item])
        output = record(encoder, batch, -1).outputs[-1]
        return list(output.reshape(-1, *output.shape[-2:]))


def clip(model: m2ib.Model, modality: str, raws: Sequence[Any]) -> Case:
    module: Any = model.module
    part = module.vision_model if modality == "image" else module.text_model
    blocks = [
        Block(
            heads=each.self_attn.num_heads,
            norm1=each.layer_norm1,
            query=each.self_attn.q_proj,
            key=each.self_attn.k_proj,
            value=each.self_attn.v_proj,
            out=each.self_attn.out_proj,
            norm2=each.layer_norm2,
            mlp=each.mlp,
        )
        for each in part.encoder.layers
    ]
    if modality == "image":
        project = lambda x: module.visual_projection(part.post_layernorm(x[0][0]))  # noqa: E731
        return Case(model, modality, raws, blocks, project, lambda item: [0])
    project = lambda x: module.text_projection(part.final_layer_norm(x[0][-1]))  # noqa: E731
    return Case(model, modality, raws, blocks, project, lambda item: [len(item.inputs) - 1], causal=True)


def packed_block(part: Any, norm1: Any, norm2: Any, **more: Any) -> Block:
    """A block with torch's packed attention."""
    return Block(part.attn.num_heads, norm1, norm2=norm2, mlp=part.mlp, **packed(part.attn), **more)


def open_clip(model: m2ib.Model, modality: str, raws: Sequence[Any]) -> Case:
    module: Any = model.module
    transformer = module.visual.transformer if modality == "image" else module.transformer
    blocks = [
        packed_block(each, each.ln_1, each.ln_2, scale1=each.ls_1, scale2=each.ls_2)
        for each in transformer.resblocks
    ]
    if modality == "image":
        project = lambda x: module.visual.ln_post(x[0][0]) @ module.visual.proj  # noqa: E731
        return Case(model, modality, raws, blocks, project, lambda item: [0])
    project = lambda x: module.ln_final(x[0][-1]) @ module.text_projection  # noqa: E731
    return Case(model, modality, raws, blocks, project, lambda item: [len(item.inputs) - 1], causal=True)


def imagebind(model: m2ib.Model, modality: str, raws: Sequence[Any]) -> Case:
    module: Any = model.module
    name = "vision" if modality in ("image", "video") else modality
    blocks = [
        packed_block(
            each,
            each.norm_1,
            each.norm_2,
            extra=None if each.attn.bias_k is None else (each.attn.bias_k[0, 0], each.attn.bias_v[0, 0]),
        )
        for each in module.modality_trunks[name].blocks
    ]
    head = module.modality_heads[name]
    if modality == "text":
        project = lambda x: head.proj(x[0][-1])  # noqa: E731
        return Case(model, modality, raws, blocks, project, lambda item: [len(item.inputs) - 1], causal=True)

    def embed(x: Sequence[Tensor]) -> Tensor:
        features = [head[-1](head[0](each[0])) for each in x]
        return torch.stack([each / each.norm() for each in features]).mean(0)

    return Case(model, modality, raws, blocks, embed, lambda item: [0])


def siglip(model: m2ib.Model, raws: Sequence[Any]) -> Case:
    """timm's ViT, pooled by attention with one query."""
    trunk = model.module.visual.trunk
    blocks = []
    for each in trunk.blocks:
        q, k, v = _thirds(each.attn.qkv)
        blocks.append(
            Block(
                each.attn.num_heads,
                each.norm1,
                q,
                k,
                v,
                each.attn.proj,
                each.norm2,
                each.mlp,
                each.ls1,
                each.ls2,
            )
        )
    pool = trunk.attn_pool

    def ask(x: Tensor) -> tuple[int, Tensor, Tensor, Tensor]:
        x = trunk.norm(x)
        k, v = (part for part in pool.kv(x).chunk(2, -1))
        return pool.num_heads, pool.q(pool.latent[0]), pool.k_norm(k), v

    def follow(mixed: Tensor) -> Tensor:
        y = pool.proj(mixed)
        y = (y + pool.mlp(pool.norm(y)))[0]
        return model.module.visual.head(trunk.head(trunk.fc_norm(y)))

    def embed(x: Sequence[Tensor]) -> Tensor:
        raise AssertionError("this one is read by its pooling")

    return Case(model, "image", raws, blocks, embed, lambda item: [], pooling=(ask, follow))


def _thirds(linear: Any) -> list[Callable[[Tensor], Tensor]]:
    return [
        lambda x, n=n: linear(x).chunk(3, -1)[n]  # type: ignore[misc]
        for n in range(3)
    ]


def photo_text(model: m2ib.Model, raws: Sequence[Any]) -> Case:
    """BERT, read by the mean."""
    module: Any = model.module
    blocks = [
        Block(
            each.attention.self.num_attention_heads,
            each.attention.output.LayerNorm,
            each.attention.self.query,
            each.attention.self.key,
            each.attention.self.value,
            each.attention.output.dense,
            each.output.LayerNorm,
            lambda x, each=each: each.output.dense(each.intermediate(x)),
            norm_after=True,
        )
        for each in module.text.encoder.layer
    ]

    def embed(x: Sequence[Tensor]) -> Tensor:
        mean = x[0].mean(0)
        return module.text_map(mean / mean.norm())

    return Case(model, "text", raws, blocks, embed, lambda item: range(len(item.inputs)))
