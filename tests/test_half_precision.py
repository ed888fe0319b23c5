"""Products of halves computed in float32: values, gradients and dtypes, on any processor."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from m2ib.half_precision import _WideProducts, has_instructions, wide_products

HALVES = [torch.bfloat16, torch.float16]


class Attention(nn.Module):
    """Self-attention of two heads through torch's fused kernel."""

    def forward(self, x: Tensor) -> Tensor:
        heads = x.unflatten(-1, (2, -1)).transpose(1, 2)  # (N, 2, T, d)
        return scaled_dot_product_attention(heads, heads, heads).transpose(1, 2).flatten(2)


MODULES: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: nn.Linear(8, 6),
    "linear without bias": lambda: nn.Linear(8, 6, bias=False),
    "attention": Attention,
    "multihead": lambda: nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True),
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
def test_values_and_gradients_are_those_of_rounded_floats(name: str, dtype: torch.dtype, plain: bool) -> None:
    module = MODULES[name]().to(dtype).eval()
    x = torch.randn(3, 5, 8).to(dtype)
    with _WideProducts(dtype):
        if plain:
            with sdpa_kernel(SDPBackend.MATH):
                out, grad = run(module, x)
        else:
            out, grad = run(module, x)
    expected, expected_grad = run(module.float(), x.float())
    assert out.dtype == grad.dtype == dtype
    size = 4 * torch.finfo(dtype).eps
    torch.testing.assert_close(out.float(), expected, rtol=size, atol=size)
    torch.testing.assert_close(
        grad.float(), expected_grad, rtol=size, atol=size * expected_grad.abs().max().item()
    )


@pytest.mark.parametrize("dtype", HALVES)
def test_a_product_is_rounded_once(dtype: torch.dtype) -> None:
    a, b = torch.randn(4, 300).to(dtype), torch.randn(300, 5).to(dtype)
    with _WideProducts(dtype):
        out = a @ b
    assert torch.equal(out, (a.float() @ b.float()).to(dtype))


def test_convolutions_too() -> None:
    conv = nn.Conv2d(3, 4, 3).bfloat16()
    x = torch.randn(2, 3, 8, 8).bfloat16()
    with _WideProducts(torch.bfloat16):
        out, grad = run(conv, x)
    expected, expected_grad = run(conv.float(), x.float())
    torch.testing.assert_close(out.float(), expected, rtol=0.02, atol=0.02)
    torch.testing.assert_close(grad.float(), expected_grad, rtol=0.05, atol=0.1)


def test_one_matrix_for_a_batch_is_converted_once() -> None:
    many = torch.randn(1, 8, 6).bfloat16().expand(5, -1, -1)
    x = torch.randn(5, 3, 8).bfloat16()
    with _WideProducts(torch.bfloat16):
        out = torch.bmm(x, many)
    assert torch.equal(out, torch.bmm(x.float(), many.float()).bfloat16())


def test_other_dtypes_pass(recwarn: pytest.WarningsRecorder) -> None:
    a = torch.randn(4, 4, dtype=torch.float64)
    with _WideProducts(torch.bfloat16):
        assert torch.equal(a @ a, (a.clone() @ a.clone()))
        assert (a @ a).dtype == torch.float64


def test_nothing_is_changed_for_floats_or_on_other_devices() -> None:
    for device, dtype in (("cpu", torch.float32), ("meta", torch.bfloat16)):
        with wide_products(torch.device(device), dtype):
            assert not torch.utils._python_dispatch._get_current_dispatch_mode_stack()
    assert has_instructions(torch.float32)
    assert has_instructions(torch.float64)


def test_it_ends_with_an_error_inside() -> None:
    with pytest.raises(RuntimeError, match="inside"), _WideProducts(torch.bfloat16):
        raise RuntimeError("inside")
    assert not torch.utils._python_dispatch._get_current_dispatch_mode_stack()
