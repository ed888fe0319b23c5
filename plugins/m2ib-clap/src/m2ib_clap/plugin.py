"""What m2ib finds through the entry point. Imports nothing heavy: ``load`` does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import m2ib


def load(**options: Any) -> m2ib.Model:
    from m2ib_clap.adapter import load

    return load(**options)


@m2ib.hookimpl
def m2ib_register_adapters(register: Callable[[m2ib.AdapterSpec], None]) -> None:
    register(
        m2ib.AdapterSpec(
            name="clap",
            summary="CLAP through transformers: sounds and texts",
            modalities=("audio", "text"),
            load=load,
            models="any ClapModel, fused or not: hub id (laion/clap-htsat-unfused) or local folder",
            extra="m2ib-clap",
            attention=("text",),
        )
    )
