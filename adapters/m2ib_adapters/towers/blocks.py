"""A transformer block by its parts, with its gradient written out.

::

    y = x + out(attention(norm1(x)))                post-norm:  y = after1(x + out(attention(x)))
    z = y + second(act(first(norm2(y))))                        z = after2(y + second(act(first(y))))

The weights stay as they are, so of the gradient only the one at x is wanted. From g = dL/dz back, pre-norm::

    dy = g + norm2'((act'(h) * (g W_second)) W_first)          h = first(norm2(y))
    dx = dy + norm1'(dq W_q + dk W_k + dv W_v)                 (dq, dk, dv) = attention'(dy W_out)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import silu

from m2ib.execution.products import gradient_of, product_of
from m2ib_adapters.towers.heads import Heads, Mask

Linear = tuple[Tensor, Tensor | None]
"""(weight (N, K), bias (N,) or None)."""

_QUICK = 1.702


class Part(Protocol):
    """What is done to each token on its own."""

    def forward(self, x: Tensor, graph: bool) -> tuple[Tensor, Any]:
        """What comes out, and what :meth:`backward` needs; that only with ``graph``."""

    def backward(self, gradient: Tensor, kept: Any) -> Tensor:
        """The gradient at x from that at what came out."""


@dataclass(frozen=True)
class Called:
    """Any module; its gradient is autograd's."""

    module: Callable[[Tensor], Tensor]

    def forward(self, x: Tensor, graph: bool) -> tuple[Tensor, Any]:
        x = x.detach().requires_grad_(graph)
        with torch.set_grad_enabled(graph):
            y = self.module(x.clone() if getattr(self.module, "inplace", False) else x)
        return y.detach(), (x, y)

    def backward(self, gradient: Tensor, kept: Any) -> Tensor:
        x, y = kept
        return torch.autograd.grad(y, x, gradient, retain_graph=True)[0]


@dataclass(frozen=True)
class AsItIs:
    """Nothing is done."""

    def forward(self, x: Tensor, graph: bool) -> tuple[Tensor, Any]:
        return x, None

    def backward(self, gradient: Tensor, kept: Any) -> Tensor:
        return gradient


AS_IT_IS = AsItIs()


@dataclass(frozen=True)
class Norm:
    """A LayerNorm over the last axis, in its weight's dtype where that is the wider one."""

    weight: Tensor | None
    bias: Tensor | None
    eps: float

    def forward(self, x: Tensor, graph: bool) -> tuple[Tensor, Any]:
        wide = x if self.weight is None else x.to(torch.promote_types(x.dtype, self.weight.dtype))
        y, mean, rstd = torch.native_layer_norm(wide, x.shape[-1:], self.weight, self.bias, self.eps)
        return y.to(x.dtype), (wide, mean, rstd)

    def backward(self, gradient: Tensor, kept: Any) -> Tensor:
        x, mean, rstd = kept
        made: Tensor = torch.ops.aten.native_layer_norm_backward(
            gradient.to(x.dtype), x, x.shape[-1:], mean, rstd, self.weight, self.bias, [True, False, False]
        )[0]
        return made.to(gradient.dtype)


@dataclass(frozen=True)
class Mlp:
    """Two linear layers, and what is done to each number between them."""

    first: Linear
    activation: Callable[[Tensor], Tensor]
    second: Linear

    def forward(self, x: Tensor, graph: bool) -> tuple[Tensor, Any]:
        a, kept = Called(self.activation).forward(product_of(x, *self.first), graph)
        return product_of(a, *self.second), kept

    def backward(self, gradient: Tensor, kept: Any) -> Tensor:
        between = Called(self.activation).backward(gradient_of(gradient, self.second[0]), kept)
        return gradient_of(between, self.first[0])


def norm_of(norm: Any, *alike: type) -> Part:
    """Of a block; ``alike`` are further classes that do what torch's LayerNorm does, in its weight's dtype."""
    if type(norm) in (nn.LayerNorm, *alike):
        return Norm(norm.weight, norm.bias, norm.eps)
    return Called(norm)


def mlp_of(mlp: Any, first: Any, activation: Callable[[Tensor], Tensor], second: Any) -> Part:
    """Of a block whose ``mlp`` is these three, one after the other."""
    if type(first) is type(second) is nn.Linear:
        return Mlp((first.weight, first.bias), activation, (second.weight, second.bias))
    return Called(mlp)


def quick_gelu(h: Tensor) -> Tensor:
    """h * sigmoid(1.702 h) of an ``h`` that is used up.

    With u = 1.702 h it is silu(u) / 1.702, one kernel instead of three.
    """
    made: Tensor = _QuickGelu.apply(h)
    return made


class _QuickGelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, h: Tensor) -> Tensor:
        u = h.mul_(_QUICK)
        ctx.save_for_backward(u)
        return silu(u).mul_(1 / _QUICK)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        # silu'(u) is the derivative at h
        made: Tensor = torch.ops.aten.silu_backward(gradient, *ctx.saved_tensors)
        return made


Turn = Callable[[Tensor, Any], Tensor]
"""((M, T, C) queries or keys, what tells their places or None) -> (M, T, C) that are held against each other."""


@dataclass(frozen=True)
class Block:
    """A transformer block of C channels, pre-norm unless it has its norms after what is added.

    query, key, value, out    (weight (C, C), bias (C,) or None)
    extra                     one more key and value, (C,) each, that every token attends to; or None
    scale1, scale2            (C,) what the branches are multiplied with before they are added (LayerScale), or None
    turn_query, turn_key      norms of each head, rotation by the place; None: queries and keys are as they are
    inner                     between the attention and ``out``
    after1, after2            of what a branch is added to
    tupled                    whether the block gives z in a tuple
    """

    heads: int
    norm1: Part
    query: Linear
    key: Linear
    value: Linear
    out: Linear
    norm2: Part
    mlp: Part
    extra: tuple[Tensor, Tensor] | None = None
    scale1: Tensor | None = None
    scale2: Tensor | None = None
    turn_query: Turn | None = None
    turn_key: Turn | None = None
    inner: Part = AS_IT_IS
    after1: Part = AS_IT_IS
    after2: Part = AS_IT_IS
    tupled: bool = False

    @classmethod
    def of_packed(cls, attention: Any, **others: Any) -> Block:
        """Of a block whose ``attention`` has the parameters of ``nn.MultiheadAttention``, or all but those of ``extra``; the
        ``others`` by name."""
        weights = attention.in_proj_weight.chunk(3)  # query, key, value: (C, C) each
        biases = (None,) * 3 if attention.in_proj_bias is None else attention.in_proj_bias.chunk(3)
        query, key, value = zip(weights, biases, strict=True)
        out = attention.out_proj.weight, attention.out_proj.bias
        extra = None
        if getattr(attention, "bias_k", None) is not None and attention.bias_v is not None:
            extra = attention.bias_k.flatten(), attention.bias_v.flatten()  # (C,) each
        return cls(attention.num_heads, query=query, key=key, value=value, out=out, extra=extra, **others)

    def after_attention(self, x: Tensor, mixed: Tensor, graph: bool) -> tuple[Tensor, Any]:
        """z of x and of what its attention found, (..., C) each; and what :meth:`before_attention` needs."""
        mixed, inner = self.inner.forward(mixed, graph)
        y = scaled(product_of(mixed, *self.out), self.scale1).add_(x)
        y, after1 = self.after1.forward(y, graph)
        normed, norm = self.norm2.forward(y, graph)
        z, mlp = self.mlp.forward(normed, graph)
        z, after2 = self.after2.forward(scaled(z, self.scale2) + y, graph)
        return z, (inner, after1, norm, mlp, after2)

    def before_attention(self, gradient: Tensor, kept: Any) -> tuple[Tensor, Tensor]:
        """(that at x but for what comes back through the attention, that at ``mixed``) from the gradient at z."""
        inner, after1, norm, mlp, after2 = kept
        dz = self.after2.backward(gradient, after2)
        branch = self.mlp.backward(scaled(dz, self.scale2), mlp)
        dy = self.after1.backward(self.norm2.backward(branch, norm) + dz, after1)
        return dy, self.inner.backward(gradient_of(scaled(dy, self.scale1), self.out[0]), inner)


def scaled(branch: Tensor, scale: Tensor | None) -> Tensor:
    return branch if scale is None else branch * scale


def turning(turn: Turn | None, places: Any) -> Part:
    return AS_IT_IS if turn is None else Called(lambda x: turn(x, places))


def run_whole(block: Block, x: Tensor, mask: Mask | None = None, places: Any = None) -> Tensor:
    """The block's output (M, T, C) for x (M, T, C).

    places  what the block's ``turn_query`` and ``turn_key`` take
    """
    made: Tensor = _Whole.apply(x, block, mask, places)
    return made


class _Whole(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, block: Block, mask: Mask | None, places: Any) -> Tensor:
        ctx.block, graph = block, ctx.needs_input_grad[0]
        h, ctx.norm = block.norm1.forward(x, graph)
        q, k, v = (product_of(h, *linear) for linear in (block.query, block.key, block.value))
        ctx.turns = turning(block.turn_query, places), turning(block.turn_key, places)
        (q, query), (k, key) = (
            turn.forward(each, graph) for turn, each in zip(ctx.turns, (q, k), strict=True)
        )
        ctx.turned = query, key
        ctx.heads = Heads(q, k, v, block.heads, block.extra, mask=mask)
        z, ctx.kept = block.after_attention(x, ctx.heads.mixed(), graph)
        return z

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        block: Block = ctx.block
        dy, mixed = block.before_attention(gradient, ctx.kept)
        q, k, v = ctx.heads.gradients(mixed)
        q, k = (turn.backward(*each) for turn, *each in zip(ctx.turns, (q, k), ctx.turned, strict=True))
        linear = block.query[0], block.key[0], block.value[0]
        q, k, v = map(gradient_of, (q, k, v), linear)
        return block.norm1.backward(q.add_(k).add_(v), ctx.norm) + dy, None, None, None
