"""The straight line: preprocess, embed the other side once, run to layer l once, fit, attribute.

One pair walks it once; a batch walks it side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from m2ib.attribution import Attribution
from m2ib.capture import ONE_AT_A_TIME, Recording, as_loaded, frozen, record
from m2ib.contract import Inputs, Item, Layout
from m2ib.errors import InputError
from m2ib.explanation import Explanation
from m2ib.fit import Curve, Fit, fit_bottlenecks
from m2ib.model import Model
from m2ib.reference import References, Statistics
from m2ib.settings import FitSettings, resolve, shifts_of
from m2ib.shifts import Shifts
from m2ib.smooth import smoothed


@dataclass(frozen=True)
class Contrast:
    """An input as seen against others: "why this one rather than those?". See :func:`m2ib.contrast`."""

    this: Any
    others: tuple[Any, ...]


@dataclass(frozen=True)
class Side:
    """One of the two inputs of a pair: ready, with what it is contrasted to."""

    modality: str
    item: Item
    others: tuple[Item, ...] = ()


Pair = tuple[Side, Side]


@dataclass(frozen=True)
class Plan:
    """The settings of a call, before a modality is known."""

    given: Mapping[str, Any]
    truncate: bool
    fast: bool
    references: References = field(default_factory=References)


@dataclass(frozen=True)
class Run:
    """The inputs of one side, run once to its layer.

    settings    of the side
    shifts      of its inputs
    recording   of the shifted inputs, (N * shifts, ...)
    embedding   (N, D) of the inputs as they are, unnormalised
    statistics  of the layer, for ``standardize``
    """

    settings: FitSettings
    shifts: Shifts
    recording: Recording
    embedding: Tensor
    statistics: Statistics | None

    def grid(self, layout: Layout, fits: Sequence[Fit]) -> np.ndarray:
        """The map of one input out of the fits of its shifts, in nats."""
        grid = self.shifts.grid(layout, [fit.capacity for fit in fits])
        axes = self.recording.encoder.stride or ()
        counts = self.shifts.counts or (1,) * len(axes)
        return smoothed(grid, [self.settings.smooth * count for count in counts])


def prepare(model: Model, pair: list[tuple[str, Any]], plan: Plan) -> Pair:
    """Settings checked before anything is read, then both inputs made ready."""
    modalities = tuple(modality for modality, _ in pair)
    for modality in modalities:
        if resolve(model.encoder(modality), modalities, plan.given).standardize:
            plan.references.check(model, modality)

    def side(modality: str, raw: Any) -> Side:
        if isinstance(raw, Contrast):
            others = tuple(model.item(modality, other, truncate=plan.truncate) for other in raw.others)
            return Side(modality, model.item(modality, raw.this, truncate=plan.truncate), others)
        return Side(modality, model.item(modality, raw, truncate=plan.truncate))

    first, second = (side(modality, raw) for modality, raw in pair)
    if first.others and second.others:
        raise InputError("explain: one side of a pair can be a contrast, not both")
    return first, second


def explain_batch(
    model: Model,
    pairs: Sequence[Pair],
    plan: Plan,
    steps: Callable[[int], Callable[[], None]],
) -> list[Explanation]:
    """Explain pairs together, in groups of equal modalities and shapes; results in order."""
    if model.device.type == "meta":
        raise InputError(
            "explain: the model is on the device 'meta' and has no weights; load it on a real one"
        )
    results: dict[int, Explanation] = {}
    groups: dict[Any, list[int]] = {}
    for number, pair in enumerate(pairs):
        groups.setdefault(tuple(_group_key(model, side) for side in pair), []).append(number)
    with ONE_AT_A_TIME, as_loaded(model.device, model.dtype), frozen(model.module):
        for members in groups.values():
            group = _explain_group(model, [pairs[n] for n in members], plan, steps)
            results.update(zip(members, group, strict=True))
    return [results[number] for number in range(len(pairs))]


def _group_key(model: Model, side: Side) -> Any:
    """What must agree for two inputs to run in one batch."""
    return side.modality, len(side.others) > 0, model.encoder(side.modality).batch_key(side.item.inputs)


def _explain_group(
    model: Model,
    pairs: Sequence[Pair],
    plan: Plan,
    steps: Callable[[int], Callable[[], None]],
) -> list[Explanation]:
    modalities = tuple(side.modality for side in pairs[0])
    settings = [resolve(model.encoder(modality), modalities, plan.given) for modality in modalities]
    columns = [[pair[0] for pair in pairs], [pair[1] for pair in pairs]]
    runs = [
        run_to_layer(
            model, modality, model.collate(modality, [s.item for s in column]), setting, plan.references
        )
        for modality, column, setting in zip(modalities, columns, settings, strict=True)
    ]
    targets = [_targets(model, column, run) for column, run in zip(columns, runs, strict=True)]
    advance = steps(sum(s.steps for s in settings))
    fits = [
        _fit_side(runs[n], columns[n], columns[1 - n], targets[1 - n], plan.fast, advance) for n in (0, 1)
    ]
    anchors = [targets[n] if columns[n][0].others else runs[n].embedding.to(targets[n].dtype) for n in (0, 1)]
    similarities = cosine_similarity(anchors[0], anchors[1].to(anchors[0].device), dim=-1).tolist()
    provenance = {"m2ib": version("m2ib"), "torch": torch.__version__, **model.origin}
    provenance |= {"device": str(model.device), "dtype": str(model.dtype).removeprefix("torch.")}
    sources = {run.recording.encoder.modality: dict(run.statistics.source) for run in runs if run.statistics}
    if sources:
        provenance["reference"] = sources
    explanations = []
    for number, pair in enumerate(pairs):
        first, second = (
            _attribution(model, pair[n], runs[n], *(fit[number] for fit in fits[n])) for n in (0, 1)
        )
        explanations.append(Explanation((first, second), similarities[number], provenance))
    return explanations


def run_to_layer(
    model: Model, modality: str, inputs: Inputs, settings: FitSettings, references: References
) -> Run:
    """Inputs (N, ...), and their shifts, once up to the layer; with the statistics that the settings ask for."""
    encoder = model.encoder(modality)
    shifts = shifts_of(encoder, settings.shifts)
    recording = record(encoder, shifts.apply(inputs), settings.layer)  # of (N * shifts, ...)
    embedding = recording.embedding[shifts.still :: shifts.number]  # (N, D) of those that are not moved
    statistics = references.statistics(model, modality, settings.layer) if settings.standardize else None
    return Run(settings, shifts, recording, embedding, statistics)


def fit_run(
    run: Run,
    layouts: Sequence[Layout],
    targets: Tensor,
    *,
    fast: bool = True,
    advance: Callable[[], None] = lambda: None,
) -> list[list[Fit]]:
    """The fits of N inputs to their targets (N, D): for each a list, one for each shift."""
    each = run.shifts.number
    found = fit_bottlenecks(
        run.recording,
        [layout for layout in layouts for _ in range(each)],
        targets.repeat_interleave(each, 0),  # (N * shifts, D)
        run.settings,
        statistics=run.statistics,
        fast=fast,
        advance=advance,
    )
    return [found[start : start + each] for start in range(0, len(found), each)]


def _targets(model: Model, column: Sequence[Side], run: Run) -> Tensor:
    """(N, D) what the other side is fitted to: embeddings, or differences of unit embeddings."""
    precision = torch.float64 if model.dtype == torch.float64 else torch.float32
    unit = normalize(run.embedding.to(precision), dim=-1)  # (N, D)
    if not column[0].others:
        return unit
    rows = []
    for side, this in zip(column, unit, strict=True):
        with torch.no_grad():
            encoder = model.encoder(side.modality)
            others = [encoder.embed(model.collate(side.modality, [item])) for item in side.others]
        rest = normalize(torch.cat(others).to(precision), dim=-1).mean(0)  # (D,)
        difference = this - rest
        if difference.norm() < 1e-6:
            raise InputError(
                f"contrast: the {side.modality} inputs have the same embedding; there is nothing to tell apart"
            )
        rows.append(difference)
    return torch.stack(rows)


def _fit_side(
    run: Run,
    column: Sequence[Side],
    other: Sequence[Side],
    targets: Tensor,
    fast: bool,
    advance: Callable[[], None],
) -> list[list[list[Fit]]]:
    """The fits towards the target; and, if the other side is a contrast, those towards its opposite.

    Each is a list of one for each shift, by input.
    """
    layouts = [side.item.layout for side in column]
    fits = [fit_run(run, layouts, targets, fast=fast, advance=advance)]
    if other[0].others:
        fits.append(fit_run(run, layouts, -targets, fast=fast))
    return fits


def _attribution(
    model: Model, side: Side, run: Run, fits: Sequence[Fit], opposite: Sequence[Fit] | None = None
) -> Attribution:
    """Of one input, out of the fits of its shifts."""
    layout = side.item.layout
    return Attribution(
        modality=side.modality,
        method="m2ib",
        grid=run.grid(layout, fits),
        capacity=np.mean([fit.capacity for fit in fits], axis=0),
        layout=layout,
        curve=Curve.mean([fit.curve for fit in fits]),
        settings=run.settings.to_dict(),
        view=side.item.view,
        renderer=model.encoder(side.modality).renderer,
        origin=_origin(side),
        against=None if opposite is None else run.grid(layout, opposite),
    )


def _origin(side: Side) -> dict[str, Any]:
    """Where the input came from; for a contrast, what it is held against as well."""
    if not side.others:
        return dict(side.item.origin)
    return {**side.item.origin, "rather_than": [_label(item) for item in side.others]}


def _label(item: Item) -> str:
    """How to name an input in one line."""
    if item.layout.tokens:
        return str(item.view["text"])
    return str(item.origin.get("source", "input"))
