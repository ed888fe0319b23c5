"""What m2ib finds through the entry point. Imports nothing heavy: what ``load`` names does."""

from __future__ import annotations

from collections.abc import Callable

import m2ib


@m2ib.hookimpl
def m2ib_register_adapters(register: Callable[[m2ib.AdapterSpec], None]) -> None:
    register(
        m2ib.AdapterSpec(
            name="siglip",
            summary="SigLIP and SigLIP 2 through transformers, of fixed resolution and NaFlex",
            modalities=("image", "text"),
            load="m2ib_siglip.adapter:load",
            models="any SiglipModel or Siglip2Model: hub id (google/siglip-base-patch16-224) or local folder, or the model in memory",
            extra="m2ib-siglip",
            options=("max_patches", "attention", "processor", "tokenizer", "image_size", "image"),
            attention=("image", "text"),
            in_memory=("SiglipModel", "Siglip2Model"),
            can="m2ib_siglip.adapter:can",
        )
    )
