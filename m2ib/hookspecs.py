"""The whole plugin contract: one hook.

A distribution registers a module (or any object) under the entry-point group ``m2ib``; the module
holds a function of this name, decorated with :data:`m2ib.hookimpl`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from m2ib.registry import AdapterSpec

GROUP = "m2ib"
hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)


@hookspec
def m2ib_register_adapters(register: Callable[[AdapterSpec], None]) -> None:
    """Call ``register(AdapterSpec(...))`` once for each adapter this plugin brings.

    Import no heavy package here: that belongs in the spec's ``load``.
    """
