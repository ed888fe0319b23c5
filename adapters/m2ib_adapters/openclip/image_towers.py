"""open_clip's image towers: where their blocks are, and which position is which patch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from m2ib.contract.encoder import Attention, Defaults, Encoder, Layer, read_first
from m2ib.contract.inputs import Inputs
from m2ib.contract.layout import Layout
from m2ib.errors import AdapterError, CheckpointError, decoding
from m2ib_adapters.inputs.images import Preparation
from m2ib_adapters.openclip.blocks import (
    attends_by_sdpa,
    features_of,
    parts_of,
    pooled_tail,
    transformer_layers,
)
from m2ib_adapters.towers import images, timm_blocks
from m2ib_adapters.towers.attention import by_fused, first_position
from m2ib_adapters.towers.layers import block_layers
from m2ib_adapters.towers.patches import Patches
from m2ib_adapters.towers.pooled import Pooler, found_by

Make = Callable[..., Encoder]
"""What makes an encoder of what is particular to a kind of tower: its layout, its layers, and so on."""


def image_encoder(visual: Any, preparation: Preparation) -> Encoder:
    """The image side of any open_clip model. Raises :class:`CheckpointError` for a tower it does not know."""
    from open_clip.modified_resnet import ModifiedResNet
    from open_clip.timm_model import TimmModel
    from open_clip.transformer import VisionTransformer

    def embed(pixels: Inputs) -> Tensor:
        return features_of(visual(pixels))  # (N, D)

    if type(getattr(visual, "trunk", None)).__name__ == "NaFlexVit":
        raise CheckpointError(
            "open-clip: the image tower, a NaFlexVit, takes images in their own size and shape, as patches with coordinates, "
            "which this adapter does not make; the adapter siglip opens SigLIP 2 NaFlex"
        )
    make = partial(images.image_encoder, embed, preparation)
    if isinstance(visual, VisionTransformer):
        return _vision_transformer(visual, make)
    if isinstance(visual, ModifiedResNet):
        return _modified_resnet(visual, make)
    if isinstance(visual, TimmModel):
        trunk = visual.trunk
        embedding = getattr(trunk, "patch_embed", None)
        tokens = hasattr(trunk, "blocks") and hasattr(trunk, "num_prefix_tokens")
        if tokens and hasattr(embedding, "dynamic_feat_size"):
            return _timm_tokens(visual, make)
        return _timm_stages(trunk, make)
    raise CheckpointError(
        f"open-clip: an image tower of type {type(visual).__name__} is not known to this adapter"
    )


def _vision_transformer(visual: Any, make: Make) -> Encoder:
    with (
        decoding("open-clip: this image tower's pooling", "cannot run", error=CheckpointError),
        torch.no_grad(),
    ):
        pooled, _ = visual._pool(visual.class_embedding.new_zeros(1, 2, len(visual.class_embedding)))
    if pooled.ndim != 2:
        raise CheckpointError(
            f"open-clip: this image tower does not pool its positions into one embedding (pool_type {visual.pool_type!r})"
        )
    transformer = visual.transformer
    patches, size = Patches(visual.patch_size, visual.patch_size), visual.image_size
    simple = visual.attn_pool is None and visual.pool_type == "tok"

    def head(pooled: Tensor) -> Tensor:
        pooled = visual.ln_post(pooled)  # (M, C); per position: before or after pooling is the same
        return pooled if visual.proj is None else pooled @ visual.proj  # (M, D)

    return make(
        patches.layout(size),
        transformer_layers(transformer, "visual.transformer.resblocks"),
        tail=pooled_tail(transformer, head) if simple else None,
        parts_of=None if simple else parts_of,
        pooler=first_query(visual),
        patches=patches,
        size=size,
        attention=_attention(visual),
    )


def first_query(visual: Any) -> Pooler | None:
    """CoCa pools by many queries, and what the first one finds is the embedding: the others need not be asked."""
    pooler = visual.attn_pool
    attention: Any = getattr(pooler, "attn", None)
    if type(attention) is not nn.MultiheadAttention or visual.pool_type != "tok":
        return None

    def first(x: Tensor) -> Tensor:
        weights = attention.in_proj_weight
        three = (
            [attention.get_parameter(f"{each}_proj_weight") for each in "qkv"]
            if weights is None
            else weights.chunk(3)
        )
        query, key, value = zip(three, attention.in_proj_bias.chunk(3), strict=True)
        asked = linear(pooler.ln_q(pooler.query[0]), *query)  # (D,)
        found = attention.out_proj(found_by(asked, key, value, attention.num_heads, pooler.ln_k(x)))
        return found[:, None].expand(-1, len(pooler.query), -1)  # (M, Q, D)

    return pooler, first


def _attention(visual: Any) -> Attention | None:
    """Of a ViT, read at its class token, at its patches, or by an attention that pools them.

    None where two poolings come after the blocks, or blocks attend in another way.
    """
    if not attends_by_sdpa(visual.transformer):
        return None
    if visual.attn_pool is not None:
        return Attention(None) if visual.attn_pool_contrastive is None else None
    return Attention(first_position if visual.pool_type == "tok" else None)


def _modified_resnet(visual: Any, make: Make) -> Encoder:
    stages = _find_stages(visual, "visual")
    blocks = [block for stage in stages for _, block in stage]

    def tail(z: Tensor, layer: int, pixels: Inputs) -> Tensor:
        for block in blocks[layer + 1 :]:
            z = block(z)  # (M, C, H, W)
        return visual.attnpool(z)  # (M, D)

    return _staged(stages, make, tail=tail)


def _timm_tokens(visual: Any, make: Make) -> Encoder:
    """A timm transformer of one width: ViT, SigLIP, EVA, BEiT, ViTamin, ..."""
    from timm.layers import PatchEmbed

    trunk, embedding = visual.trunk, visual.trunk.patch_embed
    built = getattr(embedding, "img_size", None)
    wanted = tuple(visual.image_size)
    if built is not None and getattr(embedding, "strict_img_size", False) and tuple(built) != wanted:
        raise CheckpointError(
            f"open-clip: the image tower is built for {built[0]}x{built[1]} pixels, but the configuration "
            f"says image_size {wanted[0]}x{wanted[1]}; correct image_size or timm_model_name"
        )
    rows, columns = embedding.dynamic_feat_size(wanted)
    step = wanted[0] // rows, wanted[1] // columns
    places: dict[str, Any] = {"stride": step}  # a stem of convolutions, which overlap
    if isinstance(embedding, PatchEmbed):
        places = {"patches": Patches(embedding.patch_size, embedding.patch_size), "size": wanted}
        # One that leaves a border is padded to whole patches, or what is less than a patch at its end is not read.
        places |= {"degradation": None} if embedding.dynamic_img_pad else {}
    before = trunk.num_prefix_tokens  # class, distillation and register tokens: none, one or several
    index = tuple(range(before, before + rows * columns))
    return make(
        Layout((rows, columns), index),
        block_layers(trunk.blocks, "visual.trunk.blocks"),
        **places,
        parts_of=timm_blocks.parts_of,
        pooler=timm_blocks.pooler_of(getattr(trunk, "attn_pool", None)),
        attention=_timm_attention(visual),
    )


def _timm_attention(visual: Any) -> Attention | None:
    """Of a timm transformer, read at its class token, at its patches, or by an attention over all positions.

    None where a block has no attention that timm can fuse, or several, and for every other way of pooling.
    """
    trunk = visual.trunk
    if any(sum(hasattr(part, "fused_attn") for part in block.modules()) != 1 for block in trunk.blocks):
        return None
    if hasattr(visual.head, "pool") or hasattr(trunk, "head_dist"):
        return None
    before, all_pooled = trunk.num_prefix_tokens, getattr(trunk, "pool_include_prefix", None)
    by_query, by_token = getattr(trunk, "attn_pool", None) is not None, trunk.global_pool == "token"
    if by_query:
        fits = before == 0 or all_pooled is not False
    else:
        fits = by_token or (trunk.global_pool == "avg" and (before == 0 or not all_pooled))
    return Attention(first_position if by_token and not by_query else None, by_fused(trunk)) if fits else None


def _timm_stages(trunk: Any, make: Make) -> Encoder:
    """A timm network in stages of falling resolution: ConvNeXt, ResNet, Swin, FastViT, ..."""
    stages = _find_stages(trunk, "visual.trunk")
    if not any(stages):
        raise CheckpointError(
            f"open-clip: the blocks of timm's {type(trunk).__name__} cannot be found; this adapter knows "
            "transformers with `blocks` and networks with `stages`, `layers`, `layer1`... or `s1`..."
        )
    return _staged(stages, make, -1 if getattr(trunk, "output_fmt", "NCHW") == "NHWC" else 1)


Stage = list[tuple[str, nn.Module]]
_LISTS = (nn.Sequential, nn.ModuleList)


def _find_stages(network: Any, path: str) -> list[Stage]:
    """The blocks of each stage, with their names under ``path``, by timm's conventions."""
    for attribute in ("stages", "layers", "blocks"):
        if isinstance(whole := getattr(network, attribute, None), _LISTS):
            return [_blocks_of(f"{path}.{attribute}.{place}", stage) for place, stage in enumerate(whole)]
    names = [f"{letter}{number}" for letter in ("layer", "s") for number in (1, 2, 3, 4)]
    parts = [(f"{path}.{name}", getattr(network, name, None)) for name in names]
    return [_blocks_of(name, stage) for name, stage in parts if isinstance(stage, nn.Module)]


def _blocks_of(name: str, stage: nn.Module) -> Stage:
    inner = getattr(stage, "blocks", None)
    if isinstance(inner, _LISTS):
        name, stage = f"{name}.blocks", inner
    if isinstance(stage, _LISTS):
        return [(f"{name}.{place}", block) for place, block in stage.named_children()]
    return [(name, stage)]


def _staged(stages: list[Stage], make: Make, channel_axis: int = 1, **others: Any) -> Encoder:
    """The blocks of all stages in a row, each with a map and a grid of its own; the ``others`` as :class:`Encoder` has them.

    The default is the end of the last stage but one.
    Convolutional positions all reach the embedding, so the paper's reason to avoid the end (a class token
    alone is read there) does not hold. What decides is the map: the stage before the last has four times the
    cells of the last and is three quarters of the way in, the depth at which the paper works with ViTs. For
    RN50 it is block 12 of 16, 14x14.
    """
    layers = tuple(
        Layer(block, name, channel_axis, read=_read_map) for stage in stages for name, block in stage
    )
    default = Defaults(sum(map(len, stages[:-1])) - 1 if len(stages) > 1 else None)
    return make(Layout(), layers, defaults=default, **others)


def _read_map(output: Any) -> Tensor:
    value = read_first(output)
    if value.ndim != 4:
        raise AdapterError(
            f"open-clip: a block of this image tower gives {tuple(value.shape)}, not a map (N, C, H, W); "
            "its positions are not known to this adapter"
        )
    return value
