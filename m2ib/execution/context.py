"""Whatever the caller's surroundings are, a model runs as it was loaded, and is left as it was found.

What a fit puts in place (skipped blocks, hooks, evaluation mode) belongs to its thread alone: other threads wait at
the model's door until it is over, whichever of its modules they call. Weights are left as they are, for another
thread may be learning them: gradients are asked of activations alone, and weights get none.
"""

from __future__ import annotations

import os
import random
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack, _pop_mode, _push_mode
from torch.utils._device import DeviceContext

from m2ib.execution.half_precision import products_in_float32
from m2ib.promises import kept_promises, promise

_LOCK = threading.RLock()
_CHECKPOINTING = ("gradient_checkpointing", "grad_checkpointing")  # of transformers; of open_clip and timm
_guarded: set[nn.Module] = set()  # by the thread that holds the lock
_other_default = False  # whether a caller was ever found with another default dtype than float32
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
    with kept_promises():
        hold()
        for part in set(parts) - _guarded:
            promise(partial(_guarded.discard, part))
            _guarded.add(part)
            hook(part, Guard(), before=True, prepend=True)
        yield


def hold() -> None:
    """The lock is this thread's until the promise is kept."""
    if not _LOCK._is_owned():  # type: ignore[attr-defined]
        promise(_let_go)
        _LOCK.acquire()


def _let_go() -> None:
    if _LOCK._is_owned():  # type: ignore[attr-defined]
        _LOCK.release()


def hook(module: nn.Module, function: Callable[..., Any], *, before: bool, **options: Any) -> None:
    """A forward hook of ``module``, or one ``before``, until the promise is kept."""
    promise(partial(_unhook, module, function))
    (module.register_forward_pre_hook if before else module.register_forward_hook)(function, **options)


def _unhook(module: nn.Module, function: Callable[..., Any]) -> None:
    """By the function itself: who was interrupted while it was registered has no handle of it."""
    with_keywords = module._forward_pre_hooks_with_kwargs, module._forward_hooks_with_kwargs
    for hooks, others in zip((module._forward_pre_hooks, module._forward_hooks), with_keywords, strict=True):
        for number in [number for number, each in hooks.items() if each is function]:
            others.pop(number, None)
            del hooks[number]


def entrances(module: nn.Module, layers: Iterable[nn.Module]) -> list[nn.Module]:
    """Where a call gets into a model: the layers, the modules that hold them, and what stands beside these."""
    inner = set(layers)

    def at(part: nn.Module) -> list[nn.Module]:
        if part in inner or inner.isdisjoint(part.modules()):
            return [part]
        return [part, *(found for child in part.children() for found in at(child))]

    return [*inner, *at(module)]


@contextmanager
def neutral(device: torch.device | None = None) -> Iterator[None]:
    """Inside, torch and numpy are as in a fresh process, whatever the caller has switched, on the CPU and on ``device``.

    That is: gradients enabled, no inference mode, no autocast, the CPU as default device, float32 as default dtype, and
    numpy's usual warnings. All as before outside.
    """
    with kept_promises():
        _leave_surroundings({"cpu", "cpu" if device is None else device.type})
        yield


def _leave_surroundings(kinds: set[str]) -> None:
    promise(partial(np.seterr, **np.geterr()))
    np.seterr(divide="warn", over="warn", under="ignore", invalid="warn")
    promise(partial(torch.set_grad_enabled, torch.is_grad_enabled()))
    if torch.is_inference_mode_enabled():
        guard = torch._C._InferenceMode(False)
        promise(partial(guard.__exit__, None, None, None))
        guard.__enter__()
    torch.set_grad_enabled(True)
    for kind in kinds:
        if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
            promise(partial(torch.set_autocast_enabled, kind, True))
            torch.set_autocast_enabled(kind, False)
    modes = _get_current_function_mode_stack()
    promise(
        partial(_set_modes, modes)
    )  # with any mode at all torch takes other ways, and gives other last digits
    _set_modes([mode for mode in modes if not isinstance(mode, DeviceContext)])
    _use_float32()


def _set_modes(modes: list[TorchFunctionMode]) -> None:
    """The function modes of this thread; a default device is one of them."""
    if _get_current_function_mode_stack() != modes:
        while _get_current_function_mode_stack():
            _pop_mode()
        for mode in modes:
            _push_mode(mode)


def _use_float32() -> None:
    """As default dtype, which torch has for all threads together: while one changes it, the others wait."""
    global _other_default
    default = torch.get_default_dtype()  # read first: who changes it says so before
    if default is not torch.float32 or _other_default:
        _other_default = True
        hold()
        promise(partial(torch.set_default_dtype, torch.get_default_dtype()))
        torch.set_default_dtype(torch.float32)


@contextmanager
def own_random_numbers() -> Iterator[None]:
    """What is drawn inside is not taken from the caller's generators: those of torch, numpy and Python go on as if nothing was."""
    with kept_promises():
        promise(partial(random.setstate, random.getstate()))
        promise(partial(np.random.set_state, np.random.get_state()))  # noqa: NPY002 - the caller may use it
        promise(partial(torch.set_rng_state, torch.get_rng_state()))
        if torch.cuda.is_initialized():
            promise(partial(torch.cuda.set_rng_state_all, torch.cuda.get_rng_state_all()))
        yield


@contextmanager
def default_execution(device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """In :func:`neutral` surroundings a model runs as it was loaded, part by part.

    Compiled parts run uncompiled: a compiled one does not see what is put into it later.
    On a processor without instructions for ``dtype``, products are computed in float32 (``half_precision.py``).
    """
    with neutral(device):
        compiler: Any = sys.modules.get("torch._dynamo.eval_frame")  # else nothing is compiled
        if compiler is not None and hasattr(torch.compiler, "set_stance"):
            promise(partial(compiler._set_stance, compiler._stance))
            torch.compiler.set_stance("force_eager")
        with products_in_float32(device, dtype):
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

    def switch(value: bool) -> None:
        for part, name in switched:
            setattr(part, name, value)

    with kept_promises():
        promise(partial(switch, True))
        switch(False)
        yield
