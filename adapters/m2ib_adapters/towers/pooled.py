"""The last block of an encoder that reads one token: one query instead of all.

With query q of one head, keys k_t = W_k h_t + b_k and values v_t = W_v h_t + b_v::

    q . k_t      = (W_k^T q) . h_t + q . b_k        and q . b_k is the same for all t: softmax drops it
    sum_t p_t v_t = W_v (sum_t p_t h_t) + b_v       since sum_t p_t = 1

so neither keys nor values are formed: two C x C products a token become one C-vector a head. A learned key
and value beside those of the tokens (e, u) join in: its score is q . (e - b_k), and with its share p_e the sum is
W_v (sum_t p_t h_t) + (1 - p_e) b_v + p_e u.

With r = W_k^T q and m = sum_t p_t h_t of each head, the gradient goes back from that of its part of the sum, dv::

    dm = W_v^T dv,  dp_t = dm . h_t,  dp_e = dv . (u - b_v),  ds = p * (dp - sum p dp)
    dr = sum_t ds_t h_t,  dq = W_k dr + ds_e (e - b_k),  dh_t = p_t dm + ds_t r
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.utils.parametrize import is_parametrized

from m2ib.execution.context import Guard
from m2ib.execution.products import gradient_of, once, product_of
from m2ib_adapters.towers.blocks import Block, run_whole


def run_one(block: Block, x: Tensor, index: Tensor, *, causal: bool = False) -> Tensor:
    """The block's output at one position: x (M, T, C), index (M,) -> (M, C).

    causal: the position reads only those up to itself.
    """
    made: Tensor = _One.apply(x, block, index, causal)
    return made


class _One(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, block: Block, index: Tensor, causal: bool) -> Tensor:
        ctx.block, graph = block, ctx.needs_input_grad[0]
        tokens, ctx.at = x.shape[1], (torch.arange(len(x), device=x.device), index)
        h, ctx.norm = block.norm1.forward(x, graph)  # (M, T, C)
        q = product_of(h[ctx.at], *block.query).unflatten(-1, (block.heads, -1))  # (M, H, d)
        q *= q.shape[-1] ** -0.5
        probe = _by_head(q, block.key[0])  # (M, H, C)
        scores = probe @ h.transpose(1, 2)  # (M, H, T)
        if causal:
            later = torch.arange(tokens, device=x.device) > index[:, None]  # (M, T)
            scores.masked_fill_(later[:, None], float("-inf"))
        ctx.key, ctx.value = _offsets(block)  # (H, d) each, or None
        if ctx.key is not None:
            more = (q * ctx.key).sum(-1, keepdim=True)  # (M, H, 1)
            scores = torch.cat([scores, more], -1)  # (M, H, T + 1)
        pattern = scores.softmax(-1, dtype=torch.promote_types(scores.dtype, torch.float32))
        mixed = pattern[..., :tokens].to(h.dtype) @ h  # (M, H, C)
        v = _back_by_head(mixed, block.value[0])  # (M, H, d)
        if ctx.value is not None:
            v += pattern[..., tokens:].to(v.dtype) * ctx.value
        if block.value[1] is not None:
            v += block.value[1].unflatten(0, (block.heads, -1))
        ctx.h, ctx.probe, ctx.pattern = h, probe, pattern
        z, ctx.kept = block.after_attention(x[ctx.at], v.flatten(1), graph)
        return z

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        block, h, tokens = ctx.block, ctx.h, ctx.h.shape[1]
        dy, dv = block.before_attention(gradient, ctx.kept)  # (M, C) each
        dv = dv.unflatten(-1, (block.heads, -1))  # (M, H, d)
        dm = _by_head(dv, block.value[0])  # (M, H, C)
        dp = dm @ h.transpose(1, 2)  # (M, H, T)
        if ctx.value is not None:
            dp = torch.cat([dp, (dv * ctx.value).sum(-1, keepdim=True)], -1)
        ds = torch.ops.aten._softmax_backward_data(
            dp.to(ctx.pattern.dtype), ctx.pattern, -1, ctx.pattern.dtype
        )
        pattern, ds = ctx.pattern.to(h.dtype), ds.to(h.dtype)
        dq = _back_by_head(ds[..., :tokens] @ h, block.key[0])  # (M, H, d)
        if ctx.key is not None:
            dq += ds[..., tokens:] * ctx.key
        dq *= dq.shape[-1] ** -0.5
        both = torch.cat([pattern, ds], 1)[..., :tokens]  # (M, 2 H, T)
        dh = both.transpose(1, 2) @ torch.cat([dm, ctx.probe], 1)  # (M, T, C)
        dh[ctx.at] += gradient_of(dq.flatten(1), block.query[0])
        dx = block.norm1.backward(dh, ctx.norm)
        dx[ctx.at] += dy
        return dx, None, None, None


def _by_head(x: Tensor, weight: Tensor) -> Tensor:
    """x (M, H, d), each head times its rows of weight (H * d, C) -> (M, H, C)."""
    return torch.bmm(x.transpose(0, 1), weight.detach().unflatten(0, (x.shape[1], -1))).transpose(0, 1)


def _back_by_head(x: Tensor, weight: Tensor) -> Tensor:
    """The other way: x (M, H, C) -> (M, H, d)."""
    turned = weight.detach().unflatten(0, (x.shape[1], -1)).transpose(1, 2)  # (H, C, d)
    return torch.bmm(x.transpose(0, 1), turned).transpose(0, 1)


def _offsets(block: Block) -> tuple[Tensor, Tensor] | tuple[None, None]:
    """By how much one more key and value differ from those of a token that is 0, (H, d) each; or None."""
    if block.extra is None:
        return None, None
    key, value = (
        (more if bias is None else more - bias).detach().unflatten(0, (block.heads, -1))
        for more, (_, bias) in zip(block.extra, (block.key, block.value), strict=True)
    )
    return key, value


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
    parts = [once(("parts", block), partial(_plain_parts, block, parts_of)) for block in blocks]
    last = parts[-1] if parts else None
    for block, known in zip(blocks, parts if last is None else parts[:-1], strict=False):
        # On other devices torch's own attention is as good, and needs less memory.
        z = run(block, z) if known is None or z.device.type != "cpu" else run_whole(known, z, causal=causal)
    if last is not None:
        return run_one(last, z, index, causal=causal)
    return z[torch.arange(len(z), device=z.device), index]


def _plain_parts(block: nn.Module, parts_of: Callable[[Any], Block | None]) -> Block | None:
    return parts_of(block) if _is_plain(block) else None


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
