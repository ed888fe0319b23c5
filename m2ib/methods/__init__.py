"""Methods that make maps, behind ``explain(..., method=)``: one module each, and a registry open to plugins.

Names are imported at first use, so that registering the methods loads no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from m2ib.methods.base import Batch, Begun, Map, Method, Ready, degradation_of, needs_attention
    from m2ib.methods.options import Option, Options, resolver

_HOMES = {
    "Batch": "base",
    "Begun": "base",
    "Map": "base",
    "Method": "base",
    "Option": "options",
    "Options": "options",
    "Ready": "base",
    "degradation_of": "base",
    "needs_attention": "base",
    "resolver": "options",
}

__all__ = [
    "Batch",
    "Begun",
    "Map",
    "Method",
    "Option",
    "Options",
    "Ready",
    "degradation_of",
    "needs_attention",
    "resolver",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'm2ib.methods' has no attribute {name!r}")
    return getattr(importlib.import_module(f"m2ib.methods.{_HOMES[name]}"), name)
