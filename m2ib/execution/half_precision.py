"""bfloat16 and float16 on processors without instructions for them.

There torch multiplies matrices of halves one number at a time, many times slower than floats. Under
:func:`products_in_float32` such products are computed in float32 and rounded back, which is also what hardware for
halves does: it sums up in float32. Memory stays that of halves, but for the operands at hand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, _get_current_dispatch_mode_stack, _pop_mode
from torch.utils._pytree import tree_leaves, tree_map_only

from m2ib.promises import kept_promises, promise

_HALVES = {torch.bfloat16: "_is_mkldnn_bf16_supported", torch.float16: "_is_mkldnn_fp16_supported"}
_PRODUCTS = {
    "mm",
    "addmm",
    "bmm",
    "baddbmm",
    "mv",
    "addmv",
    "convolution",
    "convolution_backward",
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_flash_attention_for_cpu_backward",
    "_native_multi_head_attention",
    "_transformer_encoder_layer_fwd",
}
_LOGARITHMS = "_scaled_dot_product_flash_attention_for_cpu_backward"  # takes some that are wide anyway


@contextmanager
def products_in_float32(device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """Inside, products of ``dtype`` are computed in float32 where the processor has no instructions for them."""
    if device.type != "cpu" or has_instructions(dtype):
        yield
        return
    with kept_promises():
        promise(partial(_leave_modes, len(_get_current_dispatch_mode_stack())))
        with _Float32Products(dtype):
            yield


def _leave_modes(count: int) -> None:
    """But for the first ones of them."""
    while len(_get_current_dispatch_mode_stack()) > count:
        _pop_mode()


def or_in_float32(dtype: torch.dtype) -> str:
    """How advice for a model that gives NaN goes on: a dtype that reaches as far as float32 is not to blame."""
    return ", or load the model with dtype='float32'" if dtype in _HALVES else ""


def has_instructions(dtype: torch.dtype) -> bool:
    """Whether matrices of this dtype are multiplied fast on this machine's CPU."""
    if dtype not in _HALVES:
        return True
    ask = getattr(torch.ops.mkldnn, _HALVES[dtype], None)
    return ask is not None and bool(ask())


class _Float32Products(TorchDispatchMode):
    """Works below autograd, so that the products of a backward pass are seen as well."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._dtype = dtype

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        if name not in _PRODUCTS or kwargs.get("out") is not None:
            return func(*args, **kwargs)
        tensors = [value for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
        kinds = {tensor.dtype for tensor in tensors if tensor.is_floating_point()}
        if self._dtype not in kinds or (len(kinds) > 1 and name != _LOGARITHMS):  # mixed: torch refuses it
            return func(*args, **kwargs)
        wide = tree_map_only(Tensor, self._to(self._dtype, torch.float32), (args, kwargs))
        result = func(*wide[0], **wide[1])
        if isinstance(result, tuple):  # of attention the first is the output; the logarithms stay wide
            narrow = self._to(torch.float32, self._dtype)
            backward = name.endswith("backward")
            return tuple(
                narrow(value) if isinstance(value, Tensor) and (backward or place == 0) else value
                for place, value in enumerate(result)
            )
        return result.to(self._dtype)

    @staticmethod
    def _to(old: torch.dtype, new: torch.dtype) -> Callable[[Tensor], Tensor]:
        def convert(value: Tensor) -> Tensor:
            if value.dtype != old:
                return value
            if value.ndim and value.shape[0] > 1 and value.stride(0) == 0:  # one matrix for a whole batch
                return value[:1].to(new).expand_as(value)
            return value.to(new)

        return convert
