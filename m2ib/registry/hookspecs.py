"""The whole plugin contract: three hooks; a plugin has one of them or more.

A distribution registers a module (or any object) under the entry-point group ``m2ib``; the module
holds functions of these names, decorated with :data:`m2ib.hookimpl`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from m2ib.registry.specs import AdapterSpec, MethodSpec, RendererSpec

GROUP = "m2ib"
hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)


@hookspec
def m2ib_register_adapters(register: Callable[[AdapterSpec], None]) -> None:
    """Call ``register(AdapterSpec(...))`` once for each adapter this plugin brings.

    Import no heavy package here: that belongs in the spec's ``load``.
    """


@hookspec
def m2ib_register_methods(register: Callable[[MethodSpec], None]) -> None:
    """Call ``register(MethodSpec(...))`` once for each method this plugin brings, and with a :class:`m2ib.PairMethodSpec` once for
    each way to find interactions.

    Import no heavy package here: that belongs in the spec's ``load``.
    """


@hookspec
def m2ib_register_renderers(register: Callable[[RendererSpec], None]) -> None:
    """Call ``register(RendererSpec(...))`` once for each renderer this plugin brings.

    Import no heavy package here: that belongs in the spec's ``load``.
    """
