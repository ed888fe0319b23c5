"""``m2ib``: the multi-modal information bottleneck (Wang et al., NeurIPS 2023), behind the form of any method."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from m2ib.activations.capture import Recording, record
from m2ib.activations.reference import References, Statistics
from m2ib.contract.attribution import Curve
from m2ib.contract.layout import Layout
from m2ib.contract.model import Model
from m2ib.methods.base import Batch, Map, Method
from m2ib.methods.bottleneck.fit import Fit, fit_bottlenecks
from m2ib.methods.bottleneck.settings import FitSettings, resolve, shifts_of
from m2ib.methods.bottleneck.shifts import Shifts
from m2ib.methods.bottleneck.smooth import smoothed


@dataclass(frozen=True)
class Run:
    """The inputs of one side, run once to their layer.

    layouts     of the inputs
    settings    of the side
    shifts      of its inputs
    recording   of the shifted inputs, (N * shifts, ...)
    embedding   (N, D) of the inputs as they are, unnormalised
    statistics  of the layer, for ``standardize``
    fast        whether the encoder's own tail may be used
    """

    layouts: Sequence[Layout]
    settings: FitSettings
    shifts: Shifts
    recording: Recording
    embedding: Tensor
    statistics: Statistics | None
    fast: bool

    def maps(self, targets: Tensor, advance: Callable[[], None]) -> list[Map]:
        """A fit for each input and shift, read as one map for each input, in nats."""
        each = self.shifts.number
        fits = fit_bottlenecks(
            self.recording,
            [layout for layout in self.layouts for _ in range(each)],
            targets.repeat_interleave(each, 0),  # (N * shifts, D)
            self.settings,
            statistics=self.statistics,
            fast=self.fast,
            advance=advance,
        )
        return [
            self._map(layout, fits[number * each : (number + 1) * each])
            for number, layout in enumerate(self.layouts)
        ]

    def _map(self, layout: Layout, fits: Sequence[Fit]) -> Map:
        """Of one input, out of the fits of its shifts."""
        grid = self.shifts.grid(layout, [fit.capacity for fit in fits])
        axes = self.recording.encoder.stride or ()
        counts = self.shifts.counts or (1,) * len(axes)
        return Map(
            smoothed(grid, [self.settings.smooth * count for count in counts]),
            np.mean([fit.capacity for fit in fits], axis=0),
            Curve.mean([fit.curve for fit in fits]),
        )


def begin(batch: Batch, settings: FitSettings) -> Run:
    """The inputs, and their shifts, once up to the layer; with the statistics that the settings ask for."""
    encoder = batch.encoder
    shifts = shifts_of(encoder, settings.shifts)
    recording = record(encoder, shifts.apply(batch.inputs), settings.layer)  # of (N * shifts, ...)
    embedding = recording.embedding[shifts.still :: shifts.number]  # (N, D) of those that are not moved
    statistics = None
    if settings.standardize:
        statistics = batch.references.statistics(batch.model, batch.modality, settings.layer)
    return Run(batch.layouts, settings, shifts, recording, embedding, statistics, batch.fast)


def _check(model: Model, modality: str, settings: Any, references: References) -> None:
    if settings.standardize:
        references.check(model, modality)


def method() -> Method:
    """The one that this project is named after."""
    return Method(
        begin, "nats", resolve, check=_check, steps=lambda settings: int(settings.steps), draws=True
    )
