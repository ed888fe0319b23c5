"""What open_clip's image and text transformers share: layers, and the last block for one position."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from m2ib.contract.encoder import Layer, read_sequence_first, write_sequence_first
from m2ib_adapters.towers import pooled
from m2ib_adapters.towers.pooled import PooledBlock, has_hooks


def token_layers(blocks: Sequence[nn.Module], prefix: str) -> tuple[tuple[Layer, ...], Layer]:
    """Layers of blocks that run (batch, tokens, channels), and layer -1, the input of the first."""
    layers = tuple(Layer(block, f"{prefix}.{number}") for number, block in enumerate(blocks))
    return layers, Layer(blocks[0], f"{prefix}.0 (input)", at="input")


def transformer_layers(transformer: Any, prefix: str) -> tuple[tuple[Layer, ...], Layer]:
    """The same for an open_clip ``Transformer``, which runs either axis first."""
    if transformer.batch_first:
        return token_layers(transformer.resblocks, prefix)
    ways: dict[str, Any] = {"read": read_sequence_first, "write": write_sequence_first}
    layers = tuple(
        Layer(block, f"{prefix}.{number}", **ways) for number, block in enumerate(transformer.resblocks)
    )
    return layers, Layer(transformer.resblocks[0], f"{prefix}.0 (input)", at="input", **ways)


def attends_by_sdpa(transformer: Any) -> bool:
    """Whether the blocks attend by torch's own function; open_clip's scaled cosine attention does not."""
    from open_clip.transformer import Attention

    return all(
        isinstance(block.attn, nn.MultiheadAttention)
        or (isinstance(block.attn, Attention) and block.attn.use_fsdpa and not block.attn.scaled_cosine)
        for block in transformer.resblocks
    )


def run_pooled(transformer: Any, z: Tensor, layer: int, mask: Tensor | None, index: Tensor) -> Tensor:
    """The blocks after ``layer``, the last one for the pooled position alone: (M, T, C), (M,) -> (M, C).

    mask  additive, of a causal encoder; None where every position sees all
    """
    blocks = transformer.resblocks[layer + 1 :]
    shortcut = pooled_block(blocks[-1]) if len(blocks) and is_plain(blocks[-1]) else None

    def run(block: nn.Module, x: Tensor) -> Tensor:
        if transformer.batch_first:
            return block(x, attn_mask=mask)  # (M, T, C)
        return block(x.transpose(0, 1), attn_mask=mask).transpose(0, 1)

    return pooled.run_pooled(blocks, run, z, index, shortcut, causal=mask is not None)


def is_plain(block: nn.Module) -> bool:
    """Whether :func:`pooled_block` knows every part of this block as it is now."""
    from open_clip.transformer import LayerScale, ResidualAttentionBlock

    if type(block) is not ResidualAttentionBlock or type(block.attn) is not nn.MultiheadAttention:
        return False
    attention = block.attn
    return (
        attention.in_proj_weight is not None  # queries, keys and values of one width
        and attention.bias_k is None
        and attention.bias_v is None
        and not attention.add_zero_attn
        and type(attention.out_proj) in (nn.Linear, NonDynamicallyQuantizableLinear)
        and not hasattr(block, "ln_1_kv")
        and not has_hooks(block)
        and all(type(part) in (nn.Identity, LayerScale) for part in (block.ls_1, block.ls_2))
    )


def pooled_block(block: Any) -> PooledBlock:
    """A plain block for one query. Made anew at each use: it always holds the module's present weights."""
    attention = block.attn
    weights = attention.in_proj_weight.chunk(3)  # query, key, value: (C, C) each
    biases = (None,) * 3 if attention.in_proj_bias is None else attention.in_proj_bias.chunk(3)
    query, key, value = zip(weights, biases, strict=True)
    return PooledBlock(
        heads=attention.num_heads,
        norm1=block.ln_1,
        query=query,
        key=key,
        value=value,
        out=(attention.out_proj.weight, attention.out_proj.bias),
        norm2=block.ln_2,
        mlp=block.mlp,
        after_attention=block.ls_1,
        after_mlp=block.ls_2,
    )
