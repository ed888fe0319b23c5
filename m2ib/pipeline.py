"""The straight line: preprocess, embed the other side once, run to layer l once, fit, attribute.

One pair walks it once; a batch walks it side by side.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from m2ib.attribution import Attribution
from m2ib.capture import Recording, as_loaded, frozen, record
from m2ib.contract import Item
from m2ib.errors import InputError
from m2ib.explanation import Explanation
from m2ib.fit import Fit, fit_bottlenecks
from m2ib.model import Model
from m2ib.settings import FitSettings, resolve


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

# A fit patches its model, and torch's choice of attention kernels is one for the whole process.
_ONE_AT_A_TIME = threading.RLock()


@dataclass(frozen=True)
class Plan:
    """The settings of a call, before a modality is known."""

    given: Mapping[str, Any]
    truncate: bool
    fast: bool


def prepare(model: Model, pair: list[tuple[str, Any]], plan: Plan) -> Pair:
    """Settings checked before anything is read, then both inputs made ready."""
    modalities = tuple(modality for modality, _ in pair)
    for modality in modalities:
        resolve(model.encoder(modality), modalities, plan.given)

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
    with _ONE_AT_A_TIME, as_loaded(model.device, model.dtype), frozen(model.module):
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
    recordings = [
        record(
            model.encoder(modality), model.collate(modality, [side.item for side in column]), setting.layer
        )
        for modality, column, setting in zip(modalities, columns, settings, strict=True)
    ]
    targets = [
        _targets(model, column, recording) for column, recording in zip(columns, recordings, strict=True)
    ]
    advance = steps(sum(s.steps for s in settings))
    fits = [
        _fit_side(recordings[n], columns[n], columns[1 - n], targets[1 - n], settings[n], plan.fast, advance)
        for n in (0, 1)
    ]
    anchors = [
        targets[n] if columns[n][0].others else recordings[n].embedding.to(targets[n].dtype) for n in (0, 1)
    ]
    similarities = cosine_similarity(anchors[0], anchors[1].to(anchors[0].device), dim=-1).tolist()
    provenance = {"m2ib": version("m2ib"), "torch": torch.__version__, **model.origin}
    provenance |= {"device": str(model.device), "dtype": str(model.dtype).removeprefix("torch.")}
    explanations = []
    for number, pair in enumerate(pairs):
        first, second = (
            _attribution(model, pair[n], settings[n], *(fit[number] for fit in fits[n])) for n in (0, 1)
        )
        explanations.append(Explanation((first, second), similarities[number], provenance))
    return explanations


def _targets(model: Model, column: Sequence[Side], recording: Recording) -> Tensor:
    """(N, D) what the other side is fitted to: embeddings, or differences of unit embeddings."""
    precision = torch.float64 if model.dtype == torch.float64 else torch.float32
    unit = normalize(recording.embedding.to(precision), dim=-1)  # (N, D)
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
    recording: Recording,
    column: Sequence[Side],
    other: Sequence[Side],
    targets: Tensor,
    settings: FitSettings,
    fast: bool,
    advance: Callable[[], None],
) -> list[list[Fit]]:
    """The fits towards the target; and, if the other side is a contrast, those towards its opposite."""
    layouts = [side.item.layout for side in column]
    fits = [fit_bottlenecks(recording, layouts, targets, settings, fast=fast, advance=advance)]
    if other[0].others:
        fits.append(fit_bottlenecks(recording, layouts, -targets, settings, fast=fast))
    return fits


def _attribution(
    model: Model, side: Side, settings: FitSettings, fit: Fit, opposite: Fit | None = None
) -> Attribution:
    layout = side.item.layout
    return Attribution(
        modality=side.modality,
        method="m2ib",
        grid=layout.to_grid(fit.capacity),
        capacity=fit.capacity,
        layout=layout,
        curve=fit.curve,
        settings=settings.to_dict(),
        view=side.item.view,
        renderer=model.encoder(side.modality).renderer,
        origin=_origin(side),
        against=None if opposite is None else layout.to_grid(opposite.capacity),
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
