"""Why does a shared-embedding model put two things close together?

>>> import m2ib
>>> model = m2ib.load_model("photo")
>>> explanation = m2ib.explain(model, image="cat.jpg", text="a tabby cat")
>>> explanation.to_html("cat.html")

Names are imported at first use, so that ``import m2ib`` and listing adapters load no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from m2ib.errors import (
    AdapterError,
    CheckpointError,
    InputError,
    M2IBError,
    M2IBWarning,
    SettingError,
    StorageError,
)
from m2ib.hookspecs import hookimpl
from m2ib.registry import Registry, list_adapters, list_methods, list_renderers
from m2ib.specs import AdapterSpec, MethodSpec, RendererSpec

if TYPE_CHECKING:
    from m2ib.adapting import adapt
    from m2ib.api import contrast, explain, explain_many, good_layers
    from m2ib.attribution import Attribution
    from m2ib.boxes import read_boxes
    from m2ib.contract import (
        Attention,
        Axis,
        Defaults,
        Encoder,
        Inputs,
        Item,
        Layer,
        Layout,
        Token,
        read_first,
        read_sequence_first,
        write_first,
        write_sequence_first,
    )
    from m2ib.degradation import Degradation, Fading, Replacing
    from m2ib.explanation import Explanation
    from m2ib.model import Model, load_model
    from m2ib.notices import warn
    from m2ib.page import write_page
    from m2ib.renderers import Box, Region
    from m2ib.settings import PRESETS, FitSettings
    from m2ib.storage import load_explanation

_HOMES = {
    "adapt": "adapting",
    "Attention": "contract",
    "Attribution": "attribution",
    "Axis": "contract",
    "Box": "renderers",
    "Region": "renderers",
    "Defaults": "contract",
    "Encoder": "contract",
    "Inputs": "contract",
    "Item": "contract",
    "Layer": "contract",
    "Layout": "contract",
    "Token": "contract",
    "read_boxes": "boxes",
    "read_first": "contract",
    "read_sequence_first": "contract",
    "write_first": "contract",
    "write_sequence_first": "contract",
    "contrast": "api",
    "explain": "api",
    "explain_many": "api",
    "good_layers": "api",
    "Degradation": "degradation",
    "Explanation": "explanation",
    "Fading": "degradation",
    "Replacing": "degradation",
    "Model": "model",
    "load_model": "model",
    "write_page": "page",
    "FitSettings": "settings",
    "PRESETS": "settings",
    "load_explanation": "storage",
    "warn": "notices",
}

__all__ = [
    "PRESETS",
    "AdapterError",
    "AdapterSpec",
    "Attention",
    "Attribution",
    "Axis",
    "Box",
    "CheckpointError",
    "Defaults",
    "Degradation",
    "Encoder",
    "Explanation",
    "Fading",
    "FitSettings",
    "InputError",
    "Inputs",
    "Item",
    "Layer",
    "Layout",
    "M2IBError",
    "M2IBWarning",
    "MethodSpec",
    "Model",
    "Region",
    "Registry",
    "RendererSpec",
    "Replacing",
    "SettingError",
    "StorageError",
    "Token",
    "adapt",
    "contrast",
    "explain",
    "explain_many",
    "good_layers",
    "hookimpl",
    "list_adapters",
    "list_methods",
    "list_renderers",
    "load_explanation",
    "load_model",
    "read_boxes",
    "read_first",
    "read_sequence_first",
    "warn",
    "write_first",
    "write_page",
    "write_sequence_first",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'm2ib' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"m2ib.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
