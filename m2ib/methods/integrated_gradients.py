"""``integrated-gradients``: the cosine, divided among the parts of an input (Sundararajan, Taly and Yan, ICML 2017).

Along the straight line from a baseline x' to the input x, with the cosine f to the other side (Eq. 1)::

    IG_i = (x_i - x'_i) * integral over u from 0 to 1 of  df/dx_i at x' + u (x - x')

``IG`` of all elements adds up to f(x) - f(x') (Proposition 1), so a cell of the map has the sum of its own.

``at="input"``  Numbers: x' is the input with everything taken out, as the encoder's degradation does (its ``fill``, 0
                for most). With k_t how much is kept of cell t, x(k) = x' + (x - x') k_t is straight in k, and IG
                summed over the cell is the integral of df/dk_t. That is what is computed. Token ids: at the embedding
                output (layer -1), from a baseline of 0.
``at="layer"``  x is the activation of ``layer``, summed over channels, from a baseline of 0. What is not in the
                map (class and register tokens) keeps its part of the sum.

The integral is a sum over ``steps`` points: "gausslegendre", "trapezoid" (both ends included) or "right" (the right
ends of equal intervals). It is Captum's, but for the trapezoids: Captum gives them n intervals' width over n - 1
intervals, which is set right here. How far a map's sum is from f(x) - f(x') tells what is missing: a layer norm right
after a baseline of 0 changes fastest near it, and wants many steps.

``preset="nib"`` is the attribution of the Narrowing Information Bottleneck (Zhu et al., ICLR 2025): from a baseline of 0
in 10 right steps, at the *input* of the block whose output carries the bottleneck of Wang et al. 2023: the layer before
the adapter's default. Its authors judge texts by scaling embeddings with the scores, where Wang et al. replace tokens:
their numbers for texts compare with no others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from m2ib.activations.capture import Recording, Tail, record
from m2ib.contract.degradation import fill_cells, holds_numbers
from m2ib.contract.encoder import Encoder
from m2ib.contract.similarity import joined
from m2ib.contract.targets import Targets
from m2ib.methods.base import Batch, Map, Method, PreparedBatch, Settings, degradation_of
from m2ib.methods.gradients import gradient_of

AT_ONCE = 10  # points of the line in one forward and backward pass
RULES = {"right": "riemann_right", "trapezoid": "riemann_trapezoid", "gausslegendre": "gausslegendre"}


@dataclass(frozen=True)
class Line:
    """Of one input: from ``start`` to ``end`` (1, ...).

    embed  (K, ...) points of it -> (K, D)
    grid   what the elements have, (1, ...) -> the map
    """

    start: Tensor
    end: Tensor
    embed: Callable[[Tensor], Tensor]
    grid: Callable[[Tensor], np.ndarray]


def over_cells(one: Batch, grid: tuple[int, ...]) -> Line:
    """How much is kept of each cell of one input: nothing of what can be hidden, to all."""
    encoder, layout = one.encoder, one.layouts[0]
    degradation = degradation_of(encoder)
    positions = degradation.positions(one.inputs, grid)
    end = torch.ones(
        1, *grid, dtype=torch.promote_types(one.model.dtype, torch.float32), device=one.model.device
    )
    start = end * ~degradation.hideable(layout, grid).to(end.device)

    def embed(keep: Tensor) -> Tensor:
        return encoder.embed(degradation.apply(one.inputs, fill_cells(keep, positions), layout))

    return Line(start, end, embed, lambda values: values[0].cpu().double().numpy())


def over_activation(one: Batch, recording: Recording) -> Line:
    """The activation of the recorded layer of one input, from 0."""
    activation = recording.activation  # (1, ...)
    axis = recording.encoder.layer(recording.layer).channel_axis

    def embed(z: Tensor) -> Tensor:
        with Tail(recording, len(z), fast=one.fast) as tail:
            return tail(z.to(activation.dtype))

    def grid(values: Tensor) -> np.ndarray:
        return one.layouts[0].to_grid(values.cpu().double().sum(axis)[0].numpy())

    end = activation.to(torch.promote_types(activation.dtype, torch.float32))
    return Line(torch.zeros_like(end), end, embed, grid)


def prepare(batch: Batch, settings: Settings, integrated: Any) -> PreparedBatch:
    """integrated  Captum's class"""
    encoder = batch.encoder
    hideable = encoder.degradation is not None or holds_numbers(batch.inputs)
    fades = degradation_of(encoder).gradual and hideable
    if settings.at == "input" and fades:
        grids = batch.grids(settings.layer)
        lines = [over_cells(one, grid) for one, grid in zip(batch.singles(), grids, strict=True)]
        embedding = batch.embed()
    else:
        number = settings.layer if settings.at == "layer" else -1
        recordings = [record(encoder, one.inputs, number) for one in batch.singles()]
        lines = list(map(over_activation, batch.singles(), recordings))
        embedding = joined([recording.embedding for recording in recordings])

    def maps(targets: Targets, advance: Callable[[], None]) -> list[Map]:
        found = []
        for number, (line, target) in enumerate(zip(lines, targets, strict=True)):
            found.append(Map(line.grid(_along(line, target, settings, integrated, encoder))))
            done = [settings.steps * inputs // len(lines) for inputs in (number, number + 1)]
            for _ in range(*done):
                advance()
        return found

    return PreparedBatch(embedding, maps)


def _along(line: Line, target: Targets, settings: Settings, integrated: Any, encoder: Encoder) -> Tensor:
    """IG of each element, (1, ...)."""

    def similarity(points: Tensor) -> Tensor:
        return target(line.embed(points))

    with torch.enable_grad():  # Captum does not say what is wrong with a graph
        end = line.end.detach().requires_grad_()
        gradient_of(similarity(end), end, encoder, -1)
    options = {"n_steps": settings.steps, "method": RULES[settings.rule], "internal_batch_size": AT_ONCE}
    attributed: Tensor = integrated(similarity).attribute(line.end, baselines=line.start, **options)
    wide = settings.steps / (settings.steps - 1) if settings.rule == "trapezoid" else 1
    return attributed * wide


def method() -> Method:
    """Raises :class:`ImportError` where Captum is not installed."""
    from captum.attr import IntegratedGradients

    return Method(
        lambda batch, settings: prepare(batch, settings, IntegratedGradients),
        "cosine",
        steps=lambda settings: int(settings.steps),
        signs="values",
    )
