"""``gradcam``: Grad-CAM (Selvaraju et al., ICCV 2017) at a layer of any encoder.

With the activation a (positions t, channels c) of layer l and the cosine s to the other side::

    w_c = mean over t of ds / da_tc          t over the positions of the grid alone
    L_t = max(0, sum over c of w_c a_tc)                                              (Eq. 1 and 2)

For a transformer, whose class and end tokens are positions as well, the mean and the map are over the cells of the
grid: patches, tokens, moments. Values have no unit.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from m2ib.capture import record
from m2ib.methods.base import Batch, Begun, Map, Method, Ready
from m2ib.methods.gradients import gradient_at
from m2ib.methods.options import Options, layer, resolver


def begin(batch: Batch, settings: Options) -> Begun:
    """One forward pass up to the layer, and from it to the embedding."""
    recording = record(batch.encoder, batch.inputs, settings.layer)

    def maps(targets: Tensor, advance: Callable[[], None]) -> list[Map]:
        gradient, _ = gradient_at(recording, recording.activation, targets, fast=batch.fast)
        advance()
        axis = batch.encoder.layer(settings.layer).channel_axis
        activation, gradient = recording.activation.movedim(axis, -1), gradient.movedim(axis, -1)
        found = []
        for layout, a, g in zip(batch.layouts, activation, gradient, strict=True):  # (*positions, C)
            cells = layout.cells(tuple(a.shape[:-1]))  # (cells,) flat positions
            a, g = a.flatten(0, -2)[cells], g.flatten(0, -2)[cells]  # (cells, C)
            weights = g.mean(0)  # (C,)
            values = (a @ weights).clamp(min=0)  # (cells,)
            found.append(Map(layout.shaped(values.double().cpu().numpy(), tuple(activation.shape[1:-1]))))
        return found

    return Ready(recording.embedding, maps)


def method() -> Method:
    return Method(begin, resolve=resolver(layer()), additive=False)
