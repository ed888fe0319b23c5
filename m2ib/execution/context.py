"""Whatever the caller's surroundings are, a model runs as it was loaded, and is left as it was found.

What a fit puts in place (skipped blocks, hooks, evaluation mode) belongs to its thread alone: other threads wait at
the model's door until it is over, whichever of its modules they call. Weights are left as they are, for another
thread may be learning them: gradients are asked of activations alone, and weights get none.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

from m2ib.execution.half_precision import products_in_float32

_LOCK = threading.RLock()
_CHECKPOINTING = ("gradient_checkpointing", "grad_checkpointing")  # of transformers; of open_clip and timm
_guarded: set[nn.Module] = set()  # by the thread that holds the lock
# A forked child has no thread that would ever give the lock back: so a fork waits, as any other caller does.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_LOCK.acquire, after_in_parent=_LOCK.release, after_in_child=_LOCK.release)


def this_thread() -> Callable[[], bool]:
    """Whether what runs later belongs to the thread that calls this: it, or one of autograd's own, which may have to compute
    a part again for a backward pass."""
    owner = threading.get_ident()

    def ours() -> bool:
        if threading.get_ident() == owner:
            return True
        in_backward = torch._C._current_graph_task_id() != -1
        return in_backward and isinstance(threading.current_thread(), threading._DummyThread)

    return ours


class Guard:
    """A forward pre-hook: other threads than the one that made it wait until the lock is free."""

    def __init__(self) -> None:
        self._ours = this_thread()

    def __call__(self, module: nn.Module, args: Any) -> None:
        if module in _guarded and not self._ours():  # a replica of the module may have its hooks
            with _LOCK:
                pass


@contextmanager
def alone(parts: Iterable[nn.Module]) -> Iterator[None]:
    """No other thread runs ``parts`` inside, nor a fit of any model: it waits until this one is over."""
    with _LOCK, ExitStack() as stack:
        for part in set(parts) - _guarded:
            _guarded.add(part)
            stack.callback(_guarded.discard, part)
            stack.callback(part.register_forward_pre_hook(Guard(), prepend=True).remove)
        yield


def entrances(module: nn.Module, layers: Iterable[nn.Module]) -> list[nn.Module]:
    """Where a call gets into a model: the layers, the modules that hold them, and what stands beside these."""
    inner = set(layers)

    def at(part: nn.Module) -> list[nn.Module]:
        if part in inner or inner.isdisjoint(part.modules()):
            return [part]
        return [part, *(found for child in part.children() for found in at(child))]

    return [*inner, *at(module)]


@contextmanager
def default_execution(device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """Whatever the caller's surroundings are (inference mode, autocast), a model runs as it was loaded, part by part.

    Compiled parts run uncompiled: a compiled one does not see what is put into it later.
    On a processor without instructions for ``dtype``, products are computed in float32 (``half_precision.py``).
    """
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        if "torch._dynamo" in sys.modules and hasattr(
            torch.compiler, "set_stance"
        ):  # else nothing is compiled
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        if torch.amp.is_autocast_available(device.type):
            stack.enter_context(torch.autocast(device.type, enabled=False))
        stack.enter_context(products_in_float32(device, dtype))
        yield


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode, and no block computed a second time for a backward pass; as before outside, whatever happens."""
    switched = [
        (part, name)
        for part in module.modules()
        for name in ("training", *_CHECKPOINTING)
        if part.__dict__.get(name) is True
    ]
    try:
        for part, name in switched:
            setattr(part, name, False)
        yield
    finally:
        for part, name in switched:
            setattr(part, name, True)
