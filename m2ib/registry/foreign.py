"""Running the code of other distributions: whatever it raises is that plugin's failure, except the user's own interrupt."""

from __future__ import annotations

import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import fields, replace
from functools import wraps
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

from m2ib.errors import M2IBError, PluginError, one_line
from m2ib.registry.specs import are_texts

if TYPE_CHECKING:
    import numpy as np
    from _typeshed import DataclassInstance

    from m2ib.methods.base import Batch, Method, PreparedBatch
    from m2ib.methods.interactions.base import PairMethod, Side


@contextmanager
def plugin_code(who: str) -> Iterator[None]:
    """Inside, anything raised that is no :class:`M2IBError` becomes ``PluginError("<who> failed: SystemExit: 0")``.

    An interrupt by the user gets through, also where the plugin makes nothing or something else of it.
    """
    with _interrupts() as interrupts:
        try:
            yield
        except BaseException as error:
            if interrupts:
                raise KeyboardInterrupt from error
            if isinstance(error, M2IBError):
                raise
            raise PluginError(f"{who} failed: {one_line(error, kind=True)}") from error
        if interrupts:
            raise KeyboardInterrupt


def renderer_code(renderer: Any) -> AbstractContextManager[None]:
    """:func:`plugin_code` of a renderer's calls."""
    return plugin_code(f"renderer {getattr(renderer, 'name', renderer)!r:.80}")


@contextmanager
def _interrupts() -> Iterator[list[int]]:
    """What is filled when the user interrupts: the signal tells that apart from a ``KeyboardInterrupt`` of somebody's own."""
    seen: list[int] = []
    before = signal.getsignal(signal.SIGINT)
    if not callable(before) or threading.current_thread() is not threading.main_thread():
        yield seen  # Python gives an interrupt to the main thread alone
        return
    usual: Callable[[int, FrameType | None], Any] = before

    def noted(number: int, frame: FrameType | None) -> None:
        seen.append(number)
        usual(number, frame)

    try:
        signal.signal(signal.SIGINT, noted)
        yield seen
    finally:
        if signal.getsignal(signal.SIGINT) is noted:
            signal.signal(signal.SIGINT, before)


@contextmanager
def warnings_are_no_errors() -> Iterator[None]:
    """Under ``python -W error`` too: what a plugin's libraries warn of at import is no reason to be without it."""
    with warnings.catch_warnings():
        if any(action == "error" for action, *_ in warnings.filters):
            warnings.simplefilter("default")
        yield


P = TypeVar("P", bound="DataclassInstance")
Guard = Callable[[Callable[..., Any]], Callable[..., Any]]


def guard(who: str) -> Guard:
    """Of functions, each call of which is :func:`plugin_code`."""

    def guarded(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            with plugin_code(who):
                return function(*args, **kwargs)

        return call

    return guarded


def guarded_fields(plain: P, guarded: Guard) -> P:
    """A dataclass, a setting for instance, with every function that it holds guarded."""
    held = {each.name: getattr(plain, each.name) for each in fields(plain)}
    return replace(plain, **{name: guarded(value) for name, value in held.items() if callable(value)})


def guarded_method(method: Any, who: str) -> Method:
    """With every function of it guarded. Raises :class:`PluginError` for what is no method."""
    from m2ib.methods.base import Method, PreparedBatch

    if not isinstance(method, Method):
        raise PluginError(f"{who}: load returned {type(method).__name__}, not an m2ib.methods.Method")
    guarded = guard(who)
    found = guarded_fields(method, guarded)

    def checked(name: str, prepare: Callable[..., Any]) -> Callable[..., PreparedBatch]:
        def call(batch: Batch, settings: Any) -> PreparedBatch:
            prepared = prepare(batch, settings)
            if not isinstance(prepared, PreparedBatch):
                raise PluginError(
                    f"{who}: {name} returned {type(prepared).__name__}, not an m2ib.methods.PreparedBatch"
                )
            return replace(prepared, maps=guarded(prepared.maps))

        return call

    several = found.prepare_seeds and checked("prepare_seeds", found.prepare_seeds)
    return replace(found, prepare=checked("prepare", found.prepare), prepare_seeds=several)


def guarded_pair_method(method: Any, who: str) -> PairMethod:
    """Likewise of a way to find interactions."""
    import numpy as np

    from m2ib.methods.interactions.base import PairMethod

    if not isinstance(method, PairMethod):
        raise PluginError(f"{who}: load returned {type(method).__name__}, not a PairMethod")
    found = guarded_fields(method, guard(who))

    def find(first: Side, second: Side) -> tuple[np.ndarray, tuple[str, ...]]:
        given = found.find(first, second)
        try:
            matrix, warnings = given
            matrix = np.asarray(matrix, np.float64)
        except Exception:  # whatever it gives may have code of its own
            warnings = None
        if not are_texts(warnings):
            raise PluginError(
                f"{who}: find returned {type(given).__name__}, not a matrix and a tuple of warnings"
            )
        return matrix, tuple(warnings)

    return replace(found, find=find)
