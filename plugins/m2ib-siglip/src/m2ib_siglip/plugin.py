"""What m2ib finds through the entry point. Imports nothing heavy: ``load`` does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import m2ib


def load(**options: Any) -> m2ib.Model:
    from m2ib_siglip.adapter import load

    return load(**options)


@m2ib.hookimpl
def m2ib_register_adapters(register: Callable[[m2ib.AdapterSpec], None]) -> None:
    register(
        m2ib.AdapterSpec(
            name="siglip",
            summary="SigLIP and SigLIP 2 through transformers, of fixed resolution and NaFlex",
            modalities=("image", "text"),
            load=load,
            models="any SiglipModel or Siglip2Model: hub id (google/siglip-base-patch16-224) or local folder",
            extra="m2ib-siglip",
            options=("max_patches", "attention"),
            attention=("image", "text"),
        )
    )
