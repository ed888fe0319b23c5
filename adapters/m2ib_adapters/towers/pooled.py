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

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.utils.parametrize import is_parametrized

from m2ib.contract.inputs import Inputs
from m2ib.execution.context import Guard
from m2ib.execution.products import gradient_of, once, product_of
from m2ib_adapters.towers.attention import first_position
from m2ib_adapters.towers.blocks import Block, Linear, Turn, run_whole, turning
from m2ib_adapters.towers.heads import Mask


def run_one(block: Block, x: Tensor, index: Tensor, mask: Mask | None = None, places: Any = None) -> Tensor:
    """The block's output at one position: x (M, T, C), index (M,) -> (M, C).

    places  what the block's ``turn_query`` and ``turn_key`` take
    """
    made: Tensor = _One.apply(x, block, index, mask, places)
    return made


class _One(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, block: Block, index: Tensor, mask: Mask | None, places: Any) -> Tensor:
        ctx.block, graph = block, ctx.needs_input_grad[0]
        count, tokens = x.shape[:2]
        ctx.at = torch.arange(count, device=x.device), index
        h, ctx.norm = block.norm1.forward(x, graph)  # (M, T, C)
        q = product_of(h[ctx.at], *block.query)  # (M, C)
        ctx.turn_query = turning(
            block.turn_query and partial(_turned_at, block.turn_query, ctx.at, tokens), places
        )
        q, ctx.turned_query = ctx.turn_query.forward(q, graph)
        ctx.query = q = q.unflatten(-1, (block.heads, -1)) * (q.shape[-1] // block.heads) ** -0.5  # (M, H, d)
        ctx.keys = None
        if block.turn_key is None:
            ctx.probe = _by_head(q, block.key[0])  # (M, H, C)
            scores = ctx.probe @ h.transpose(1, 2)  # (M, H, T)
        else:
            ctx.turn_key = turning(block.turn_key, places)
            k, ctx.turned_key = ctx.turn_key.forward(product_of(h, *block.key), graph)  # (M, T, C)
            ctx.keys = k.unflatten(-1, (block.heads, -1)).transpose(1, 2)  # (M, H, T, d)
            scores = (ctx.keys @ q[..., None]).squeeze(-1)  # (M, H, T)
        if mask is not None:
            # (M, H or 1, T)
            scores += mask.expand(count, -1, tokens, -1)[ctx.at[0], :, index].to(scores.dtype)
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
        ctx.h, ctx.pattern = h, pattern
        z, ctx.kept = block.after_attention(x[ctx.at], v.flatten(1), graph)
        return z

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None, None]:
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
        if ctx.keys is None:
            dq = _back_by_head(ds[..., :tokens] @ h, block.key[0])  # (M, H, d)
            both = torch.cat([pattern, ds], 1)[..., :tokens]  # (M, 2 H, T)
            dh = both.transpose(1, 2) @ torch.cat([dm, ctx.probe], 1)  # (M, T, C)
        else:
            dq = (ds[:, :, None] @ ctx.keys).squeeze(2)  # (M, H, d)
            dk = (ds.transpose(1, 2)[..., None] * ctx.query[:, None]).flatten(2)  # (M, T, C)
            dh = gradient_of(ctx.turn_key.backward(dk, ctx.turned_key), block.key[0])  # (M, T, C)
            dh += pattern.transpose(1, 2) @ dm
        if ctx.key is not None:
            dq += ds[..., tokens:] * ctx.key
        dq = (dq * dq.shape[-1] ** -0.5).flatten(1)  # (M, C)
        dh[ctx.at] += gradient_of(ctx.turn_query.backward(dq, ctx.turned_query), block.query[0])
        dx = block.norm1.backward(dh, ctx.norm)
        dx[ctx.at] += dy
        return dx, None, None, None, None


def _turned_at(turn: Turn, at: tuple[Tensor, Tensor], tokens: int, query: Tensor, places: Any) -> Tensor:
    """One query of each input (M, C), turned as at its place."""
    everywhere = query.new_zeros(len(query), tokens, query.shape[-1]).index_put(at, query)  # (M, T, C)
    return turn(everywhere, places)[at]


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


Pooler = tuple[nn.Module, Callable[[Tensor], Tensor]]
"""A module that pools positions (M, T, C), and what does the same with less work."""


def found_by(query: Tensor, key: Linear, value: Linear, heads: int, x: Tensor) -> Tensor:
    """What the same query (A,) of all inputs finds among x (M, T, C): (M, A). Its keys' bias does not matter."""
    # (H, d), (H, d, C)
    q, k, v = (each.detach().unflatten(0, (heads, -1)) for each in (query, key[0], value[0]))
    probe = torch.bmm(q[:, None], k).squeeze(1) * q.shape[-1] ** -0.5  # (H, C)
    wide = torch.promote_types(x.dtype, torch.float32)
    pattern = (x @ probe.t()).softmax(1, dtype=wide).to(x.dtype)  # (M, T, H)
    mixed = pattern.transpose(1, 2) @ x  # (M, H, C)
    found = torch.bmm(mixed.transpose(0, 1), v.transpose(1, 2)).transpose(0, 1).flatten(1)  # (M, A)
    return found if value[1] is None else found + value[1]


def headed_tail(
    blocks: Any,
    parts_of: Callable[[Any], Block | None],
    head: Callable[[Tensor], Tensor],
    run: Callable[[Any, Tensor, Mask | None], Tensor] = lambda block, z, mask: block(z, mask),
    read: Callable[[Inputs], Tensor] | None = None,
    mask: Callable[[int], Tensor | None] = lambda length: None,
) -> Callable[[Tensor, int, Inputs], Tensor]:
    """A tail that runs nothing but the blocks after a layer, and the head that follows them: what comes before need not run.

    parts_of  a block by its parts, which are its present weights; None for one that it does not know every part of: that
              one runs as it is, and so does one that somebody watches
    head      the last block's output at one position (M, C) -> (M, D)
    run       (block, z, mask (1, 1, T, T) or None) -> z, of a block as it is
    read      inputs -> (M,) that position; None: the first one, and no input is looked at
    mask      T -> (T, T), added to the scores of a causal tower; None where every position sees all
    """

    def tail(z: Tensor, layer: int, inputs: Inputs) -> Tensor:
        seen = mask(z.shape[1])
        added = None if seen is None else seen[None, None]
        known = [(block, plain_parts(block, parts_of)) for block in blocks[layer + 1 :]]
        last = known.pop()[1] if known and known[-1][1] is not None else None
        for block, parts in known:
            # On other devices torch's own attention is as good, and needs less memory.
            other = z.device.type != "cpu"
            z = run(block, z, added) if parts is None or other else run_whole(parts, z, added)
        index = first_position(z) if read is None else read(inputs)
        if last is not None:
            return head(run_one(last, z, index, added))
        return head(z[torch.arange(len(z), device=z.device), index])

    return tail


def plain_parts(block: nn.Module, parts_of: Callable[[Any], Block | None]) -> Block | None:
    """A block by its parts, asked for once while weights are steady; None also for one that somebody watches."""
    return once(("parts", block), lambda: parts_of(block) if is_plain(block) else None)


def is_plain(block: nn.Module) -> bool:
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
