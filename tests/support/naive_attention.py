"""Transformers with their attention written out, and the methods that read it straight from their papers.

Nothing here uses m2ib: a block is given by its parts, one input is (T, C), heads and positions are loops.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

Step = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Block:
    """query, key, value, out: (T, C) -> (T, C); extra: a learned key and value (C,) each."""

    heads: int
    norm1: Step
    query: Step
    key: Step
    value: Step
    out: Step
    norm2: Step
    mlp: Step
    scale1: Step = lambda x: x
    scale2: Step = lambda x: x
    extra: tuple[Tensor, Tensor] | None = None
    norm_after: bool = False  # BERT


@dataclass(frozen=True)
class Seen:
    """Of one block: pattern and its stand-in for gradients (heads, Q, K); q, k, v, mixed (T, C); output (T, C)."""

    pattern: Tensor
    delta: Tensor
    query: Tensor
    key: Tensor
    value: Tensor
    mixed: Tensor
    output: Tensor


def attend(q: Tensor, k: Tensor, v: Tensor, heads: int, causal: bool) -> tuple[Tensor, Tensor, Tensor]:
    """q (Q, C), k and v (K, C) -> pattern (heads, Q, K), a zero added to it, mixed (Q, C)."""
    width = q.shape[1] // heads
    delta = torch.zeros(heads, len(q), len(k), dtype=q.dtype, requires_grad=True)
    patterns, mixed = [], []
    for head in range(heads):
        part = slice(head * width, (head + 1) * width)
        rows = []
        for i in range(len(q)):
            scores = k[:, part] @ q[i, part] / math.sqrt(width)  # (K,)
            weights = (scores - scores.max().detach()).exp()
            if causal:
                weights = torch.cat([weights[: i + 1], torch.zeros_like(weights[i + 1 :])])
            rows.append(weights / weights.sum())
        patterns.append(torch.stack(rows))
        mixed.append((patterns[-1] + delta[head]) @ v[:, part])
    return torch.stack(patterns), delta, torch.cat(mixed, 1)


def run(blocks: Sequence[Block], x: Tensor, causal: bool = False) -> list[Seen]:
    """x (T, C) through the blocks."""
    seen = []
    for block in blocks:
        h = x if block.norm_after else block.norm1(x)
        q, k, v = block.query(h), block.key(h), block.value(h)
        keys, values = k, v
        if block.extra is not None:
            keys, values = (torch.cat([a, b[None]]) for a, b in zip((k, v), block.extra, strict=True))
        pattern, delta, mixed = attend(q, keys, values, block.heads, causal)
        x = x + block.scale1(block.out(mixed))
        x = block.norm1(x) if block.norm_after else x
        x = x + block.scale2(block.mlp(x if block.norm_after else block.norm2(x)))
        x = block.norm2(x) if block.norm_after else x
        seen.append(Seen(pattern, delta, q, k, v, mixed, x))
    return seen


def cosine(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum() / (a.norm() * b.norm())


def chefer(clips: Sequence[Sequence[Seen]], s: Tensor, at: Sequence[int], first: int) -> list[Tensor]:
    """For each clip (T,): the mean of the rows ``at`` of R."""
    rows = []
    for seen in clips:
        length = len(seen[0].query)
        relevance = torch.eye(length, dtype=s.dtype)
        for each in seen[first:]:
            relevance = relevance + kept(each.pattern, each.delta, s)[:, :length] @ relevance
        rows.append(torch.stack([relevance[i] for i in at]).mean(0))
    return rows


def kept(pattern: Tensor, delta: Tensor, s: Tensor) -> Tensor:
    """(heads, Q, K) -> (Q, K)."""
    (gradient,) = torch.autograd.grad(s, delta, retain_graph=True)
    total = torch.zeros_like(pattern[0])
    for head in range(len(pattern)):
        total = total + torch.relu(gradient[head] * pattern[head])
    return total / len(pattern)


def legrad(
    clips: Sequence[Sequence[Seen]], score: Callable[[list[Tensor]], Tensor], first: int
) -> list[Tensor]:
    """``score``: one vector (C,) for each clip -> the cosine. For each clip (T,)."""
    count = len(clips[0])
    length = len(clips[0][0].query)
    totals = [torch.zeros(length, dtype=clips[0][0].query.dtype) for _ in clips]
    for number in range(first, count):
        s = score([seen[number].output.mean(0) for seen in clips])
        for total, seen in zip(totals, clips, strict=True):
            each = seen[number]
            (gradient,) = torch.autograd.grad(s, each.delta, retain_graph=True)
            for head in range(len(gradient)):
                for i in range(length):
                    can = each.pattern[head, i, :length] > 0
                    total += can * torch.relu(gradient[head, i, :length]) / len(gradient) / length
    return [total / (count - first) for total in totals]


def grad_eclip(
    seen: Sequence[Seen], s: Tensor, at: Sequence[int], cells: Sequence[int], blocks: int
) -> Tensor:
    """One clip: (cells,), before the last max(0, .)."""
    return sum(
        eclip_part(s, each.mixed, each.query, each.key, each.value, at, cells) for each in seen[-blocks:]
    )  # type: ignore[return-value]


def eclip_part(
    s: Tensor, mixed: Tensor, q: Tensor, k: Tensor, v: Tensor, at: Sequence[int], cells: Sequence[int]
) -> Tensor:
    (gradient,) = torch.autograd.grad(s, mixed, retain_graph=True)  # (Q, C)
    total = torch.zeros(len(cells), dtype=s.dtype)
    for p in at:
        alike = torch.stack([cosine(q[p], k[i]) for i in cells])
        loose = (alike - alike.min()) / (alike.max() - alike.min())
        total = total + torch.stack([(gradient[p] * loose[n] * v[i]).sum() for n, i in enumerate(cells)])
    return total.detach()


def packed(attention: nn.Module) -> dict[str, Step]:
    """Of ``nn.MultiheadAttention`` and those that name their weights as it does."""
    weights = attention.in_proj_weight.chunk(3)
    biases = attention.in_proj_bias.chunk(3)
    steps = {
        name: (lambda x, w=w, b=b: linear(x, w, b))
        for name, w, b in zip(("query", "key", "value"), weights, biases, strict=True)
    }
    return {**steps, "out": attention.out_proj}
