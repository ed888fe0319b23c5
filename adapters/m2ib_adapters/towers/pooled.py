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
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from m2ib.execution.context import Guard
from m2ib.execution.products import product
from m2ib_adapters.towers.blocks import Block, run_whole


def _run_one(block: Block, x: Tensor, index: Tensor, *, causal: bool = False) -> Tensor:
    """The block's output at one position: x (M, T, C), index (M,) -> (M, C).

    causal: the position reads only those up to itself.
    """
    rows = torch.arange(x.shape[0], device=x.device)  # (M,)
    channels = x.shape[-1]
    width = channels // block.heads
    h = block.norm1(x)  # (M, T, C)
    q = product(h[rows, index], *block.query).unflatten(-1, (block.heads, width)) * width**-0.5  # (M, H, d)
    key = block.key[0].unflatten(0, (block.heads, width))  # (H, d, C)
    probe = torch.einsum("mhd,hdc->mhc", q, key)  # (M, H, C)
    scores = probe @ h.transpose(1, 2)  # (M, H, T)
    if causal:
        later = torch.arange(x.shape[1], device=x.device) > index[:, None]  # (M, T)
        scores = scores.masked_fill(later[:, None], float("-inf"))
    if block.extra is not None:
        key_offset = block.extra[0] if block.key[1] is None else block.extra[0] - block.key[1]  # (C,)
        more = torch.einsum("mhd,hd->mh", q, key_offset.unflatten(0, (block.heads, width)))  # (M, H)
        scores = torch.cat([scores, more[..., None]], -1)  # (M, H, T + 1)
    pattern = scores.softmax(-1, dtype=torch.promote_types(scores.dtype, torch.float32)).to(h.dtype)
    mixed = pattern[..., : x.shape[1]] @ h  # (M, H, C)
    value = block.value[0].unflatten(0, (block.heads, width))  # (H, d, C)
    v = torch.einsum("mhc,hdc->mhd", mixed, value)  # (M, H, d)
    bias = None if block.value[1] is None else block.value[1].unflatten(0, (block.heads, width))  # (H, d)
    if block.extra is not None:
        share = pattern[..., -1:]  # (M, H, 1)
        more = block.extra[1].unflatten(0, (block.heads, width))  # (H, d)
        v = v + share * (more if bias is None else more - bias)
    v = (v if bias is None else v + bias).flatten(1)  # (M, C)
    y = x[rows, index] + _scaled(product(v, *block.out), block.scale1)  # (M, C)
    return y + _scaled(block.mlp(block.norm2(y)), block.scale2)  # (M, C)


def _scaled(branch: Tensor, scale: Tensor | None) -> Tensor:
    return branch if scale is None else branch * scale


def run_pooled(
    blocks: Sequence[nn.Module],
    run: Callable[[nn.Module, Tensor], Tensor],
    z: Tensor,
    index: Tensor,
    parts_of: Callable[[Any], Block | None],
    *,
    causal: bool = False,
) -> Tensor:
    """Blocks one after the other, and of the last one's output one position: (M, T, C), (M,) -> (M, C).

    run       (block, z) -> z
    parts_of  a block by its parts, which are its present weights; None for one that it does not know every part of: that
              one runs as it is, and so does one that somebody watches
    """
    parts = [parts_of(block) if _is_plain(block) else None for block in blocks]
    last = parts[-1] if parts else None
    whole = parts if last is None else parts[:-1]
    for block, known in zip(blocks, whole, strict=False):
        if known is not None and known.known and z.device.type == "cpu":
            z = run_whole(known, z, causal=causal)  # (M, T, C)
        else:
            z = run(block, z)
    if last is not None:
        return _run_one(last, z, index, causal=causal)
    return z[torch.arange(len(z), device=z.device), index]


def _is_plain(block: nn.Module) -> bool:
    """Whether nobody watches or changes what passes through a block or its parts, and its weights are plain numbers.

    Any other block has to run itself: by its parts neither it nor its attention is called.
    """
    return all(type(weight) in (nn.Parameter, Tensor) for weight in block.parameters()) and not any(
        part._forward_hooks
        or not all(isinstance(hook, Guard) for hook in part._forward_pre_hooks.values())
        or "forward" in part.__dict__
        or is_parametrized(part)
        for part in block.modules()
    )
