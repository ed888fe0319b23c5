"""CLIP through transformers: ``CLIPModel`` from a hub id or a local folder."""

from __future__ import annotations

from functools import partial
from typing import Any

from m2ib.contract.model import Model
from m2ib_adapters.huggingface.adapter import fault, load_family

can = partial(fault, "clip", ("clip",))


def load(**options: Any) -> Model:
    """A CLIP of any size with a ViT; ``options`` are all of :func:`load_family` but ``max_patches``."""
    return load_family("clip", ("clip",), **options)
