"""The straight line: preprocess, embed the other side once, run to layer l once, fit, attribute.

One pair walks it once; a batch walks it side by side. What happens between the inputs and their maps is the method's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from m2ib.contract.attribution import Attribution, Renderer
from m2ib.contract.inputs import Inputs, Item
from m2ib.contract.layout import Layout
from m2ib.contract.model import Model
from m2ib.contract.null import Null
from m2ib.contract.similarity import COSINE, present
from m2ib.contract.targets import (
    Contrast,
    Embedding,
    Ensemble,
    PreparedInput,
    Targets,
    members_of,
    named,
    targets_of,
    with_target,
)
from m2ib.errors import InputError
from m2ib.execution.memory import memory_told
from m2ib.methods.base import Batch, Map, PreparedBatch
from m2ib.methods.null import nulls, others_than
from m2ib.notices import collected_warnings, warn
from m2ib.promises import leaves_nothing
from m2ib.registry.plan import Plan
from m2ib.renderers import EmbeddingView, renderer_for
from m2ib.results.explanation import Explanation
from m2ib.results.resume import version_facts
from m2ib.units.placing import units_for, with_units

PreparedInputs = tuple[PreparedInput, PreparedInput]


def prepare(
    model: Model, pair: Sequence[tuple[str, Any]], plan: Plan, made: dict[Any, Item] | None = None
) -> PreparedInputs:
    """Settings checked before anything is read, then both inputs made ready.

    made  what was made ready before, filled meanwhile: an input that comes again is the same item
    """
    made = {} if made is None else made
    if isinstance(plan.target, (Contrast, Ensemble)):
        pair = with_target(pair, plan.target)
    modalities = tuple(modality for modality, _ in pair)
    vectors = [isinstance(raw, Embedding) for _, raw in pair]
    if all(vectors):
        raise InputError("explain: one side of a pair can be an embedding, not both; the other is explained")
    for modality, given in zip(modalities, vectors, strict=True):
        if given:
            model.encoder(modality)
        else:
            plan.settings(model, modality, modalities)

    if plan.pairs is not None:
        if others := [raw for _, raw in pair if isinstance(raw, (Contrast, Ensemble, Embedding))]:
            raise InputError(
                f"interactions: they are of two inputs, and {type(others[0]).__name__.lower()}() is none; give one input for each side"
            )
        plan.pairs.settings(model, (modalities[0], modalities[1]))

    def item(modality: str, raw: Any) -> Item:
        key = (modality, raw if isinstance(raw, (str, Path)) else id(raw))
        if key not in made:
            made[key] = model.item(modality, raw, truncate=plan.truncate)
        return made[key]

    def items(modality: str, raw: Any) -> tuple[Item, ...]:
        return tuple(item(modality, each) for each in members_of(raw))

    def side(number: int, modality: str, raw: Any) -> PreparedInput:
        if isinstance(raw, Embedding):
            if units_for(plan.units, number, modalities) is not None:
                raise InputError(f"units of {modality}: an embedding stands there, which has no parts")
            view = EmbeddingView(raw.vector.numpy())
            item = Item(raw.vector, Layout((0,)), view, {"source": "embedding", "size": len(raw.vector)})
            return PreparedInput(modality, (item,), vector=raw.vector)
        this, others = (raw.this, raw.others) if isinstance(raw, Contrast) else (raw, ())
        against = tuple(items(modality, other) for other in others)
        shown, *more = items(modality, this)
        if (units := units_for(plan.units, number, modalities)) is not None:
            key = number, "units", id(shown)  # of what is kept in ``made``
            if key not in made:
                made[key] = with_units(shown, units, _renderer(model, modality, shown), modality)
            shown = made[key]
        return PreparedInput(modality, (shown, *more), against)

    first, second = (side(number, *given) for number, given in enumerate(pair))
    if first.others and second.others:
        raise InputError("explain: one side of a pair can be a contrast, not both")
    return first, second


@leaves_nothing
def explain_batch(
    model: Model, pairs: Sequence[PreparedInputs], plan: Plan, steps: Callable[[int], Callable[[], None]]
) -> list[Explanation]:
    """Explain pairs together, in groups of equal modalities and shapes; results in order."""
    results: dict[int, Explanation] = {}
    groups: dict[Any, list[int]] = {}
    for number, pair in enumerate(pairs):
        groups.setdefault(tuple(_group_key(model, side) for side in pair), []).append(number)
    several = f"explain: {len(pairs)} pairs at once" if len(pairs) > 1 else "explain"
    with memory_told(several), model.running():
        for members in groups.values():
            group = _explain_group(model, [pairs[n] for n in members], plan, steps)
            results.update(zip(members, group, strict=True))
    return [results[number] for number in range(len(pairs))]


def _group_key(model: Model, side: PreparedInput) -> Any:
    """What must agree for two inputs to run in one batch."""
    if side.vector is not None:
        return side.modality, len(side.vector)
    return side.modality, len(side.others) > 0, model.encoder(side.modality).batch_key(side.item.inputs)


def _explain_group(
    model: Model, pairs: Sequence[PreparedInputs], plan: Plan, steps: Callable[[int], Callable[[], None]]
) -> list[Explanation]:
    modalities = tuple(side.modality for side in pairs[0])
    columns = [[pair[0] for pair in pairs], [pair[1] for pair in pairs]]
    settings = [
        plan.by_seed(model, side.modality, modalities) if side.vector is None else [] for side in pairs[0]
    ]
    batches: list[Batch | None] = []
    prepared: list[PreparedBatch] = []
    said: list[Sequence[str]] = []
    for modality, column, by_seed in zip(modalities, columns, settings, strict=True):
        if not by_seed:
            batches.append(None)
            prepared.append(_given(model, column))
            said.append(())
            continue
        items = [side.item for side in column]
        batch = Batch(model, modality, items, model.collate(modality, items), plan.references, plan.fast)
        batches.append(batch)
        with collected_warnings() as warned:
            prepared.append(plan.prepare(batch, by_seed))
        said.append(warned)
    _check_sizes(modalities, prepared)
    leads = model.similarity.leads(modalities, 0)

    def aimed_at(n: int, targets: Targets) -> Targets:
        """What a side is explained against; of a contrast, what is usual cancels out."""
        explained = settings[n] and not columns[1 - n][0].others
        return plan.aimed(model, modalities[n], modalities, targets) if explained else targets

    targets = [  # of each side, for the other one
        targets_of(model, columns[n], prepared[n].embedding, leads=leads == bool(n)) for n in (0, 1)
    ]
    aimed = [aimed_at(n, targets[1 - n]) for n in (0, 1)]
    advance = steps(sum(plan.method.steps(by_seed[0]) for by_seed in settings if by_seed))
    maps = [_with_warnings(prepared[n], aimed[n], advance, said[n]) for n in (0, 1)]
    signed = plan.signed and plan.method.signs == "target"
    against: list[Sequence[Map | None]] = [
        prepared[n].maps(-aimed[n], lambda: None)
        if columns[1 - n][0].others or (signed and settings[n])
        else [None] * len(pairs)
        for n in (0, 1)
    ]
    null: list[Sequence[Null | None]] = [[None] * len(pairs)] * 2
    for n, asked in enumerate(batches):
        if plan.null and asked is not None:
            usual = [model.unit(each)[0] for each in plan.references.embedded(model, modalities[1 - n])]
            partners = prepared[1 - n].embedding
            others = others_than(model.unit(partners), usual, plan.null, modalities[1 - n])
            instead = targets_of(model, columns[1 - n], partners, leads=leads == bool(1 - n), instead=others)
            again = partial(plan.prepare, by_seed=settings[n])
            null[n] = nulls(asked, again, aimed[n], aimed_at(n, instead))
    similarities = targets[1].closeness(targets[0]).tolist()
    provenance = provenance_of(model)
    measure = {"name": model.similarity.name, "title": model.similarity.title}
    if model.similarity != COSINE:
        provenance["similarity"] = measure
    counts: list[int] = []  # of vectors, over which a pair's similarity is a mean
    if model.similarity.mean and all(each.weights.shape[1] == 1 for each in targets):
        counts = present(prepared[0 if leads else 1].embedding).sum(-1).tolist()
    used = zip(modalities, (each.reference for each in prepared), strict=True)
    references = {modality: dict(reference) for modality, reference in used if reference is not None}
    if references:
        provenance["reference"] = references
    compared = _usual(model, plan, columns, targets)
    explanations = []
    for number, pair in enumerate(pairs):
        first, second = (
            replace(
                _attribution(
                    model, pair[n], plan, modalities, settings[n], maps[n][number], against[n][number]
                ),
                null=null[n][number],
            )
            for n in (0, 1)
        )
        places = {place: _place(row[number], similarities[number]) for place, row in compared.items()}
        known = {**provenance, "usual": places} if places else provenance
        if counts:
            summed = {"vectors": counts[number], "sum": counts[number] * similarities[number]}
            known = {**known, "similarity": {**measure, **summed}}
        found = None
        if plan.pairs is not None:
            items = [side.item for side in pair]
            found = plan.pairs.find(model, (modalities[0], modalities[1]), items, plan.references, plan.fast)
        explanations.append(Explanation((first, second), similarities[number], known, found))
    return explanations


def provenance_of(model: Model) -> dict[str, Any]:
    """Of everything that a model explains."""
    place = {"device": str(model.device), "dtype": str(model.dtype).removeprefix("torch.")}
    return {**version_facts(), **model.origin, **place}


def _usual(
    model: Model, plan: Plan, columns: Sequence[Sequence[PreparedInput]], targets: Sequence[Targets]
) -> dict[str, Tensor]:
    """For each side's modality, how close (N, K) what is usual there is to the other side; nothing for a contrast."""
    if any(column[0].others for column in columns):
        return {}
    found = {}
    for n in (0, 1):
        modality = columns[n][0].modality
        similarities = plan.references.similarities(model, modality, targets[1 - n])
        if similarities is not None:
            found[modality if modality != columns[1 - n][0].modality else f"{modality} {n}"] = similarities
    return found


def _place(usual: Tensor, similarity: float) -> dict[str, Any]:
    """Where a similarity stands among usual ones (K,)."""
    return {
        "inputs": len(usual),
        "below": round(float((usual < similarity).double().mean()), 4),
        "median": round(float(usual.double().median()), 4),
        "greatest": round(float(usual.max()), 4),
    }


@leaves_nothing
def explain_side(
    model: Model,
    modality: str,
    items: Sequence[Item],
    inputs: Inputs,
    targets: Tensor | Targets,
    plan: Plan,
    against: str | None = None,
) -> list[Map]:
    """One side of N pairs alone: the maps that ``m2ib.explain`` gives for it.

    items    N inputs of one shape
    inputs   the same as one batch on the model's device
    targets  embeddings of the other sides, (N, D) or sets (N, K, D); or :class:`Targets` of them, which say which side comes
             first where a similarity asks for it
    against  the other sides' modality; None: the same

    Raises :class:`InputError` and :class:`SettingError`.
    """
    modalities = modality, against or modality
    by_seed = plan.by_seed(model, modality, modalities)
    batch = Batch(model, modality, items, inputs, plan.references, plan.fast)
    with memory_told(f"{modality}: {len(items)} at once"), model.running():
        aimed = plan.aimed(model, modality, modalities, Targets.of(model, targets))
        return plan.prepare(batch, by_seed).maps(aimed, lambda: None)


def _given(model: Model, column: Sequence[PreparedInput]) -> PreparedBatch:
    """Vectors in place of inputs: embeddings without a map."""
    given = [side.vector for side in column if side.vector is not None]  # (D,) float64 each
    vectors = torch.stack(given)  # (N, D)
    if model.similarity.directions:
        vectors = normalize(vectors / vectors.abs().amax(-1, keepdim=True), dim=-1)
    precision = torch.promote_types(model.dtype, torch.float32)
    nothing = [Map(np.zeros(0))] * len(column)
    if model.similarity.sets:
        vectors = vectors[:, None]  # (N, 1, D)
    return PreparedBatch(vectors.to(model.device, precision), lambda targets, advance: nothing)


def _check_sizes(modalities: Sequence[str], prepared: Sequence[PreparedBatch]) -> None:
    """Raises :class:`InputError` where the two sides' embeddings have different sizes: one of them is given then."""
    first, second = (each.embedding.shape[-1] for each in prepared)
    if first != second:
        raise InputError(
            f"embedding: the embedding of {modalities[0]} has {first} numbers, that of {modalities[1]} {second}; give "
            "one out of the model's own space"
        )


def _with_warnings(
    prepared: PreparedBatch, targets: Targets, advance: Callable[[], None], said: Sequence[str]
) -> list[Map]:
    """The maps of a batch, each with the warnings that are its own and those that were given for all; told, each kind once.

    said  what was warned of while the inputs were prepared
    """
    with collected_warnings() as warned:
        maps = prepared.maps(targets, advance)
    cautioned = [each.warnings[0] for each in maps if each.warnings]
    if cautioned:
        more = (
            f" ({len(cautioned)} of {len(maps)} maps of this batch have such warnings)"
            if len(maps) > 1
            else ""
        )
        warn(cautioned[0] + more)
    every = (*said, *warned)
    return [replace(each, warnings=tuple(dict.fromkeys((*every, *each.warnings)))) for each in maps]


def _attribution(
    model: Model,
    side: PreparedInput,
    plan: Plan,
    modalities: tuple[str, ...],
    by_seed: Sequence[Any],
    found: Map,
    opposite: Map | None,
) -> Attribution:
    """Of one input of a pair, with what else makes the target."""
    settings = by_seed[0].to_dict() if by_seed else {}
    if by_seed:
        settings["target"] = named(plan.target_of(model, side.modality, modalities))
        settings |= {"signed": True} if plan.signed else {}
    if len(by_seed) > 1:
        settings["seeds"] = len(by_seed)
    made = attribution_of(model, side.modality, side.item, plan, found, settings)
    origin = dict(side.item.origin)
    if len(side.items) > 1:
        origin["ensemble"] = [label(item) for item in side.items]
    if side.others:
        origin["rather_than"] = [_label_of(items) for items in side.others]
    every = [item.origin.get("warnings", ()) for items in (side.items, *side.others) for item in items]
    warned = dict.fromkeys(message for messages in every for message in messages)
    if warned:
        origin["warnings"] = list(warned)
    against = None if opposite is None else opposite.grid
    warnings = tuple(dict.fromkeys((*warned, *found.warnings, *found.remarks)))
    made = replace(made, origin=origin, against=against, warnings=warnings)
    made.check()
    return made


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
        renderer=_renderer(model, modality, item),
        origin=item.origin,
        unit=model.similarity.name if plan.method.unit == COSINE.name else plan.method.unit,
        additive=plan.method.additive and found.segments is None,
        full=found.full,
        by_seed=found.by_seed,
        segments=segments,
        warnings=tuple(dict.fromkeys((*item.origin.get("warnings", ()), *found.warnings, *found.remarks))),
    )


def _renderer(model: Model, modality: str, item: Item) -> Renderer:
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
