"""A pre-norm transformer block by its parts, with its gradient written out.

::

    y = x + out(attention(norm1(x)))
    z = y + second(act(first(norm2(y))))

The weights stay as they are, so of the gradient only the one at x is wanted. From g = dL/dz back::

    dy = g + norm2'((act'(h) * (g W_second)) W_first)          h = first(norm2(y))
    dx = dy + norm1'(dq W_q + dk W_k + dv W_v)                 (dq, dk, dv) = attention'(dy W_out)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import layer_norm, silu

from m2ib.execution.products import gradient_of, product, product_of
from m2ib_adapters.towers.heads import Heads

Linear = tuple[Tensor, Tensor | None]
"""(weight (N, K), bias (N,) or None)."""

_QUICK = 1.702


@dataclass(frozen=True)
class Norm:
    """A LayerNorm over the last axis."""

    weight: Tensor | None
    bias: Tensor | None
    eps: float

    def __call__(self, x: Tensor) -> Tensor:
        return layer_norm(x, x.shape[-1:], self.weight, self.bias, self.eps)

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """What comes out, and what :meth:`backward` needs."""
        y, mean, rstd = torch.native_layer_norm(x, x.shape[-1:], self.weight, self.bias, self.eps)
        return y, (x, mean, rstd)

    def backward(self, gradient: Tensor, kept: tuple[Tensor, ...]) -> Tensor:
        x, mean, rstd = kept
        back = torch.ops.aten.native_layer_norm_backward
        only_x = [True, False, False]
        made: Tensor = back(gradient, x, x.shape[-1:], mean, rstd, self.weight, self.bias, only_x)[0]
        return made


@dataclass(frozen=True)
class Mlp:
    """Two linear layers, and what is done to each number between them."""

    first: Linear
    activation: Callable[[Tensor], Tensor]
    second: Linear

    def __call__(self, x: Tensor) -> Tensor:
        return product(self.activation(product(x, *self.first)), *self.second)

    def forward(self, x: Tensor, *, graph: bool) -> tuple[Tensor, tuple[Tensor, ...]]:
        """What comes out, and what :meth:`backward` needs, where a ``graph`` is kept for it."""
        h = product_of(x, *self.first)
        with torch.set_grad_enabled(graph):
            a = self.activation(h.requires_grad_(graph))
        return product_of(a.detach(), *self.second), (h, a)

    def backward(self, gradient: Tensor, kept: tuple[Tensor, ...]) -> Tensor:
        h, a = kept
        (dh,) = torch.autograd.grad(a, h, gradient_of(gradient, self.second[0]), retain_graph=True)
        return gradient_of(dh, self.first[0])


def norm_of(norm: Any, *alike: type) -> Any:
    """A :class:`Norm` of a LayerNorm, or of a module ``alike``; any other module as it is."""
    if type(norm) not in (nn.LayerNorm, *alike):
        return norm
    return Norm(norm.weight, norm.bias, norm.eps)


def mlp_of(mlp: Any, first: Any, activation: Callable[[Tensor], Tensor], second: Any) -> Any:
    """The :class:`Mlp` of these layers of a module ``mlp``; the module as it is where they are no plain ones."""
    if type(first) is not nn.Linear or type(second) is not nn.Linear:
        return mlp
    return Mlp((first.weight, first.bias), activation, (second.weight, second.bias))


def quick_gelu(h: Tensor) -> Tensor:
    """h * sigmoid(1.702 h): with u = 1.702 h it is silu(u) / 1.702, one kernel instead of three."""
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
        made: Tensor = torch.ops.aten.silu_backward(
            gradient, *ctx.saved_tensors
        )  # silu'(u) is the derivative at h
        return made


@dataclass(frozen=True)
class Block:
    """A pre-norm transformer block of C channels.

    query, key, value, out  (weight (C, C), bias (C,) or None)
    norm1, norm2, mlp       :class:`Norm` and :class:`Mlp`, or whatever else does it: then the whole block is not run by its parts
    extra                   one more key and value, (C,) each, that every token attends to; or None
    scale1, scale2          (C,) what the branches are multiplied with before they are added (LayerScale), or None
    """

    heads: int
    norm1: Callable[[Tensor], Tensor]
    query: Linear
    key: Linear
    value: Linear
    out: Linear
    norm2: Callable[[Tensor], Tensor]
    mlp: Callable[[Tensor], Tensor]
    extra: tuple[Tensor, Tensor] | None = None
    scale1: Tensor | None = None
    scale2: Tensor | None = None

    @classmethod
    def of_packed(cls, attention: Any, **others: Any) -> Block:
        """Of a block whose ``attention`` has the parameters of ``nn.MultiheadAttention``; the ``others`` by name."""
        weights = attention.in_proj_weight.chunk(3)  # query, key, value: (C, C) each
        biases = (None,) * 3 if attention.in_proj_bias is None else attention.in_proj_bias.chunk(3)
        query, key, value = zip(weights, biases, strict=True)
        out = attention.out_proj.weight, attention.out_proj.bias
        extra = None
        if attention.bias_k is not None and attention.bias_v is not None:
            extra = attention.bias_k.flatten(), attention.bias_v.flatten()  # (C,) each
        return cls(attention.num_heads, query=query, key=key, value=value, out=out, extra=extra, **others)

    @property
    def known(self) -> bool:
        """Whether every part is, so that :func:`run_whole` can run the block."""
        return isinstance(self.norm1, Norm) and isinstance(self.norm2, Norm) and isinstance(self.mlp, Mlp)


def run_whole(block: Block, x: Tensor, *, causal: bool) -> Tensor:
    """The output (M, T, C) of a :attr:`Block.known` block for x (M, T, C), on a processor.

    causal: a position reads only those up to itself.
    """
    made: Tensor = _Whole.apply(x, block, causal)
    return made


class _Whole(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, block: Any, causal: bool) -> Tensor:
        ctx.block = block
        n, ctx.norm1 = block.norm1.forward(x)
        q, k, v = (product_of(n, *linear) for linear in (block.query, block.key, block.value))
        ctx.heads = Heads(q, k, v, block.heads, block.extra, causal=causal)
        y = product_of(ctx.heads.mixed(), *block.out)
        y = _scaled(y, block.scale1).add_(x)
        n, ctx.norm2 = block.norm2.forward(y)
        z, ctx.mlp = block.mlp.forward(n, graph=ctx.needs_input_grad[0])
        return _scaled(z, block.scale2).add_(y)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        block = ctx.block
        scaled = gradient if block.scale2 is None else gradient * block.scale2
        dy = block.norm2.backward(block.mlp.backward(scaled, ctx.mlp), ctx.norm2).add_(gradient)
        scaled = dy if block.scale1 is None else dy * block.scale1
        gradients = ctx.heads.gradients(gradient_of(scaled, block.out[0]))
        query, key, value = (
            gradient_of(each, linear[0])
            for each, linear in zip(gradients, (block.query, block.key, block.value), strict=True)
        )
        dn = query.add_(key).add_(value)
        return block.norm1.backward(dn, ctx.norm1).add_(dy), None, None


def _scaled(branch: Tensor, scale: Tensor | None) -> Tensor:
    return branch if scale is None else branch.mul_(scale)
