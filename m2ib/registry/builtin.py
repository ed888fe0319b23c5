"""Registers the methods and renderers that come with m2ib, as any plugin does. Imports nothing heavy: each ``load`` does."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from m2ib.registry.hookspecs import hookimpl
from m2ib.registry.specs import MethodSpec, RendererSpec

if TYPE_CHECKING:
    from m2ib.contract.attribution import Renderer
    from m2ib.methods.base import Method


def _loader(module: str, function: str = "method") -> Callable[[], Method]:
    def load() -> Method:
        made: Method = getattr(importlib.import_module(f"m2ib.methods.{module}"), function)()
        return made

    return load


@hookimpl
def m2ib_register_methods(register: Callable[[MethodSpec], None]) -> None:
    """The bottleneck, what it is compared with, and the controls."""
    for spec in (
        MethodSpec(
            "m2ib",
            "multi-modal information bottleneck (Wang et al. 2023)",
            _loader("bottleneck"),
            settings=(
                "layer",
                "beta",
                "variance",
                "steps",
                "samples",
                "lr",
                "readout",
                "granularity",
                "standardize",
                "shifts",
                "smooth",
                "noise",
                "preset",
            ),
        ),
        MethodSpec(
            "gradcam", "Grad-CAM at a layer (Selvaraju et al. 2017)", _loader("gradcam"), settings=("layer",)
        ),
        MethodSpec(
            "saliency",
            "size of the gradient at the input (Simonyan et al. 2014)",
            _loader("saliency"),
            settings=("layer",),
        ),
        MethodSpec(
            "integrated-gradients",
            'integrated gradients (Sundararajan et al. 2017); preset "nib": the narrowing information bottleneck',
            _loader("integrated_gradients"),
            settings=("at", "layer", "steps", "rule", "preset"),
            extra="m2ib[evaluate]",
        ),
        MethodSpec(
            "kernelshap",
            "Shapley values by weighted regression (Lundberg and Lee 2017)",
            _loader("kernelshap"),
            settings=("layer", "masks"),
            hides=True,
        ),
        MethodSpec(
            "rise",
            "what is left visible when the cosine is high (Petsiuk et al. 2018)",
            _loader("rise"),
            settings=("layer", "masks", "keep", "cells"),
            hides=True,
        ),
        MethodSpec(
            "chefer",
            "attention relevance (Chefer et al. 2021)",
            _loader("chefer"),
            settings=("first",),
            attention=True,
        ),
        MethodSpec(
            "grad-eclip",
            "values weighed by gradient and loosened attention (Zhao et al. 2024)",
            _loader("grad_eclip"),
            settings=("blocks",),
            attention=True,
        ),
        MethodSpec(
            "legrad",
            "attention gradients over layers (Bousselham et al. 2024)",
            _loader("legrad"),
            settings=("first",),
            attention=True,
        ),
        MethodSpec(
            "uniform",
            "control: 1 everywhere",
            _loader("controls", "uniform"),
            settings=("layer",),
            control=True,
        ),
        MethodSpec(
            "random",
            "control: noise",
            _loader("controls", "random"),
            settings=("layer",),
            control=True,
        ),
    ):
        register(spec)


def _renderer(name: str) -> Callable[[], Renderer]:
    def load() -> Renderer:
        made: Renderer = getattr(importlib.import_module("m2ib.renderers"), name)()
        return made

    return load


@hookimpl
def m2ib_register_renderers(register: Callable[[RendererSpec], None]) -> None:
    """What is looked at: pictures, words, sounds, fields of measured values, traces, films, and plain numbers."""
    for spec in (
        RendererSpec("image", "a picture under its heat", _renderer("ImageRenderer")),
        RendererSpec("text", "words shaded by their value", _renderer("TextRenderer")),
        RendererSpec("sound", "a spectrogram under its heat, with the sound", _renderer("SoundRenderer")),
        RendererSpec("field", "measured values under their heat: depth, warmth", _renderer("FieldRenderer")),
        RendererSpec("traces", "curves over time, shaded", _renderer("TracesRenderer")),
        RendererSpec("film", "moments of a video under their heat", _renderer("FilmRenderer")),
        RendererSpec("values", "a grid of any shape as numbers", _renderer("ValuesRenderer")),
    ):
        register(spec)
