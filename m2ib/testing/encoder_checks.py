"""Checks of one encoder, each on its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from m2ib.activations.capture import Tail, record
from m2ib.adapting.layouts import Described
from m2ib.contract.encoder import Encoder
from m2ib.contract.inputs import Item
from m2ib.contract.model import Model
from m2ib.errors import InputError
from m2ib.execution.context import evaluating
from m2ib.methods.bottleneck.information import mix
from m2ib.testing.causes import mixed_batch, random_part
from m2ib.testing.context import FULL, OWN, CheckContext
from m2ib.testing.examples import check_differ, check_examples
from m2ib.testing.layout_checks import check_layout
from m2ib.testing.optional_checks import check_attention, check_degradation
from m2ib.testing.results import (
    CheckFailed,
    CheckResults,
    Skipped,
    difference,
    require,
    run_check,
    shape_of,
)
from m2ib.testing.settings_checks import check_defaults, check_presets, check_reference, check_stride


def check_encoder(
    model: Model,
    encoder: Encoder,
    raws: Sequence[Any],
    tolerance: float,
    advance: Callable[[], None] = lambda: None,
) -> CheckResults:
    """All checks, in order; those that would fail for the reason of an earlier one are left out.

    advance  called once for each of ``ENCODER_CHECKS`` that is done
    """
    items: list[Item] = []

    def prepare() -> None:
        for raw in raws:
            item = model.item(encoder.modality, raw)
            require(isinstance(item, Item), f"prepare gives a {type(item).__name__}, not an Item")
            items.append(item)
        check_differ(items)

    results = [run_check(encoder.modality, "prepare", prepare)]
    if not results[0].failure:
        context = CheckContext(model, encoder, tuple(items), tolerance)
        for name, check in _CHECKS.items():
            advance()
            results.append(run_check(encoder.modality, name, partial(_as_found, context, check)))
            if results[-1].failure and name in _VITAL:
                break
    advance()
    reason = f"{results[-1].check!r} failed"
    skipped = [Skipped(encoder.modality, name, reason) for name in ENCODER_CHECKS[len(results) :]]
    return CheckResults(results, skipped)


def _as_found(context: CheckContext, check: Callable[[CheckContext], None]) -> None:
    with evaluating(context.model.module), torch.no_grad():
        check(context)


def _check_embedding(context: CheckContext) -> None:
    """embed gives (N, D), finite, the same every time."""
    for number, item in enumerate(context.items):
        inputs = context.batch(item)
        out = context.encoder.embed(inputs)
        context.require_embedding(out, 1, "embed", "one input")
        require(bool(torch.isfinite(out).all()), f"embed gives NaN or infinite values for example {number}")
        require(
            torch.equal(out, context.encoder.embed(inputs)),
            "embed gives another embedding at the second call: there is randomness, or state, in the forward pass"
            f"{random_part(context.model.module, partial(context.encoder.embed, inputs))}",
        )


def _check_batch(context: CheckContext) -> None:
    """An input gives the same embedding alone and in a batch."""
    for numbers in context.collatable():
        together = context.encoder.embed(context.batch(*(context.items[n] for n in numbers)))  # (N, D)
        context.require_embedding(together, len(numbers), "embed", f"a batch of {len(numbers)}")
        for row, number in zip(together, numbers, strict=True):
            alone = context.encoder.embed(context.batch(context.items[number]))[0]  # (D,)
            context.require_close(
                row,
                alone,
                f"example {number} has another embedding in a batch than alone",
                mixed_batch(context.model.module, [context.items[n].inputs for n in numbers]),
            )


def _check_layers(context: CheckContext) -> None:
    """Every layer runs once and in order, reads batch first, and writes back what was read."""
    encoder = context.encoder
    require(len(encoder.blocks) > 0, "layers is empty")
    inputs = context.batch(context.items[0])
    for number in range(-1, len(encoder.blocks)):
        layer, name = encoder.layer(number), context.named(number)
        require(layer.at in ("output", "input"), f"{name}: at is {layer.at!r}; it is 'output' or 'input'")
        recording = record(encoder, inputs, number)
        order = list(recording.outputs)
        require(order == sorted(order), f"layers run in the order {order}; list them in the order of running")
        a = recording.activation
        require(
            -a.ndim <= layer.channel_axis < a.ndim and layer.channel_axis % a.ndim != 0,
            f"{name}: channel_axis {layer.channel_axis} is not one of the axes of {shape_of(a)} after the batch",
        )
        back = layer.read(layer.write(recording.outputs[number], a + 1))
        require(
            back.shape == a.shape and torch.equal(back, a + 1),
            f"{name}: read(write(output, x)) is not x: `write` does not put in what it is given where `read` looks",
        )


def _check_tail(context: CheckContext) -> None:
    """The tail gives the model's own embedding for the model's own activation, and another one for another."""
    encoder, inputs = context.encoder, context.batch(context.items[0])
    for number in range(-1, len(encoder.blocks)):
        recording = record(encoder, inputs, number)
        name, a = context.named(number), recording.activation
        noise = torch.randn(a.shape, generator=torch.Generator().manual_seed(1)).to(a)
        both = torch.cat([a, mix(a, torch.zeros_like(a), noise, 1.0)])  # (2, ...)
        results: dict[str, Tensor] = {}
        for which, fast in context.tails().items():
            with torch.no_grad(), Tail(recording, 2, fast=fast) as tail:
                out = tail(both)  # (2, D)
            context.require_embedding(out, 2, f"{name}: {which}", "two activations")
            told = f"{name}: {which} does not give the model's embedding"
            context.require_close(out[0], recording.embedding[0], told)
            require(
                difference(out[1], out[0]) > 1e-6,
                f"{name}: {which} gives the same embedding whatever the activation is: "
                "what `write` puts in is not used",
            )
            results[which] = out
        if OWN in results:
            told = f"{name}: {OWN} differs from the full model on another activation"
            context.require_close(results[OWN][1], results[FULL][1], told)


def _check_padding(context: CheckContext) -> None:
    """What the layout calls unread must not move the embedding, alone or padded in a batch."""
    encoder = context.encoder
    depth = encoder.default_layer if -1 <= encoder.default_layer < len(encoder.blocks) else 0
    for numbers in context.collatable():
        items = [context.items[n] for n in numbers]
        recording = record(encoder, context.batch(*items), depth)
        a = recording.activation  # (N, T, C)
        noisy = a.clone()
        for row, item in zip(noisy, items, strict=True):
            row[a.shape[1] if item.layout.read is None else item.layout.read :] += 1
        with torch.no_grad(), Tail(recording, 1) as tail:
            out = tail(noisy)
        context.require_close(
            out,
            recording.embedding,
            "positions that the layout calls unread do reach the embedding",
            ": `read` is too small, or padding is not masked. Mask it in the blocks and in the pooling; where the model was trained "
            "to read it, leave `read` out",
        )


def _check_described(context: CheckContext) -> None:
    """A preprocessed tensor without batch axis is taken as the raw input it came from."""
    item = context.items[0]
    describe = context.encoder.describe
    if describe is None:
        raise CheckFailed("describe is None: users cannot give preprocessed tensors (m2ib.adapt makes one)")
    described = describe(item.inputs)
    require(isinstance(described, Item), f"describe gives a {type(described).__name__}, not an Item")
    with torch.no_grad():
        first, second = (context.encoder.embed(context.batch(each)) for each in (item, described))
    context.require_close(first, second, "describe(inputs) has another embedding than prepare(raw)")
    alike = _arranged(context, item) == _arranged(context, replace(item, layout=described.layout))
    for part in ("read",) if alike else ("grid", "index", "read"):
        one, other = getattr(item.layout, part), getattr(described.layout, part)
        every = part == "read" and {one, other} == {None, int(np.prod(item.layout.grid or (0,)))}
        require(
            one == other or every,  # None reads all there are
            f"the layout's {part} is {one!s:.60} after prepare(raw) and {other!s:.60} after describe(inputs)"
            + _of_whom(describe, "what m2ib.adapt proves of a tensor; look at the layout of prepare"),
        )
    special = [[token.special for token in each.layout.tokens] for each in (item, described)]
    require(
        special[0] == special[1],
        f"prepare(raw) and describe(inputs) do not agree on the tokens, or on which are special: {special}"
        + _of_whom(
            describe, "m2ib.adapt's, which knows no special tokens: give Encoder(describe=...), ids -> Item"
        ),
    )


def _arranged(context: CheckContext, item: Item) -> list[Any] | None:
    """The positions of the default layer as the item's grid has them; None where they do not fit."""
    try:
        grid = item.layout.to_grid(context.places(item, context.encoder.default_layer))
    except InputError:
        return None
    return [grid.tolist()]


def _of_whom(describe: Any, said: str) -> str:
    """Of a ``describe`` that the author did not write."""
    return f". This describe is {said}" if isinstance(describe, Described) else ""


_CHECKS: dict[str, Callable[[CheckContext], None]] = {
    "embedding": _check_embedding,
    "batch": _check_batch,
    "layers": _check_layers,
    "tail": _check_tail,
    "layout": check_layout,
    "padding": _check_padding,
    "defaults": check_defaults,
    "presets": check_presets,
    "stride": check_stride,
    "reference": check_reference,
    "attention": check_attention,
    "degradation": check_degradation,
    "examples": check_examples,
    "preprocessed input": _check_described,
}
_VITAL = ("embedding", "layers", "layout")
ENCODER_CHECKS = ("prepare", *_CHECKS)
