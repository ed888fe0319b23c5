"""What m2ib finds through the entry point. Imports nothing heavy: what ``load`` names does."""

from __future__ import annotations

from collections.abc import Callable

import m2ib


@m2ib.hookimpl
def m2ib_register_adapters(register: Callable[[m2ib.AdapterSpec], None]) -> None:
    register(
        m2ib.AdapterSpec(
            name="clap",
            summary="CLAP through transformers: sounds and texts",
            modalities=("audio", "text"),
            load="m2ib_clap.adapter:load",
            models="any ClapModel, fused or not: hub id (laion/clap-htsat-unfused) or local folder, or the model in memory",
            extra="m2ib-clap",
            options=("processor", "tokenizer"),
            attention=("text",),
            in_memory=("ClapModel",),
            presets=("fine",),
            can="m2ib_clap.adapter:can",
        )
    )
