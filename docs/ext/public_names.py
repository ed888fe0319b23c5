"""Public names, and where the reference has them."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

MODULES = (
    "m2ib",
    "m2ib.methods",
    "m2ib.metrics",
    "m2ib.renderers",
    "m2ib.testing",
    "m2ib.data",
    "m2ib.scenes",
    "m2ib.results",
    "m2ib.export",
)
KIT = "m2ib_adapters.kit"


def named(path: str) -> Any:
    """``m2ib.methods.Batch`` -> the class."""
    module, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError):
        raise ValueError(f"docs: there is no {path}") from None


def identifier(name: str) -> str | None:
    """A name as it stands in a docstring -> where the reference has it."""
    for module in (*MODULES, KIT):
        home = importlib.import_module(module)
        for public in home.__all__:
            owner, _, member = name.removeprefix(f"{module}.").partition(".")
            if owner == public and (not member or _shown(getattr(home, public), member)):
                return f"{module}.{public}{member and '.'}{member}"
    return None


def _shown(owner: Any, member: str) -> bool:
    found = inspect.getattr_static(owner, member, None)
    return (inspect.isfunction(found) or isinstance(found, property)) and bool(found.__doc__)
