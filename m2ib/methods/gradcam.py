"""``gradcam``: Grad-CAM (Selvaraju et al., ICCV 2017) at a layer of any encoder.

With the activation a (positions t, channels c) of layer l and the cosine s to the other side::

    w_c = mean over t of ds / da_tc          t over the positions of the grid alone
    L_t = max(0, sum over c of w_c a_tc)                                              (Eq. 1 and 2)

For a transformer, whose class and end tokens are positions as well, the mean and the map are over the cells of the
grid: patches, tokens, moments. Values have no unit.

By default l is where the paper looks, at the last layer that still knows places: of maps (N, C, H, W) and of a
transformer whose tokens are averaged or pooled by attention the last block; the one before it where the embedding is
read at one position, since none but that one matters after the last block. Of an encoder that does not say how it is
read: the adapter's default.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from m2ib.activations.capture import record
from m2ib.activations.reach import content_reached
from m2ib.contract.targets import Targets
from m2ib.methods.base import Batch, Map, Method, PreparedBatch, Settings
from m2ib.methods.gradients import gradient_at


def prepare(batch: Batch, settings: Settings) -> PreparedBatch:
    """One forward pass up to the layer, and from it to the embedding."""
    recording = record(batch.encoder, batch.inputs, settings.layer)

    def maps(targets: Targets, advance: Callable[[], None]) -> list[Map]:
        gradient, _ = gradient_at(recording, recording.activation, targets, fast=batch.fast)
        warnings = _unreached(batch, settings.layer, gradient)
        advance()
        axis = batch.encoder.layer(settings.layer).channel_axis
        activation, gradient = recording.activation.movedim(axis, -1), gradient.movedim(axis, -1)
        found = []
        for layout, a, g, said in zip(
            batch.layouts, activation, gradient, warnings, strict=True
        ):  # (*positions, C)
            cells = layout.cells(tuple(a.shape[:-1]))  # (cells,) flat positions
            a, g = a.flatten(0, -2)[cells], g.flatten(0, -2)[cells]  # (cells, C)
            weights = g.mean(0)  # (C,)
            values = (a @ weights).clamp(min=0)  # (cells,)
            grid = layout.shaped(values.double().cpu().numpy(), tuple(activation.shape[1:-1]))
            found.append(Map(grid, warnings=said))
        return found

    return PreparedBatch(recording.embedding, maps)


def _unreached(batch: Batch, layer: int, gradient: Tensor) -> list[tuple[str, ...]]:
    """For each input, what there is to say of a layer from which no cell has a way to the embedding."""
    place = batch.encoder.layer(layer)
    moved = (gradient != 0).any(place.channel_axis).cpu().numpy()  # (N, *positions)
    said = (
        f"gradcam: no position of {batch.modality} at layer {layer} ({place.name}) reaches the embedding, so the map is 0; "
        "use an earlier layer"
    )
    return [() if content_reached(*each) else (said,) for each in zip(batch.layouts, moved, strict=True)]


def method() -> Method:
    return Method(prepare, additive=False)
