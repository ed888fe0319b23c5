"""The last block of an encoder that reads one token: one query instead of all.

With query q of one head, keys k_t = W_k h_t + b_k and values v_t = W_v h_t + b_v::

    q . k_t      = (W_k^T q) . h_t + q . b_k        and q . b_k is the same for all t: softmax drops it
    sum_t p_t v_t = W_v (sum_t p_t h_t) + b_v       since sum_t p_t = 1

so neither keys nor values are formed: two C x C products a token become one C-vector a head. A learned key
and value beside those of the tokens (e, u) join in: its score is q . (e - b_k), and with its share p_e the sum is
W_v (sum_t p_t h_t) + (1 - p_e) b_v + p_e u.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.nn.utils.parametrize import is_parametrized

from m2ib.execution.context import Guard


@dataclass(frozen=True)
class PooledBlock:
    """A pre-norm transformer block, by its parts.

    query, key, value, out  (weight (C, C), bias (C,) or None)
    extra  one more key and value, (C,) each, that every token attends to; or None
    after_attention, after_mlp  what the branches pass through before they are added (LayerScale), or None
    """

    heads: int
    norm1: Callable[[Tensor], Tensor]
    query: tuple[Tensor, Tensor | None]
    key: tuple[Tensor, Tensor | None]
    value: tuple[Tensor, Tensor | None]
    out: tuple[Tensor, Tensor | None]
    norm2: Callable[[Tensor], Tensor]
    mlp: Callable[[Tensor], Tensor]
    extra: tuple[Tensor, Tensor] | None = None
    after_attention: Callable[[Tensor], Tensor] = lambda x: x
    after_mlp: Callable[[Tensor], Tensor] = lambda x: x

    @classmethod
    def of_packed(cls, attention: Any, **others: Any) -> PooledBlock:
        """Of a block whose ``attention`` has the parameters of ``nn.MultiheadAttention``; the ``others`` by name."""
        weights = attention.in_proj_weight.chunk(3)  # query, key, value: (C, C) each
        biases = (None,) * 3 if attention.in_proj_bias is None else attention.in_proj_bias.chunk(3)
        query, key, value = zip(weights, biases, strict=True)
        out = attention.out_proj.weight, attention.out_proj.bias
        extra = None
        if attention.bias_k is not None and attention.bias_v is not None:
            extra = attention.bias_k.flatten(), attention.bias_v.flatten()  # (C,) each
        return cls(attention.num_heads, query=query, key=key, value=value, out=out, extra=extra, **others)

    def __call__(self, x: Tensor, index: Tensor, *, causal: bool = False) -> Tensor:
        """The block's output at one position: x (M, T, C), index (M,) -> (M, C).

        causal: the position reads only those up to itself.
        """
        rows = torch.arange(x.shape[0], device=x.device)  # (M,)
        channels = x.shape[-1]
        width = channels // self.heads
        h = self.norm1(x)  # (M, T, C)
        q = linear(h[rows, index], *self.query).unflatten(-1, (self.heads, width)) * width**-0.5  # (M, H, d)
        key = self.key[0].unflatten(0, (self.heads, width))  # (H, d, C)
        probe = torch.einsum("mhd,hdc->mhc", q, key)  # (M, H, C)
        scores = probe @ h.transpose(1, 2)  # (M, H, T)
        if causal:
            later = torch.arange(x.shape[1], device=x.device) > index[:, None]  # (M, T)
            scores = scores.masked_fill(later[:, None], float("-inf"))
        if self.extra is not None:
            key_offset = self.extra[0] if self.key[1] is None else self.extra[0] - self.key[1]  # (C,)
            more = torch.einsum("mhd,hd->mh", q, key_offset.unflatten(0, (self.heads, width)))  # (M, H)
            scores = torch.cat([scores, more[..., None]], -1)  # (M, H, T + 1)
        pattern = scores.softmax(-1, dtype=torch.promote_types(scores.dtype, torch.float32)).to(h.dtype)
        mixed = pattern[..., : x.shape[1]] @ h  # (M, H, C)
        value = self.value[0].unflatten(0, (self.heads, width))  # (H, d, C)
        v = torch.einsum("mhc,hdc->mhd", mixed, value)  # (M, H, d)
        bias = None if self.value[1] is None else self.value[1].unflatten(0, (self.heads, width))  # (H, d)
        if self.extra is not None:
            share = pattern[..., -1:]  # (M, H, 1)
            more = self.extra[1].unflatten(0, (self.heads, width))  # (H, d)
            v = v + share * (more if bias is None else more - bias)
        v = (v if bias is None else v + bias).flatten(1)  # (M, C)
        y = x[rows, index] + self.after_attention(linear(v, *self.out))  # (M, C)
        return y + self.after_mlp(self.mlp(self.norm2(y)))  # (M, C)


def run_pooled(
    blocks: Sequence[nn.Module],
    run: Callable[[nn.Module, Tensor], Tensor],
    z: Tensor,
    index: Tensor,
    pooled_block: Callable[[Any], PooledBlock | None],
    *,
    causal: bool = False,
) -> Tensor:
    """Blocks one after the other, and of the last one's output one position: (M, T, C), (M,) -> (M, C).

    run           (block, z) -> z
    pooled_block  the last block by its parts, which are its present weights; None for a block that it does not know
                  every part of: that one runs as it is, and so does one that somebody watches
    """
    shortcut = pooled_block(blocks[-1]) if len(blocks) and _is_plain(blocks[-1]) else None
    for block in blocks if shortcut is None else blocks[:-1]:
        z = run(block, z)  # (M, T, C)
    if shortcut is not None:
        return shortcut(z, index, causal=causal)
    return z[torch.arange(len(z), device=z.device), index]


def _is_plain(block: nn.Module) -> bool:
    """Whether nobody watches or changes what passes through a block or its parts, and its weights are plain numbers.

    Any other block has to run itself: :class:`PooledBlock` calls neither it nor its attention.
    """
    return all(type(weight) in (nn.Parameter, Tensor) for weight in block.parameters()) and not any(
        part._forward_hooks
        or not all(isinstance(hook, Guard) for hook in part._forward_pre_hooks.values())
        or "forward" in part.__dict__
        or is_parametrized(part)
        for part in block.modules()
    )
