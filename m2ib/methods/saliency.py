"""``saliency``: the size of the gradient at the input (Simonyan, Vedaldi and Zisserman, ICLR workshop 2014, Section 3).

With the cosine s to the other side, for an input x of numbers (positions t, channels c)::

    w_t = max over c of | ds / dx_tc |

Channels are everything that is no position: the colours of a picture, the bands of a sound where only time is a
position. A cell of the map has the mean of w over its positions.

For token ids there is nothing to differentiate; nor is there where the adapter does not tell which axes of its inputs
are positions. There x is the embedding output (layer -1) and w_t the Euclidean length of the gradient at t, usual for
texts (Atanasova et al., EMNLP 2020): which channel of an embedding a direction falls on is chance, and the length does
not depend on it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from m2ib.activations.capture import record
from m2ib.contract.degradation import Fading, gather, holds_numbers
from m2ib.contract.targets import Targets
from m2ib.methods.base import Batch, Map, Method, PreparedBatch, Settings, degradation_of
from m2ib.methods.gradients import gradient_at, gradient_of


def prepare(batch: Batch, settings: Settings) -> PreparedBatch:
    degradation = degradation_of(batch.encoder)
    grids = batch.grids(settings.layer)
    if holds_numbers(batch.inputs) and isinstance(degradation, Fading):
        return _at_input(batch, batch.inputs, degradation, grids)
    return _at_embedding(batch, grids)


def _at_input(batch: Batch, inputs: Tensor, fading: Fading, grids: list[tuple[int, ...]]) -> PreparedBatch:
    places = [fading.places(inputs.ndim - 1, grid) for grid in grids]

    def maps(targets: Targets, advance: Callable[[], None]) -> list[Map]:
        with torch.enable_grad():
            x = inputs.detach().requires_grad_()  # (N, ...)
            gradient = gradient_of(targets(batch.encoder.embed(x)), x, batch.encoder, -1)
        advance()
        found = []
        for grid, axes, g in zip(grids, places, gradient.abs().cpu().double(), strict=True):  # (...)
            rest = [axis for axis in range(g.ndim) if axis not in axes]
            positions = [g.shape[axis] for axis in axes]
            largest = g.permute(*axes, *rest).reshape(*positions, -1).amax(-1)  # (*positions)
            largest = largest[tuple(map(slice, fading.read(tuple(positions))))]  # those under the cells
            found.append(Map(gather(largest[None], grid)[0].numpy()))
        return found

    return PreparedBatch(batch.embed(), maps)


def _at_embedding(batch: Batch, grids: list[tuple[int, ...]]) -> PreparedBatch:
    recording = record(batch.encoder, batch.inputs, -1)

    def maps(targets: Targets, advance: Callable[[], None]) -> list[Map]:
        gradient, _ = gradient_at(recording, recording.activation, targets, fast=batch.fast)
        advance()
        lengths = gradient.cpu().double().norm(dim=batch.encoder.layer(-1).channel_axis)  # (N, *positions)
        found = []
        for layout, grid, values in zip(batch.layouts, grids, lengths, strict=True):
            own = torch.from_numpy(layout.to_grid(values.numpy()))
            found.append(Map(gather(own[None], grid)[0].numpy()))
        return found

    return PreparedBatch(recording.embedding, maps)


def method() -> Method:
    return Method(prepare, additive=False, signs="none")
