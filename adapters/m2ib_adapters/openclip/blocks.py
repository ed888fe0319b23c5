"""What open_clip's image and text transformers share: layers, and the last block for one position."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from m2ib.contract.encoder import Layer, read_sequence_first, write_sequence_first
from m2ib_adapters.towers.blocks import Block, Called, Part, mlp_of, norm_of, quick_gelu
from m2ib_adapters.towers.layers import block_layers
from m2ib_adapters.towers.pooled import headed_tail
from m2ib_adapters.towers.tails import Tail


def said(part: Any, *names: str, default: Any) -> Any:
    """What a part of open_clip says of itself under one of these names, which are not the same in each version."""
    return next((getattr(part, name) for name in names if hasattr(part, name)), default)


def _batch_first(transformer: Any) -> bool:
    """Where a ``Transformer`` does not say, it runs no other way."""
    return bool(said(transformer, "batch_first", default=True))


def transformer_layers(transformer: Any, prefix: str) -> tuple[Layer, ...]:
    """Those of an open_clip ``Transformer``, which may run either axis first."""
    ways: dict[str, Any] = {"read": read_sequence_first, "write": write_sequence_first}
    return block_layers(transformer.resblocks, prefix, **({} if _batch_first(transformer) else ways))


def features_of(output: Any) -> Tensor:
    """The embedding (N, D), where CoCa's towers give their tokens beside it."""
    return output[0] if isinstance(output, tuple) else output


def attends_by_sdpa(transformer: Any) -> bool:
    """Whether the blocks attend by torch's own function; open_clip's scaled cosine attention does not."""
    from open_clip.transformer import Attention

    def attends(attention: Any) -> bool:
        if isinstance(attention, nn.MultiheadAttention):
            return True
        fused = isinstance(attention, Attention) and said(attention, "use_sdpa", "use_fsdpa", default=False)
        return fused and not attention.scaled_cosine

    return all(attends(block.attn) for block in transformer.resblocks)


def pooled_tail(transformer: Any, head: Callable[[Tensor], Tensor], *causal: Any) -> Tail:
    """:func:`headed_tail` of an open_clip ``Transformer``; ``causal``: read and mask of a tower that is."""

    def run(block: Any, z: Tensor, mask: Tensor | None) -> Tensor:
        masked = partial(block, attn_mask=None if mask is None else mask[0, 0])
        return masked(z) if _batch_first(transformer) else masked(z.transpose(0, 1)).transpose(0, 1)

    return headed_tail(transformer.resblocks, parts_of, head, run, *causal)


def parts_of(block: Any) -> Block | None:
    from open_clip.transformer import LayerNorm, LayerNormFp32, LayerScale, QuickGELU, ResidualAttentionBlock

    if type(block) is not ResidualAttentionBlock or not _is_plain(block.attn):
        return None
    attention = block.attn
    plain = (
        attention.in_proj_weight is not None  # queries, keys and values of one width
        and type(attention.out_proj) in (nn.Linear, NonDynamicallyQuantizableLinear)
        and not hasattr(block, "ln_1_kv")
        and all(type(part) in (nn.Identity, LayerScale) for part in (block.ls_1, block.ls_2))
    )
    if not plain:
        return None
    mlp: Any = block.mlp
    each: Part = Called(mlp)
    if type(mlp) is nn.Sequential and list(dict(mlp.named_children())) == ["c_fc", "gelu", "c_proj"]:
        act: Any = quick_gelu if type(mlp.gelu) is QuickGELU else mlp.gelu
        each = mlp_of(mlp, mlp.c_fc, act, mlp.c_proj)
    return Block.of_packed(
        attention,
        norm1=norm_of(block.ln_1, LayerNorm, LayerNormFp32),
        norm2=norm_of(block.ln_2, LayerNorm, LayerNormFp32),
        mlp=each,
        scale1=getattr(block.ls_1, "gamma", None),
        scale2=getattr(block.ls_2, "gamma", None),
    )


def _is_plain(attention: Any) -> bool:
    """Whether it does no more than the one product of heads, be it torch's module or open_clip's, whose weights are the same."""
    from open_clip.transformer import Attention

    if type(attention) is nn.MultiheadAttention:
        return attention.bias_k is None and attention.bias_v is None and not attention.add_zero_attn
    return (
        type(attention) is Attention
        and attention.logit_scale is None
        and attention.head_scale is None
        and all(type(part) is nn.Identity for part in (attention.ln_q, attention.ln_k, attention.ln_inner))
    )
