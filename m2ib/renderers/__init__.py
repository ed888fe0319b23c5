"""An attribution and its raw input -> something to look at. The only place that knows modalities."""

from __future__ import annotations

from m2ib.renderers.base import Outlining, Renderer, scale
from m2ib.renderers.field import FieldRenderer, FieldView
from m2ib.renderers.film import FilmRenderer, FilmView
from m2ib.renderers.image import Box, ImageRenderer, ImageView
from m2ib.renderers.regions import Region
from m2ib.renderers.sound import SoundRenderer, SoundView
from m2ib.renderers.text import TextRenderer
from m2ib.renderers.traces import TracesRenderer, TracesView
from m2ib.renderers.values import ValuesRenderer

_BUILT_IN: tuple[Renderer, ...] = (
    ImageRenderer(),
    TextRenderer(),
    SoundRenderer(),
    FieldRenderer(),
    TracesRenderer(),
    FilmRenderer(),
    ValuesRenderer(),
)


def renderer_named(name: str) -> Renderer:
    """The renderer of a stored attribution; plain values for one that is not installed here."""
    return next((renderer for renderer in _BUILT_IN if renderer.name == name), _BUILT_IN[-1])


__all__ = [
    "Box",
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
    "renderer_named",
    "scale",
]
