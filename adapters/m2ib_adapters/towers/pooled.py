"""The last block of an encoder that reads one token: one query instead of all.

With query q of one head, keys k_t = W_k h_t + b_k and values v_t = W_v h_t + b_v::

    q . k_t      = (W_k^T q) . h_t + q . b_k        and q . b_k is the same for all t: softmax drops it
    sum_t p_t v_t = W_v (sum_t p_t h_t) + b_v       since sum_t p_t = 1

so neither keys nor values are formed: two C x C products a token become one C-vector a head.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import linear


@dataclass(frozen=True)
class PooledBlock:
    """A pre-norm transformer block, by its parts.

    query, key, value, out  (weight (C, C), bias (C,) or None)
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
    after_attention: Callable[[Tensor], Tensor] = lambda x: x
    after_mlp: Callable[[Tensor], Tensor] = lambda x: x

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
        pattern = scores.softmax(-1, dtype=torch.promote_types(scores.dtype, torch.float32))  # (M, H, T)
        mixed = pattern.to(h.dtype) @ h  # (M, H, C)
        value = self.value[0].unflatten(0, (self.heads, width))  # (H, d, C)
        v = torch.einsum("mhc,hdc->mhd", mixed, value).flatten(1)  # (M, C)
        if self.value[1] is not None:
            v = v + self.value[1]
        y = x[rows, index] + self.after_attention(linear(v, *self.out))  # (M, C)
        return y + self.after_mlp(self.mlp(self.norm2(y)))  # (M, C)


def has_hooks(block: nn.Module) -> bool:
    """Whether somebody watches or changes what passes through a block or its parts.

    Such a block has to run itself: :class:`PooledBlock` calls neither it nor its attention.
    """
    return any(
        part._forward_hooks or part._forward_pre_hooks or "forward" in part.__dict__
        for part in block.modules()
    )
