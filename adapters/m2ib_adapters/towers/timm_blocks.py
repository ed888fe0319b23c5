"""timm's blocks by their parts: those of its ViTs, and of EVA and PE with rotary positions."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from m2ib.execution.products import linear_of
from m2ib_adapters.towers.blocks import AS_IT_IS, Block, Called, Linear, Part, mlp_of, norm_of
from m2ib_adapters.towers.pooled import Pooler, found_by


def parts_of(block: Any) -> Block | None:
    """None for a block that has any part which is not known here."""
    from timm.layers import Attention, AttentionRope, DropPath, LayerScale
    from timm.models.eva import EvaAttention, EvaBlock
    from timm.models.vision_transformer import Block as ViTBlock

    kind: Any = type(block)
    attention: Any = getattr(block, "attn", None)
    kinds = {ViTBlock: (Attention,), EvaBlock: (EvaAttention, AttentionRope)}.get(kind, ())
    if type(attention) not in kinds or attention.scale != attention.head_dim**-0.5:
        return None
    linear = _query_key_value(attention)
    scales = (block.gamma_1, block.gamma_2) if kind is EvaBlock else (block.ls1, block.ls2)
    plain = (
        linear is not None
        and type(attention.proj) is nn.Linear
        and getattr(attention, "gate", None) is None
        and getattr(attention, "num_kv_groups", 1) == 1
        and all(type(each) in (nn.Identity, DropPath) for each in (block.drop_path1, block.drop_path2))
        and all(isinstance(each, (nn.Parameter, nn.Identity, LayerScale, type(None))) for each in scales)
    )
    if linear is None or not plain:
        return None
    turns: Any = {}
    if kind is EvaBlock or type(attention.q_norm) is not nn.Identity:
        norms = {"turn_query": attention.q_norm, "turn_key": attention.k_norm}
        turns = {name: partial(_turn, attention, norm) for name, norm in norms.items()}
    query, key, value = linear
    scale1, scale2 = (getattr(each, "gamma", each if isinstance(each, Tensor) else None) for each in scales)
    return Block(
        attention.num_heads,
        _norm(block.norm1),
        query,
        key,
        value,
        (attention.proj.weight, attention.proj.bias),
        _norm(block.norm2),
        _mlp(block.mlp),
        scale1=scale1,
        scale2=scale2,
        inner=_norm(getattr(attention, "norm", nn.Identity())),
        **turns,
    )


def pooler_of(pooler: Any) -> Pooler | None:
    """Attention by one learned query; None for any other, and for one by more queries."""
    from timm.layers import AttentionPoolLatent

    if type(pooler) is not AttentionPoolLatent or pooler.pool not in ("token", "avg"):
        return None
    plain = type(pooler.q_norm) is type(pooler.k_norm) is nn.Identity and _is_linear(pooler.kv)
    if not plain or pooler.latent_len != 1 or pooler.pos_embed is not None:
        return None

    def run(x: Tensor) -> Tensor:
        packed = pooler.kv
        biases = (None, None) if packed.bias is None else packed.bias.chunk(2)
        key, value = zip(packed.weight.chunk(2), biases, strict=True)
        found = found_by(pooler.q(pooler.latent[0, 0]), key, value, pooler.num_heads, x)
        found = pooler.proj(found)  # (M, D)
        return found if pooler.mlp is None else found + pooler.mlp(pooler.norm(found))

    return pooler, run


def _query_key_value(attention: Any) -> list[Linear] | None:
    """None where they are not linear layers of torch's own."""
    if (packed := attention.qkv) is None:
        each = attention.q_proj, attention.k_proj, attention.v_proj
        return [(part.weight, part.bias) for part in each] if all(map(_is_linear, each)) else None
    if not _is_linear(packed):
        return None
    biases = (None,) * 3 if packed.bias is None else packed.bias.chunk(3)
    if getattr(attention, "q_bias", None) is not None:  # EVA's, beside a layer without
        biases = attention.q_bias, attention.k_bias, attention.v_bias
    return list(zip(packed.weight.chunk(3), biases, strict=True))  # (C, C), (C,) each


def _is_linear(part: Any) -> bool:
    return type(part) is nn.Linear


def _norm(norm: Any) -> Part:
    from timm.layers import LayerNorm

    return AS_IT_IS if type(norm) is nn.Identity else norm_of(norm, LayerNorm)


def _turn(attention: Any, norm: nn.Module, x: Tensor, rope: Tensor | None) -> Tensor:
    """Queries or keys (M, T, C) normalised in each head, and rotated by ``rope`` but for the prefix tokens."""
    each = norm(x.unflatten(-1, (attention.num_heads, -1)))  # (M, T, H, d)
    if rope is not None:
        half = getattr(attention, "rotate_half", False)
        first = attention.num_prefix_tokens
        places = rope[:, None] if rope.ndim == 2 else rope.transpose(-3, -2)  # (T', H or 1, 2 d)
        each = torch.cat([each[:, :first], _rotated(each[:, first:], places, half)], 1)
    return each.flatten(2).to(x.dtype)


def _rotated(x: Tensor, places: Tensor, half: bool) -> Tensor:
    from timm.layers import apply_rot_embed_cat

    if half:
        return apply_rot_embed_cat(x, places, half=True)
    wide = torch.promote_types(x.dtype, torch.float32)
    sine, cosine = places[..., ::2].to(wide).chunk(2, -1)  # (T', H or 1, d / 2)
    # Numbers next to each other are turned by one angle: a complex product does it in one go.
    pairs = torch.view_as_complex(x.to(wide).unflatten(-1, (-1, 2)))  # (M, T', H, d / 2)
    return torch.view_as_real(pairs * torch.complex(cosine, sine)).flatten(-2)


def _mlp(mlp: Any) -> Part:
    from timm.layers import Mlp, SwiGLU

    if type(mlp) is Mlp and type(mlp.norm) is nn.Identity:
        return mlp_of(mlp, mlp.fc1, mlp.act, mlp.fc2)
    if type(mlp) is SwiGLU and all(map(_is_linear, (mlp.fc1_g, mlp.fc1_x, mlp.fc2))):
        return Called(partial(_gated, mlp, mlp.fc1_g, mlp.fc1_x))
    return Called(mlp)


def _gated(mlp: Any, gate: nn.Linear, value: nn.Linear, x: Tensor) -> Tensor:
    hidden = mlp.act(linear_of(gate, x)) * linear_of(value, x)
    return linear_of(mlp.fc2, mlp.norm(hidden))
