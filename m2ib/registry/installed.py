"""The entry points of what is installed, and which of them are our own."""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib.metadata import Distribution, EntryPoint, distributions, entry_points

from m2ib.errors import shortened
from m2ib.registry import hookspecs

OWN = "m2ib"
"""The origin of what comes with m2ib, which no other distribution can have."""
OWN_POINTS = ("m2ib.registry.builtin", "m2ib_adapters.plugin")
"""Our own entry points. They are found without metadata, which another distribution of our name could hide."""


def installed() -> Iterable[EntryPoint]:
    """Those of every distribution whose metadata can be read."""
    try:
        return tuple(entry_points(group=hookspecs.GROUP))
    except Exception:  # one distribution with damaged metadata is enough
        return tuple(point for each in distributions() for point in _points_of(each))


def _points_of(distribution: Distribution) -> Iterable[EntryPoint]:
    try:
        return tuple(distribution.entry_points.select(group=hookspecs.GROUP))
    except Exception:
        return ()


def origin_of(point: EntryPoint) -> str:
    """The name of its distribution; of one without a name, the module."""
    try:
        name = point.dist.name  # type: ignore[union-attr]
    except Exception:
        name = ""
    return shortened(str(name or point.value), 80)


def is_our_name(distribution: str) -> bool:
    """As installers compare names."""
    return re.sub(r"[-_.]+", "-", distribution).lower() == OWN
