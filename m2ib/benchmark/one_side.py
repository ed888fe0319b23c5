"""The bottleneck of one side of a pair: the map that ``m2ib.explain`` gives for it, without fitting the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from m2ib.capture import ONE_AT_A_TIME, as_loaded, frozen, record
from m2ib.contract import Axis, Inputs, Item
from m2ib.fit import fit_bottlenecks
from m2ib.model import Model
from m2ib.reference import References
from m2ib.settings import resolve, shifts_of
from m2ib.shifts import finer


def explain_side(
    model: Model,
    modality: str,
    items: Sequence[Item],
    inputs: Inputs,
    targets: Tensor,
    *,
    reference: Any = None,
    **given: Any,
) -> tuple[list[np.ndarray], tuple[Axis, ...]]:
    """Grids in nats, one for each input, and the axes of their cells; () where the first layout has none.

    items    N inputs of one shape
    inputs   the same as one batch on the model's device
    targets  (N, D) embeddings of the other sides
    reference, given
             settings as ``m2ib.explain`` takes them

    Raises :class:`InputError` and :class:`SettingError`.
    """
    encoder = model.encoder(modality)
    settings = resolve(encoder, (modality,), given)
    shifts = shifts_of(encoder, settings.shifts)
    layouts = [item.layout for item in items for _ in range(shifts.number)]
    references = References(reference)
    if settings.standardize:
        references.check(model, modality)
    with ONE_AT_A_TIME, as_loaded(model.device, model.dtype), frozen(model.module):
        recording = record(encoder, shifts.apply(inputs), settings.layer)
        fits = fit_bottlenecks(
            recording,
            layouts,
            targets.repeat_interleave(shifts.number, 0),  # (N * shifts, D)
            settings,
            statistics=references.statistics(model, modality, settings.layer)
            if settings.standardize
            else None,
        )
    grids = []
    for number, item in enumerate(items):
        own = fits[number * shifts.number : (number + 1) * shifts.number]
        grids.append(shifts.grid(item.layout, [fit.capacity for fit in own]))
    return grids, finer(items[0].layout.axes, grids[0].shape)
