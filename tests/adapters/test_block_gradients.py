"""A tower's block by its parts gives what the block itself gives, and the gradient that autograd finds."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from m2ib_adapters.towers import heads as heads_module
from m2ib_adapters.towers.blocks import Block, Called, mlp_of, norm_of, quick_gelu, run_whole
from m2ib_adapters.towers.heads import Heads
from m2ib_adapters.towers.pooled import run_one

M, T, C, HEADS = 3, 5, 8, 2
LATER = torch.full((1, 1, T, T), float("-inf")).triu(1)


def draw(*shape: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def attention(q: Tensor, k: Tensor, v: Tensor, extra: Any, causal: bool) -> Tensor:
    """torch's own, on (M, T, C)."""
    if extra is not None:
        k, v = (torch.cat([x, more.expand(len(x), 1, -1)], 1) for x, more in zip((k, v), extra, strict=True))
    parts = [x.unflatten(-1, (HEADS, -1)).transpose(1, 2) for x in (q, k, v)]
    return scaled_dot_product_attention(*parts, is_causal=causal).transpose(1, 2).flatten(2)


@pytest.mark.parametrize("kept", [0, 2**23], ids=["formed twice", "kept"])
@pytest.mark.parametrize("at_once", [1, 60, 2**24])
@pytest.mark.parametrize(("causal", "more"), [(False, False), (True, False), (False, True)])
def test_attention_and_its_gradient(
    monkeypatch: pytest.MonkeyPatch, kept: int, at_once: int, causal: bool, more: bool
) -> None:
    monkeypatch.setattr(heads_module, "_KEPT", kept)
    monkeypatch.setattr(heads_module, "_AT_ONCE", at_once)
    q, k, v = (draw(M, T, C, seed=seed).requires_grad_() for seed in range(3))
    extra = (draw(C, seed=3), draw(C, seed=4)) if more else None
    expected = attention(q, k, v, extra, causal)
    back = draw(M, T, C, seed=5)
    gradients = torch.autograd.grad(expected, (q, k, v), back)
    with torch.no_grad():
        heads = Heads(q, k, v, HEADS, extra, mask=LATER if causal else None)
        torch.testing.assert_close(heads.mixed(), expected, rtol=1e-12, atol=1e-12)
        for _ in range(2):
            found = heads.gradients(back)
            for ours, theirs in zip(found, gradients, strict=True):
                torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def block_of(activation: Any, *, named: bool, extra: bool, scaled: bool, dtype: torch.dtype) -> Block:
    """``named``: with parts that have a gradient of their own; else they are just called."""

    def at(*shape: int, seed: int) -> Tensor:
        return draw(*shape, seed=seed, dtype=dtype) / shape[-1] ** 0.5

    linear = [(at(C, C, seed=seed), at(C, seed=seed + 10)) for seed in range(4)]
    first, second = nn.Linear(C, 3 * C, bias=False, dtype=dtype), nn.Linear(3 * C, C, dtype=dtype)
    norms = [nn.LayerNorm(C, dtype=dtype), nn.LayerNorm(C, elementwise_affine=False)]
    with torch.no_grad():
        for number, weight in enumerate([*first.parameters(), *second.parameters(), *norms[0].parameters()]):
            weight.copy_(at(*weight.shape, seed=20 + number))
    mlp = nn.Sequential(first, activation, second)
    parts = [*map(norm_of, norms), mlp_of(mlp, *mlp)] if named else [Called(each) for each in (*norms, mlp)]
    return Block(
        HEADS,
        parts[0],
        *linear[:3],
        (linear[3][0], None),
        *parts[1:],
        (at(C, seed=30), at(C, seed=31)) if extra else None,
        at(C, seed=32) if scaled else None,
        at(C, seed=33) if scaled else None,
    )


def plainly(block: Block, x: Tensor, causal: bool) -> Tensor:
    """The block's formula for autograd, of a block whose parts are just called."""

    def linear(h: Tensor, pair: Any) -> Tensor:
        return nn.functional.linear(h, *pair)

    norm1, norm2, mlp = (part.module for part in (block.norm1, block.norm2, block.mlp))  # type: ignore[attr-defined]
    h = norm1(x)
    qkv = (linear(h, pair) for pair in (block.query, block.key, block.value))
    scale1, scale2 = (1 if scale is None else scale for scale in (block.scale1, block.scale2))
    y = x + linear(attention(*qkv, block.extra, causal), block.out) * scale1
    return y + mlp(norm2(y)) * scale2


class QuickGelu(nn.Module):
    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, h: Tensor) -> Tensor:
        return self.function(h)


ACTIVATIONS = {
    "gelu": (nn.GELU("tanh"), nn.GELU("tanh")),
    "quick gelu": (QuickGelu(quick_gelu), QuickGelu(lambda h: h * torch.sigmoid(1.702 * h))),
    "in place": (nn.ReLU(inplace=True), nn.ReLU()),
}
INDEX = torch.tensor([4, 0, 2])
WAYS = {
    "whole": lambda block, x, causal: run_whole(block, x, LATER if causal else None),
    "one": lambda block, x, causal: run_one(block, x, INDEX, LATER if causal else None),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize(("extra", "scaled", "causal"), [(True, False, False), (False, True, True)])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(
    ("dtype", "error"), [(torch.float64, 1e-12), (torch.float32, 1e-5), (torch.bfloat16, 0.05)]
)
def test_a_block_and_its_gradient(
    way: str,
    named: bool,
    extra: bool,
    scaled: bool,
    causal: bool,
    activation: str,
    dtype: torch.dtype,
    error: float,
) -> None:
    ours, theirs = ACTIVATIONS[activation]
    block = block_of(ours, named=named, extra=extra, scaled=scaled, dtype=dtype)
    exact = _wide(block_of(theirs, named=False, extra=extra, scaled=scaled, dtype=dtype))
    x = draw(M, T, C, seed=40, dtype=dtype)
    leaf = x.clone().requires_grad_()
    z = WAYS[way](block, leaf, causal)
    wide = x.double().requires_grad_()
    expected = plainly(exact, wide, causal)
    if way == "one":
        expected = expected[torch.arange(M), INDEX]
    back = draw(*z.shape, seed=41, dtype=dtype)
    (gradient,) = torch.autograd.grad(expected, wide, back.double())
    assert z.dtype == dtype
    assert _error(z.detach(), expected.detach()) < error
    for _ in range(2):  # a graph that is kept can be gone through again
        (found,) = torch.autograd.grad(z, leaf, back, retain_graph=True)
        assert _error(found, gradient) < error
    assert torch.equal(leaf, x)
    assert torch.equal(WAYS[way](block, x, causal), z)


def _wide(part: Any) -> Any:
    """In float64, whatever holds it."""
    if isinstance(part, (Tensor, nn.Module)):
        return part.double()
    if isinstance(part, tuple):
        return tuple(map(_wide, part))
    if isinstance(part, (Block, Called)):
        return type(part)(*(_wide(getattr(part, name)) for name in part.__dataclass_fields__))
    return part


def _error(found: Tensor, expected: Tensor) -> float:
    return float((found.double() - expected).abs().max() / expected.abs().max())
