"""A tower's block by its parts gives what the block itself gives, and the gradient that autograd finds."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

from m2ib_adapters.towers import heads as heads_module
from m2ib_adapters.towers.blocks import Block, Mlp, Norm, quick_gelu, run_whole
from m2ib_adapters.towers.heads import Heads

M, T, C, HEADS = 3, 5, 8, 2


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
        heads = Heads(q, k, v, HEADS, extra, causal=causal)
        torch.testing.assert_close(heads.mixed(), expected, rtol=1e-12, atol=1e-12)
        for _ in range(2):
            found = heads.gradients(back)
            for ours, theirs in zip(found, gradients, strict=True):
                torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def block_of(activation: Any, *, extra: bool, scaled: bool, dtype: torch.dtype) -> Block:
    def at(*shape: int, seed: int) -> Tensor:
        return draw(*shape, seed=seed, dtype=dtype) / shape[-1] ** 0.5

    linear = [(at(C, C, seed=seed), at(C, seed=seed + 10)) for seed in range(4)]
    return Block(
        HEADS,
        Norm(1 + at(C, seed=20), at(C, seed=21), 1e-5),
        *linear[:3],
        (linear[3][0], None),
        Norm(None, None, 1e-6),
        Mlp((at(3 * C, C, seed=22), None), activation, (at(C, 3 * C, seed=23), at(C, seed=24))),
        (at(C, seed=25), at(C, seed=26)) if extra else None,
        at(C, seed=27) if scaled else None,
        at(C, seed=28) if scaled else None,
    )


def plainly(block: Block, x: Tensor, activation: Any, causal: bool) -> Tensor:
    """The block's formula, for autograd."""

    def linear(h: Tensor, pair: Any) -> Tensor:
        return nn.functional.linear(h, *pair)

    mlp: Any = block.mlp
    h = block.norm1(x)
    mixed = attention(
        linear(h, block.query), linear(h, block.key), linear(h, block.value), block.extra, causal
    )
    scale1, scale2 = (1 if scale is None else scale for scale in (block.scale1, block.scale2))
    y = x + linear(mixed, block.out) * scale1
    return y + linear(activation(linear(block.norm2(y), mlp.first)), mlp.second) * scale2


@pytest.mark.parametrize(("extra", "scaled", "causal"), [(True, False, False), (False, True, True)])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (nn.GELU("tanh"), lambda h: gelu(h, approximate="tanh")),
        (quick_gelu, lambda h: h * torch.sigmoid(1.702 * h)),
    ],
)
@pytest.mark.parametrize(
    ("dtype", "error"), [(torch.float64, 1e-12), (torch.float32, 1e-5), (torch.bfloat16, 0.05)]
)
def test_a_whole_block_and_its_gradient(
    ours: Any, theirs: Any, extra: bool, scaled: bool, causal: bool, dtype: torch.dtype, error: float
) -> None:
    block = block_of(ours, extra=extra, scaled=scaled, dtype=dtype)
    exact = block_of(theirs, extra=extra, scaled=scaled, dtype=dtype)
    exact = Block(*(_wide(getattr(exact, name)) for name in Block.__dataclass_fields__))
    x, back = draw(M, T, C, seed=30, dtype=dtype), draw(M, T, C, seed=31, dtype=dtype)
    leaf = x.clone().requires_grad_()
    z = run_whole(block, leaf, causal=causal)
    wide = x.double().requires_grad_()
    expected = plainly(exact, wide, theirs, causal)
    (gradient,) = torch.autograd.grad(expected, wide, back.double())
    assert z.dtype == dtype
    assert _error(z.detach(), expected.detach()) < error
    for _ in range(2):  # a graph that is kept can be gone through again
        (found,) = torch.autograd.grad(z, leaf, back, retain_graph=True)
        assert _error(found, gradient) < error
    assert torch.equal(leaf, x)
    assert torch.equal(run_whole(block, x, causal=causal), z)


def _wide(part: Any) -> Any:
    """In float64, whatever holds it."""
    if isinstance(part, Tensor):
        return part.double()
    if isinstance(part, tuple):
        return tuple(map(_wide, part))
    if isinstance(part, (Norm, Mlp)):
        return type(part)(*(_wide(getattr(part, name)) for name in part.__dataclass_fields__))
    return part


def _error(found: Tensor, expected: Tensor) -> float:
    return float((found.double() - expected).abs().max() / expected.abs().max())
