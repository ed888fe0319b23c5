"""What m2ib finds through the entry point. Imports nothing heavy: what ``load`` names does."""

from __future__ import annotations

from collections.abc import Callable

import m2ib


@m2ib.hookimpl
def m2ib_register_adapters(register: Callable[[m2ib.AdapterSpec], None]) -> None:
    register(
        m2ib.AdapterSpec(
            "minimal",
            "photos and names of colours",
            ("image", "text"),
            "m2ib_minimal.adapter:load",
            can=lambda checkpoint, **options: "its weights stand in its code",
        )
    )
