"""Registers the methods and renderers that come with m2ib, as any plugin does. Imports nothing heavy: each ``load`` does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from m2ib.contract.settings import block, choice, count, layer, preset, share
from m2ib.methods.bottleneck.settings import SETTINGS
from m2ib.registry.hookspecs import hookimpl
from m2ib.registry.specs import MethodSpec, PairMethodSpec, RendererSpec

if TYPE_CHECKING:
    from m2ib.contract.encoder import Encoder


def _gradual(encoder: Encoder) -> bool:
    """Whether parts of its inputs can be hidden in part, as of everything but texts."""
    return encoder.degradation is None or encoder.degradation.gradual


def _masks(encoder: Encoder) -> int:
    """2,048 versions of an input, of a text 256, as for RISE in Wang et al. 2023 (Section 4.4)."""
    return 2048 if _gradual(encoder) else 256


def _last_blocks(encoder: Encoder) -> int:
    """What Grad-ECLIP's paper takes: eight of twelve for texts, else one."""
    return 1 if _gradual(encoder) else max(1, round(len(encoder.blocks) * 2 / 3))


def _last_with_places(encoder: Encoder) -> int:
    """The last layer whose cells can matter."""
    last = len(encoder.blocks) - 1
    if encoder.attention is not None:
        return last if encoder.attention.pooled is None else last - 1
    return last if encoder.layer(last).channel_axis == 1 else encoder.default_layer


_GRID = layer("whose grid the map is on, where the layout leaves that to the layer")
_MASKS = count("masks", "how many versions of the input are looked at", _masks)
_FIRST = block("first", "the block that the sum over blocks begins with", 0)
_NIB = {
    "at": "layer",
    "layer": lambda encoder: max(encoder.default_layer - 1, -1),
    "steps": 10,
    "rule": "right",
}


@hookimpl
def m2ib_register_methods(register: Callable[[MethodSpec], None]) -> None:
    """The bottleneck, what it is compared with, and the controls."""
    for spec in (
        MethodSpec(
            "m2ib",
            "multi-modal information bottleneck (Wang et al. 2023)",
            "m2ib.methods.bottleneck.method:method",
            SETTINGS,
        ),
        MethodSpec(
            "gradcam",
            "Grad-CAM at a layer (Selvaraju et al. 2017)",
            "m2ib.methods.gradcam:method",
            (layer("the block whose output is looked at", _last_with_places),),
        ),
        MethodSpec(
            "saliency",
            "size of the gradient at the input (Simonyan et al. 2014)",
            "m2ib.methods.saliency:method",
            (_GRID,),
        ),
        MethodSpec(
            "integrated-gradients",
            'integrated gradients (Sundararajan et al. 2017); preset "nib": the narrowing information bottleneck',
            "m2ib.methods.integrated_gradients:method",
            (
                choice("at", "whether the input or a layer's output is divided", ("input", "layer")),
                layer("that is divided, and whose grid the map is on"),
                count("steps", "points of the line from the baseline", 50, least=2),
                choice(
                    "rule",
                    "where the points lie, and what each counts",
                    ("right", "trapezoid", "gausslegendre"),
                    "gausslegendre",
                ),
                preset({"nib": _NIB}),
            ),
            extra="m2ib[evaluate]",
        ),
        MethodSpec(
            "kernelshap",
            "Shapley values by weighted regression (Lundberg and Lee 2017)",
            "m2ib.methods.kernelshap:method",
            (_GRID, _MASKS),
            hides=True,
        ),
        MethodSpec(
            "rise",
            "what is left visible when the similarity is high (Petsiuk et al. 2018)",
            "m2ib.methods.rise:method",
            (
                _GRID,
                _MASKS,
                share("keep", "probability that a cell of a mask is visible", 0.5),
                count("cells", "of a mask along each axis, before it is enlarged; the paper's 7", 7),
            ),
            hides=True,
        ),
        MethodSpec(
            "chefer",
            "attention relevance (Chefer et al. 2021)",
            "m2ib.methods.chefer:method",
            (_FIRST,),
            attention=True,
        ),
        MethodSpec(
            "grad-eclip",
            "values weighed by gradient and loosened attention (Zhao et al. 2024)",
            "m2ib.methods.grad_eclip:method",
            (
                count(
                    "blocks",
                    "how many of the last are summed up",
                    _last_blocks,
                    most=lambda encoder: len(encoder.blocks),
                ),
            ),
            attention=True,
        ),
        MethodSpec(
            "legrad",
            "attention gradients over layers (Bousselham et al. 2024)",
            "m2ib.methods.legrad:method",
            (_FIRST,),
            attention=True,
        ),
        MethodSpec(
            "uniform", "control: 1 everywhere", "m2ib.methods.controls:uniform", (_GRID,), control=True
        ),
        MethodSpec("random", "control: noise", "m2ib.methods.controls:random", (_GRID,), control=True),
        PairMethodSpec(
            "second-order",
            "interactions: integrated Jacobians of both inputs (Moeller et al. 2025)",
            "m2ib.methods.interactions.second_order:method",
            (
                layer("at which both are taken apart"),
                count("steps", "points of the line from the baseline", 8),
                choice(
                    "baseline",
                    "where the line begins: what passes there of the input with everything hidden, the mean over reference inputs, or 0",
                    ("hidden", "usual", "zero"),
                ),
                *(each for each in SETTINGS if each.name == "shifts"),
            ),
        ),
        PairMethodSpec(
            "by-word",
            "interactions: the bottleneck of one input against what each word of the other brings",
            "m2ib.methods.interactions.by_word:method",
            tuple(replace(each, default=5) if each.name == "samples" else each for each in SETTINGS),
        ),
        PairMethodSpec(
            "banzhaf",
            "interactions: what units do together when others are hidden (Grabisch and Roubens 1999)",
            "m2ib.methods.interactions.banzhaf:method",
            (
                _GRID,
                count("masks", "how many versions of each input are looked at", 512, least=4),
                count(
                    "units", "cells of a grid at most, neighbours hidden together where there are more", 64
                ),
            ),
            hides=True,
        ),
        PairMethodSpec(
            "maxsim",
            "interactions: which vectors are matched, of a model of late interaction (Khattab and Zaharia 2020)",
            "m2ib.methods.interactions.maxsim:method",
            (_GRID,),
        ),
    ):
        register(spec)


@hookimpl
def m2ib_register_renderers(register: Callable[[RendererSpec], None]) -> None:
    """What is looked at: pictures, words, sounds, fields of measured values, traces, films, given embeddings, and plain numbers."""
    for name, summary, kind in (
        ("image", "a picture under its heat", "ImageRenderer"),
        ("text", "words shaded by their value", "TextRenderer"),
        ("sound", "a spectrogram under its heat, with the sound", "SoundRenderer"),
        ("field", "measured values under their heat: depth, warmth", "FieldRenderer"),
        ("traces", "curves over time, shaded", "TracesRenderer"),
        ("film", "moments of a video under their heat", "FilmRenderer"),
        ("embedding", "a vector that was given in place of an input, without a map", "EmbeddingRenderer"),
        ("values", "a grid of any shape as numbers", "ValuesRenderer"),
    ):
        register(RendererSpec(name, summary, f"m2ib.renderers:{kind}"))
