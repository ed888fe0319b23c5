"""Products of halves computed in float32: what reaches the processor, values, gradients and dtypes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import m2ib
from m2ib.execution import half_precision
from m2ib.execution.half_precision import _Float32Products, has_instructions, products_in_float32
from tiny_clip import END, START, save_tiny_clip

HALVES = [torch.bfloat16, torch.float16]
PRODUCTS = ("mm", "bmm", "mv", "attention", "convolution", "encoder_layer")  # parts of the operations' names


class Processor(TorchDispatchMode):
    """What operations reach the processor, and with what dtypes. Entered first, it sees what others pass on."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[tuple[str, torch.dtype]] = Counter()
        self.converted: list[int] = []  # sizes of what was given another dtype

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for value in tree_leaves((args, kwargs)):
            if isinstance(value, Tensor):
                self.seen[func.overloadpacket.__name__, value.dtype] += 1
        if func.overloadpacket.__name__ in ("_to_copy", "to"):
            self.converted.append(args[0].numel())
        return func(*args, **(kwargs or {}))

    def products(self, dtype: torch.dtype) -> set[str]:
        return {name for name, kind in self.seen if kind == dtype and any(part in name for part in PRODUCTS)}


class Attention(nn.Module):
    """Self-attention of two heads through torch's fused kernel."""

    def forward(self, x: Tensor) -> Tensor:
        heads = x.unflatten(-1, (2, -1)).transpose(1, 2)  # (N, 2, T, d)
        return scaled_dot_product_attention(heads, heads, heads).transpose(1, 2).flatten(2)


class Convolution(nn.Conv1d):
    """(N, T, C) as pictures of one row."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.transpose(1, 2))


MODULES: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: nn.Linear(8, 6),
    "linear without bias": lambda: nn.Linear(8, 6, bias=False),
    "attention": Attention,
    "convolution": lambda: Convolution(8, 4, 3),
    "encoder layer": lambda: nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True),
}


def run(module: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Output, and the gradient of a fixed weighted sum of it at the input."""
    x = x.detach().requires_grad_()
    out = module(x)
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(1))
    (grad,) = torch.autograd.grad((out.float() * weights).sum(), x)
    return out, grad


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("plain", [False, True], ids=["fused", "plain attention"])
def test_no_product_of_halves_reaches_the_processor(name: str, dtype: torch.dtype, plain: bool) -> None:
    module = MODULES[name]().to(dtype).eval()
    x = torch.randn(3, 5, 8).to(dtype)
    backends = [SDPBackend.MATH] if plain else [SDPBackend.FLASH_ATTENTION, SDPBackend.MATH]
    with sdpa_kernel(backends), Processor() as bare:
        run(module, x)
    # There is something to widen, but in torch's plain attention, which widens halves itself.
    assert bare.products(dtype) or (plain and name == "attention")
    with sdpa_kernel(backends), Processor() as processor, _Float32Products(dtype):
        out, grad = run(module, x)
    assert not processor.products(dtype)
    assert processor.products(torch.float32)
    assert out.dtype == grad.dtype == dtype
    expected, expected_grad = run(module.float(), x.float())
    size = 4 * torch.finfo(dtype).eps
    torch.testing.assert_close(out.float(), expected, rtol=size, atol=size)
    torch.testing.assert_close(
        grad.float(), expected_grad, rtol=size, atol=size * expected_grad.abs().max().item()
    )


@pytest.mark.parametrize("dtype", HALVES)
def test_layers_that_torch_fuses_without_gradients(dtype: torch.dtype) -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True).to(dtype).eval()
    attention = nn.MultiheadAttention(8, 2, batch_first=True).to(dtype).eval()
    x = torch.randn(3, 5, 8).to(dtype)
    with torch.no_grad(), Processor() as processor, _Float32Products(dtype):
        outs = layer(x), attention(x, x, x, need_weights=False)[0]
    assert not processor.products(dtype)
    assert {out.dtype for out in outs} == {dtype}


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_explaining_and_embedding_widen_where_there_are_no_instructions(
    dtype: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(half_precision, "has_instructions", lambda dtype: False)
    model = m2ib.load_model("clip", checkpoint=save_tiny_clip(tmp_path), device="cpu", dtype=dtype)
    pixels, ids = torch.randn(3, 32, 32), torch.tensor([START, 5, 9, END])
    with Processor() as processor:
        model.embed("image", pixels[None])
        m2ib.explain(model, image=pixels, text=ids, layer=0, steps=2, samples=2)
    assert not processor.products(model.dtype)
    assert processor.products(torch.float32)


@pytest.mark.parametrize("dtype", HALVES)
def test_a_product_is_rounded_once(dtype: torch.dtype) -> None:
    a, b = torch.randn(4, 300).to(dtype), torch.randn(300, 5).to(dtype)
    with _Float32Products(dtype):
        out = a @ b
    assert torch.equal(out, (a.float() @ b.float()).to(dtype))


def test_one_matrix_for_a_batch_is_converted_once() -> None:
    many = torch.randn(1, 80, 60).bfloat16().expand(50, -1, -1)
    x = torch.randn(50, 3, 80).bfloat16()
    with Processor() as processor, _Float32Products(torch.bfloat16):
        out = torch.bmm(x, many)
    assert torch.equal(out, torch.bmm(x.float(), many.float()).bfloat16())
    assert 80 * 60 in processor.converted
    assert max(processor.converted) == 50 * 3 * 80


def test_other_products_pass_as_they_are() -> None:
    a, half = torch.randn(4, 4), torch.randn(4, 4).bfloat16()
    out = torch.empty(4, 4, dtype=torch.bfloat16)
    with Processor() as processor, _Float32Products(torch.bfloat16):
        a.double() @ a.double()
        torch.mm(half, half, out=out)
        with pytest.raises(RuntimeError, match="same dtype"):
            torch.mm(a, half)
    assert ("mm", torch.float64) in processor.seen
    torch.testing.assert_close(out, (half.float() @ half.float()).bfloat16())


def test_nothing_is_changed_for_floats_or_on_other_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False, raising=False)
    assert not has_instructions(torch.bfloat16)
    assert has_instructions(torch.float32)
    assert has_instructions(torch.float64)
    for device, dtype in (("cpu", torch.float32), ("meta", torch.bfloat16)):
        with products_in_float32(torch.device(device), dtype):
            assert not torch.utils._python_dispatch._get_current_dispatch_mode_stack()
    with products_in_float32(torch.device("cpu"), torch.bfloat16):
        assert torch.utils._python_dispatch._get_current_dispatch_mode_stack()


def test_it_ends_with_an_error_inside() -> None:
    with pytest.raises(RuntimeError, match="inside"), _Float32Products(torch.bfloat16):
        raise RuntimeError("inside")
    assert not torch.utils._python_dispatch._get_current_dispatch_mode_stack()
