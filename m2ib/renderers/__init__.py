"""An attribution and its raw input -> something to look at. The only place that knows modalities."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from m2ib.contract.abilities import Outlining
from m2ib.contract.attribution import Renderer
from m2ib.contract.layout import Layout
from m2ib.contract.regions import Box, Region
from m2ib.errors import AdapterError, PluginError
from m2ib.notices import warn
from m2ib.registry.discovery import default_registry
from m2ib.registry.installed import OWN
from m2ib.renderers.base import scale
from m2ib.renderers.embedding import EmbeddingRenderer, EmbeddingView
from m2ib.renderers.field import FieldRenderer, FieldView
from m2ib.renderers.film import FilmRenderer, FilmView
from m2ib.renderers.image import ImageRenderer, ImageView
from m2ib.renderers.masked_sound import sound_parts
from m2ib.renderers.sound import SoundRenderer
from m2ib.renderers.sound_view import SoundView
from m2ib.renderers.text import TextRenderer
from m2ib.renderers.traces import TracesRenderer, TracesView
from m2ib.renderers.values import ValuesRenderer


def renderer_named(name: str) -> Renderer:
    """The renderer of a stored attribution; plain values, with a warning, for one that is not to be had here."""
    rows = default_registry().renderers
    own = {row.name: row for row in rows if row.origin == OWN}  # what we wrote is ours, whoever took its name
    row = own.get(name) or (rows[name] if name in rows.names else None)
    if row is not None:
        try:
            found: Renderer = row.load()
            return found
        except (AdapterError, PluginError) as error:
            reason = str(error)
    else:
        shared = (line.partition(": ask")[0] for line in rows.conflicts if repr(name) in line)
        reason = next(shared, f"there is no renderer {name!r:.60} here")
    warn(f"{reason}; its maps are shown as plain values")
    return ValuesRenderer()


def renderer_for(view: Any, layout: Layout) -> Renderer:
    """The renderer of a view by its type; words for the view ``{"text": ...}`` of tokens, else plain values."""
    for kind, renderer in _BY_VIEW.items():
        if isinstance(view, kind):
            return renderer()
    if layout.tokens and isinstance(view, Mapping) and "text" in view:
        return TextRenderer()
    return ValuesRenderer()


_BY_VIEW: Mapping[type, Callable[[], Renderer]] = {
    ImageView: ImageRenderer,
    SoundView: SoundRenderer,
    FieldView: FieldRenderer,
    TracesView: TracesRenderer,
    FilmView: FilmRenderer,
    EmbeddingView: EmbeddingRenderer,
}


__all__ = [
    "Box",
    "EmbeddingRenderer",
    "EmbeddingView",
    "FieldRenderer",
    "FieldView",
    "FilmRenderer",
    "FilmView",
    "ImageRenderer",
    "ImageView",
    "Outlining",
    "Region",
    "Renderer",
    "SoundRenderer",
    "SoundView",
    "TextRenderer",
    "TracesRenderer",
    "TracesView",
    "ValuesRenderer",
    "renderer_for",
    "renderer_named",
    "scale",
    "sound_parts",
]
