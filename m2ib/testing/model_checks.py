"""Checks of a model as a whole: its encoders together, and how it is left."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from m2ib.adapting.shapes import shape_text
from m2ib.api import explain
from m2ib.contract.model import Model
from m2ib.errors import M2IBWarning
from m2ib.execution.context import evaluating
from m2ib.page.explanation import render_page
from m2ib.results.explanation import load_explanation
from m2ib.testing.causes import batch_statistics
from m2ib.testing.results import CheckFailed, Result, require, require_embedding, run_check


def check_model(model: Model, examples: Mapping[str, Sequence[Any]]) -> None:
    """A module, an encoder for each modality, and one size of embedding."""
    require(
        isinstance(model.module, nn.Module),
        f"module is a {type(model.module).__name__}, not a torch.nn.Module",
    )
    require(len(model.encoders) > 0, "there is no encoder")
    sizes: dict[str, int] = {}
    for modality, encoder in model.encoders.items():
        require(
            encoder.modality == modality,
            f"the encoder under {modality!r} says that its modality is {encoder.modality!r}",
        )
        require(
            len(examples.get(modality, ())) >= 2,
            f"no two examples for {modality!r} were given; the model takes {', '.join(model.modalities)}",
        )
        item = model.item(modality, examples[modality][0])
        inputs = model.collate(modality, [item])
        try:
            with evaluating(model.module), torch.no_grad():
                out = encoder.embed(inputs)
        except Exception as error:  # a stranger's code may raise anything
            raise CheckFailed(
                f"{modality}: embed raised {type(error).__name__} on inputs {shape_text(inputs)}, which is what prepare gives "
                f"with a batch axis before it: {' '.join(str(error).split())}{batch_statistics(model.module)}"
            ) from error
        require_embedding(out, 1, f"{modality}: embed", "one input", sets=model.similarity.sets)
        sizes[modality] = out.shape[-1]
    require(
        len(set(sizes.values())) == 1, f"the embeddings differ in size: {sizes}; they must share one space"
    )


def check_pairs(model: Model, examples: Mapping[str, Sequence[Any]]) -> list[Result]:
    """Explain every modality with the next one, look at the result, save and load it."""
    results = []
    for modality, other in pairs_of(model):
        pair = (modality, examples[modality][0]), (other, examples[other][1])
        results.append(run_check(modality, pair_check(other), partial(_check_pair, model, pair)))
    return results


def pairs_of(model: Model) -> list[tuple[str, str]]:
    """Every modality with the next one."""
    modalities = model.modalities
    return [(one, modalities[(number + 1) % len(modalities)]) for number, one in enumerate(modalities)]


def pair_check(other: str) -> str:
    """The name of the check."""
    return f"explain with {other}"


def _check_pair(model: Model, pair: Sequence[tuple[str, Any]]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", M2IBWarning)
        explanation = explain(model, *pair, steps=2, samples=2, show_progress=False)
        again = explain(model, *pair, steps=2, samples=2, show_progress=False)
    for attribution, repeated in zip(explanation, again, strict=True):
        who = attribution.modality
        require(
            bool(np.isfinite(attribution.grid).all()), f"the map of the {who} holds NaN or infinite values"
        )
        require(
            np.array_equal(attribution.grid, repeated.grid),
            f"the map of the {who} changes between two runs with one seed",
        )
        scores = attribution.scores
        require(
            bool((scores >= 0).all() and (scores <= 1).all()),
            f"the renderer's scores of the {who} leave [0, 1]: {scores.min():g} to {scores.max():g}",
        )
    require("<figure" in render_page([explanation]), "the renderers' fragments hold no <figure>")
    explanation.figure()
    with tempfile.TemporaryDirectory() as folder:
        try:
            loaded = load_explanation(explanation.save(folder))
        except TypeError as error:  # json, of something it does not know
            require(
                False, f"the explanation cannot be saved: {error}; origin and stored view must be JSON-able"
            )
    for attribution, back in zip(explanation, loaded, strict=True):
        require(
            np.array_equal(attribution.grid, back.grid),
            f"the map of the {attribution.modality} is not what it was once saved and loaded",
        )


def state(module: nn.Module) -> dict[str, Any]:
    """What an explanation must leave as it was, part by part."""
    parts: dict[str, Any] = {}
    for name, part in module.named_modules():
        where = name or "the module"
        parts[f"hooks on {where}"] = len(part._forward_hooks), len(part._forward_pre_hooks)
        parts[f"forward of {where}"] = part.__dict__.get("forward")
        parts[f"mode of {where}"] = part.training
    for name, parameter in module.named_parameters():
        parts[f"requires_grad of {name}"] = parameter.requires_grad
        parts[f"values of {name}"] = parameter._version  # counts in-place changes
    for name, buffer in module.named_buffers():
        parts[f"values of {name}"] = buffer._version
    return parts


def check_left_as_found(module: nn.Module, found: Mapping[str, Any]) -> None:
    """Nothing of :func:`state` has changed."""
    now = state(module)
    changed = [what for what in {**found, **now} if found.get(what) != now.get(what)]
    require(not changed, f"the model is left changed: {', '.join(changed[:5])}")
