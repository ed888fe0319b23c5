"""Maps of methods as attributions: with what is told of their inputs, and how they are looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from m2ib.contract.attribution import Attribution, Renderer
from m2ib.contract.inputs import Item
from m2ib.contract.model import Model
from m2ib.contract.null import Null
from m2ib.contract.similarity import COSINE
from m2ib.contract.targets import PreparedInput
from m2ib.methods.base import Map
from m2ib.registry.plan import Plan
from m2ib.renderers import EmbeddingView, renderer_for


def attribution_of(
    model: Model, modality: str, item: Item, plan: Plan, found: Map, settings: Mapping[str, Any] | None = None
) -> Attribution:
    """A method's map of one input as something to look at."""
    segments = None
    if item.segments is not None:
        segments = item.segments.valued(found.grid, found.segments, mean=not plan.method.additive)
    return Attribution(
        modality=modality,
        method=plan.name,
        grid=found.grid,
        capacity=found.capacity,
        layout=item.layout,
        curve=found.curve,
        settings=settings or {},
        view=item.view,
        renderer=renderer_of(model, modality, item),
        origin=item.origin,
        unit=model.similarity.name if plan.method.unit == COSINE.name else plan.method.unit,
        additive=plan.method.additive and found.segments is None,
        full=found.full,
        by_seed=found.by_seed,
        segments=segments,
        warnings=tuple(dict.fromkeys((*item.origin.get("warnings", ()), *found.warnings, *found.remarks))),
    )


def paired_attribution(
    model: Model,
    plan: Plan,
    settings: Mapping[str, Any],
    side: PreparedInput,
    found: Map,
    against: Map | None,
    null: Null | None,
) -> Attribution:
    """Of one input of a pair, with what else makes the target. Raises :class:`AdapterError` for what does not belong together."""
    origin = dict(side.item.origin)
    if len(side.items) > 1:
        origin["ensemble"] = [label(item) for item in side.items]
    if side.others:
        origin["rather_than"] = [_label_of(items) for items in side.others]
    every = [item.origin.get("warnings", ()) for items in (side.items, *side.others) for item in items]
    if warned := dict.fromkeys(message for messages in every for message in messages):
        origin["warnings"] = list(warned)
    item = replace(side.item, origin=origin)
    made = attribution_of(model, side.modality, item, plan, found, settings)
    made = replace(made, against=None if against is None else against.grid, null=null)
    made.check()
    return made


def renderer_of(model: Model, modality: str, item: Item) -> Renderer:
    """The encoder's own, else the one for what is shown."""
    own = None if isinstance(item.view, EmbeddingView) else model.encoder(modality).renderer
    return own or renderer_for(item.view, item.layout)


def label(item: Item) -> str:
    """How to name an input in one line."""
    if item.layout.tokens:
        return str(item.view["text"])
    return str(item.origin.get("source", "input"))


def _label_of(items: Sequence[Item]) -> str:
    """Likewise of one input, or of an ensemble."""
    if len(items) == 1:
        return label(items[0])
    names = [label(item) if item.layout.tokens else Path(label(item)).name for item in items]
    return f"the mean of {', '.join(names)}"
