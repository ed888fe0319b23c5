"""The bottleneck of one side of a pair: the map that ``m2ib.explain`` gives for it, without fitting the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from m2ib.capture import ONE_AT_A_TIME, as_loaded, frozen
from m2ib.contract import Axis, Inputs, Item
from m2ib.model import Model
from m2ib.pipeline import fit_run, run_to_layer
from m2ib.reference import References
from m2ib.settings import resolve
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
    settings = resolve(model.encoder(modality), (modality,), given)
    references = References(reference)
    if settings.standardize:
        references.check(model, modality)
    layouts = [item.layout for item in items]
    with ONE_AT_A_TIME, as_loaded(model.device, model.dtype), frozen(model.module):
        run = run_to_layer(model, modality, inputs, settings, references)
        fits = fit_run(run, layouts, targets)
    grids = [run.grid(layout, own) for layout, own in zip(layouts, fits, strict=True)]
    return grids, finer(layouts[0].axes, grids[0].shape)
