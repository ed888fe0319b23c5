"""What m2ib finds through the entry point. Imports nothing heavy: ``load`` does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import m2ib


def load(**options: Any) -> m2ib.Model:
    from m2ib_minimal.adapter import load

    return load(**options)


@m2ib.hookimpl
def m2ib_register_adapters(register: Callable[[m2ib.AdapterSpec], None]) -> None:
    register(m2ib.AdapterSpec("minimal", "photos and names of colours", ("image", "text"), load))
