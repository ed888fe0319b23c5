"""Running the code of other distributions: whatever it raises is that plugin's failure, except the user's own interrupt."""

from __future__ import annotations

import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import wraps
from types import FrameType
from typing import TYPE_CHECKING, Any

from m2ib.contract.settings import Setting
from m2ib.errors import M2IBError, PluginError, one_line

if TYPE_CHECKING:
    from m2ib.methods.base import Batch, Method, PreparedBatch
    from m2ib.methods.interactions.base import PairMethod


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


def guarded_setting(setting: Setting, guarded: Guard) -> Setting:
    default = guarded(setting.default) if callable(setting.default) else setting.default
    return replace(setting, default=default, check=guarded(setting.check), refuse=guarded(setting.refuse))


def guarded_method(method: Any, who: str) -> Method:
    """With every function of it guarded. Raises :class:`PluginError` for what is no method."""
    from m2ib.methods.base import Method, PreparedBatch

    if not isinstance(method, Method):
        raise PluginError(f"{who}: load returned {type(method).__name__}, not an m2ib.methods.Method")
    guarded = guard(who)

    def checked(name: str, prepare: Callable[..., Any]) -> Callable[..., PreparedBatch]:
        def call(batch: Batch, settings: Any) -> PreparedBatch:
            prepared = guarded(prepare)(batch, settings)
            if not isinstance(prepared, PreparedBatch):
                raise PluginError(
                    f"{who}: {name} returned {type(prepared).__name__}, not an m2ib.methods.PreparedBatch"
                )
            return replace(prepared, maps=guarded(prepared.maps))

        return call

    return replace(
        method,
        prepare=checked("prepare", method.prepare),
        settings=guarded(method.settings),
        refuse=guarded(method.refuse),
        check=guarded(method.check),
        steps=guarded(method.steps),
        prepare_seeds=method.prepare_seeds and checked("prepare_seeds", method.prepare_seeds),
    )


def guarded_pair_method(method: Any, who: str) -> PairMethod:
    """Likewise of a way to find interactions."""
    from m2ib.methods.interactions.base import PairMethod

    if not isinstance(method, PairMethod):
        raise PluginError(f"{who}: load returned {type(method).__name__}, not a PairMethod")
    guarded = guard(who)
    return replace(
        method,
        find=guarded(method.find),
        refuse=guarded(method.refuse),
        settings=guarded(method.settings),
    )
