"""Products with weights that stay as they are, as fast as a processor makes them.

torch multiplies matrices of float32 by MKL. On processors with AVX-512 oneDNN, which torch brings as well, is a tenth
faster for many rows and up to three times for few, most of all with a weight that is laid out for it once rather than
at every product. Elsewhere, and for other dtypes, a product is torch's own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear

from m2ib.execution.half_precision import has_instructions
from m2ib.promises import promise

_VECTOR = 64  # bytes
T = TypeVar("T")


class _Steady(threading.local):
    """Of each thread: what was made of weights while they are steady, by what it is; None while they are not."""

    def __init__(self) -> None:
        self.kept: dict[object, Any] | None = None


_steady = _Steady()


def use_steady_weights() -> None:
    """Until the promise is kept a weight is laid out at its first product, and is what it was then.

    That takes a weight's bytes once more, and twice where it does not lie as a processor's vectors do.
    """
    if _steady.kept is None:
        promise(_forget)
        _steady.kept = {}


def _forget() -> None:
    _steady.kept = None


def once(key: object, make: Callable[[], T]) -> T:
    """What ``make`` gives, made at every call, or only at the first one with this key while weights are steady."""
    if _steady.kept is None:
        return make()
    if key not in _steady.kept:
        _steady.kept[key] = make()
    found: T = _steady.kept[key]
    return found


def _laid_out(weight: Tensor, way: str, lay: Callable[[Tensor], Tensor]) -> Tensor:
    weight = weight.detach()
    if _steady.kept is None:
        return weight
    place = way, weight.data_ptr(), weight.shape, weight.stride(), weight.dtype
    # with the weight itself, so that nothing else comes to lie there
    return once(place, lambda: (lay(weight), weight))[0]


def product_of(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x (..., K), weight (N, K), bias (N,) -> (..., N) as torch's ``linear``; outside of any graph."""
    bias = None if bias is None else bias.detach()
    if not _by_onednn(x, weight):
        return linear(x, weight.detach(), bias)
    rows = x.numel() // x.shape[-1]
    return _multiplied(x, _laid_out(weight, "forward", lambda each: _reordered(each, rows)), bias)


def linear_of(module: nn.Linear, x: Tensor) -> Tensor:
    """What the module gives; a graph leads to x alone."""
    weight, bias = module.weight, module.bias
    if x.dtype is torch.float32 and weight.dtype is x.dtype:  # of other dtypes torch's own is as fast
        made: Tensor = _Product.apply(x, weight, bias)
        return made
    return linear(x, weight, bias)


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.weight = weight
        return product_of(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient_of(gradient, ctx.weight), None, None

    @staticmethod
    def jvp(ctx: Any, x: Tensor, *weights: Tensor | None) -> Tensor:
        return product_of(x, ctx.weight)


def gradient_of(gradient: Tensor, weight: Tensor) -> Tensor:
    """gradient (..., N) at a :func:`product_of`, weight (N, K) -> (..., K) that at its ``x``.

    To turn a weight round takes longer than all the products of a fit gain by it. But weights lie where a file's header
    happens to end, and from a place between two vectors they are read slowly.
    """
    if not _by_onednn(gradient, weight):
        return gradient @ weight.detach()
    return _multiplied(gradient, _laid_out(weight, "backward", _aligned).t(), None)


def _aligned(weight: Tensor) -> Tensor:
    return weight.clone() if weight.data_ptr() % _VECTOR else weight


def _reordered(weight: Tensor, rows: int) -> Tensor:
    made: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight, rows)
    return made


def _multiplied(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    made: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return made


def _by_onednn(x: Tensor, weight: Tensor) -> bool:
    """Not of weights of another class than torch's own, whose entries may be anything."""
    return x.device.type == "cpu" and type(weight) in (Tensor, nn.Parameter) and _works(x.dtype)


@cache
def _works(dtype: torch.dtype) -> bool:
    """Whether oneDNN multiplies this dtype here, and faster: tried once, for torch promises nothing of these operations."""
    if dtype not in (torch.float32, torch.bfloat16) or torch.backends.cpu.get_cpu_capability() != "AVX512":
        return False
    if not torch.backends.mkldnn.is_available() or not has_instructions(dtype):
        return False
    x, weight, bias = (
        torch.arange(-size, size).reshape(shape).to(dtype)
        for size, shape in ((3, (2, 3)), (6, (4, 3)), (2, (4,)))
    )  # small whole numbers: any order of adding them up gives the same
    expected = linear(x, weight, bias)
    try:
        found = _multiplied(x, _reordered(weight, len(x)), bias), _multiplied(x, weight, bias)
        turned = _multiplied(expected, weight.t(), None)
    except (AttributeError, RuntimeError, TypeError):
        return False
    return all(torch.equal(each, expected) for each in found) and torch.equal(turned, expected @ weight)
