"""``m2ib``: the multi-modal information bottleneck (Wang et al., NeurIPS 2023), behind the form of any method."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from m2ib.activations.reference import References
from m2ib.contract.curve import Curve
from m2ib.contract.degradation import holds_numbers
from m2ib.contract.layout import Layout
from m2ib.contract.model import Model
from m2ib.contract.similarity import joined
from m2ib.contract.targets import Targets
from m2ib.execution.products import use_steady_weights
from m2ib.methods.base import Batch, Map, Method, PreparedBatch
from m2ib.methods.bottleneck.fit import Fit, fit_bottlenecks
from m2ib.methods.bottleneck.groups import in_groups, parts_of
from m2ib.methods.bottleneck.settings import PRESETS, FitSettings, shifts_by_axis
from m2ib.methods.bottleneck.shifts import Shifts
from m2ib.methods.bottleneck.smooth import smoothed
from m2ib.notices import warn
from m2ib.progress import every
from m2ib.promises import kept_promises


def prepare(batch: Batch, settings: FitSettings) -> PreparedBatch:
    return prepare_seeds(batch, [settings])


def prepare_seeds(batch: Batch, several: Sequence[FitSettings]) -> PreparedBatch:
    """The inputs, and their shifts, once up to the layer, whatever the number of seeds; with the statistics that the settings ask for."""
    encoder, shifts, settings = batch.encoder, Shifts(), several[0]
    step = encoder.step(settings.layer)
    if step is not None and settings.shifts != 1:
        shifts = Shifts(shifts_by_axis(batch.modality, settings.shifts, step), step)
    together = {**PRESETS.get(settings.preset or "", {}), **encoder.presets.get(settings.preset or "", {})}
    if step is None and {"shifts", "smooth"} & set(together) and holds_numbers(batch.inputs):
        warn(
            f"{batch.modality}: the preset {settings.preset!r} goes without shifts and smooth, for the encoder does not tell how "
            "far its cells are apart (Encoder.stride)"
        )
    parts, each = parts_of(batch, shifts, settings.layer), shifts.number
    unmoved = {
        place: part.recording.embedding[number * each + shifts.still]
        for part in parts
        for place, number in zip(part.places, part.numbers, strict=True)
    }
    embedding = joined([unmoved[place][None] for place in range(len(batch))])  # (N, ...)
    statistics = None
    if settings.standardize:
        statistics = batch.references.statistics(batch.model, batch.modality, settings.layer)

    def maps(targets: Targets, advance: Callable[[], None]) -> list[Map]:
        """A fit for each input, seed and shift, read as one map for each input, in nats."""
        fits: list[list[Fit]] = [[] for _ in batch.items]
        seeds = [one.seed for one in several]
        groups = [(part, group) for part in parts for group in in_groups(part, each, settings.samples, seeds)]
        advance = every(len(groups), advance)
        with kept_promises():
            use_steady_weights()
            for part, group in groups:
                places, rows, of_seeds = zip(*group, strict=True)
                found = fit_bottlenecks(
                    part.recording,
                    [batch.layouts[place] for place in places],
                    targets[list(places)],
                    settings,
                    rows=rows,
                    seeds=of_seeds,
                    common=part.common,
                    statistics=statistics,
                    fast=batch.fast,
                    advance=advance,
                )
                for place, fit in zip(places, found, strict=True):
                    fits[place].append(fit)
        channels = parts[0].recording.activation.shape[encoder.layer(settings.layer).channel_axis]
        full = channels * math.log(2) / each  # a bit for each channel of a whole cell
        sigmas = [settings.smooth * count for count in shifts.counts or (1,) * len(step or ())]

        def joined(layout: Layout, of_input: Sequence[Fit]) -> Map:
            by_seed = [of_input[n : n + each] for n in range(0, len(of_input), each)]
            return Map.of_seeds([_joined(shifts, layout, of_seed, sigmas, full) for of_seed in by_seed])

        return [joined(*each_input) for each_input in zip(batch.layouts, fits, strict=True)]

    return PreparedBatch(embedding, maps, None if statistics is None else statistics.source)


def _joined(shifts: Shifts, layout: Layout, fits: Sequence[Fit], sigmas: Sequence[float], full: float) -> Map:
    """The map of one input and seed, out of the fits of its shifts."""
    return Map(
        smoothed(shifts.grid(layout, [fit.capacity for fit in fits]), sigmas),
        np.mean([fit.capacity for fit in fits], axis=0),
        Curve.mean([fit.curve for fit in fits]),
        tuple(dict.fromkeys(said for fit in fits for said in fit.warnings)),
        tuple(dict.fromkeys(said for fit in fits for said in fit.remarks)),
        full,
    )


def _check(model: Model, modality: str, settings: Any, references: References) -> None:
    if settings.standardize:
        references.check(model, modality)


def method() -> Method:
    """The one that this project is named after."""
    return Method(
        prepare,
        "nats",
        FitSettings,
        check=_check,
        steps=lambda settings: int(settings.steps),
        draws=True,
        for_maps_alone=FitSettings.for_maps_alone,
        prepare_seeds=prepare_seeds,
    )
