"""The straight line: preprocess, embed the other side once, run to layer l once, fit, attribute.

One pair walks it once; a batch walks it side by side. What happens between the inputs and their maps is the method's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from m2ib.contract.attribution import Attribution
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
from m2ib.renderers import EmbeddingView
from m2ib.results.attributions import paired_attribution, renderer_of
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
                made[key] = with_units(shown, units, renderer_of(model, modality, shown), modality)
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
    """Pairs of equal modalities and shapes, side by side."""
    first, second = sides = _side(model, plan, pairs, 0), _side(model, plan, pairs, 1)
    _check_sizes(first, second)
    targets = first.targets(), second.targets()  # of each side, for the other one
    aimed = first.aimed(second, targets[1]), second.aimed(first, targets[0])
    advance = steps(sum(plan.method.steps(side.by_seed[0]) for side in sides if side.by_seed))
    maps = first.maps(aimed[0], advance), second.maps(aimed[1], advance)
    against = first.against(second, aimed[0]), second.against(first, aimed[1])
    null = first.null(second, aimed[0]), second.null(first, aimed[1])
    found = zip(sides, zip(maps, against, null, strict=True), strict=True)
    attributions = [side.attributions(*each) for side, each in found]
    similarities = targets[1].closeness(targets[0]).tolist()
    told = _provenance(sides, targets, similarities)
    items = [[side.item for side in pair] for pair in pairs]
    interactions = [
        plan.pairs.find(model, first.modalities, each, plan.references, plan.fast) if plan.pairs else None
        for each in items
    ]
    both = zip(*attributions, strict=True)
    return [Explanation(*each) for each in zip(both, similarities, told, interactions, strict=True)]


@dataclass(frozen=True)
class _Side:
    """One side of a group's pairs, ready: inputs, or vectors in their place, which have no settings and no batch.

    place    in a pair: 0 or 1
    by_seed  settings of each seed
    said     what was warned of while the inputs were prepared
    """

    model: Model
    plan: Plan
    modalities: tuple[str, str]
    place: int
    inputs: Sequence[PreparedInput]
    prepared: PreparedBatch
    by_seed: Sequence[Any] = ()
    batch: Batch | None = None
    said: Sequence[str] = ()

    @property
    def modality(self) -> str:
        return self.modalities[self.place]

    @property
    def contrasted(self) -> bool:
        return len(self.inputs[0].others) > 0

    def targets(self, instead: Sequence[Sequence[Tensor]] = ()) -> Targets:
        """What the other side is explained against; ``instead`` of each input, other embeddings."""
        leads = self.model.similarity.leads(self.modalities, 1 - self.place)
        return targets_of(self.model, self.inputs, self.prepared.embedding, leads=leads, instead=instead)

    def aimed(self, other: _Side, targets: Targets) -> Targets:
        """What this side is explained against; of a contrast, what is usual cancels out."""
        if self.batch is None or other.contrasted:
            return targets
        return self.plan.aimed(self.model, self.modality, self.modalities, targets)

    def maps(self, aimed: Targets, advance: Callable[[], None]) -> list[Map]:
        """Each with the warnings that are its own and those that were given for all; told, each kind once."""
        with collected_warnings() as warned:
            maps = self.prepared.maps(aimed, advance)
        cautioned = [each.warnings[0] for each in maps if each.warnings]
        if cautioned:
            more = f" ({len(cautioned)} of {len(maps)} maps of this batch have such warnings)"
            warn(cautioned[0] + (more if len(maps) > 1 else ""))
        every = (*self.said, *warned)
        return [replace(each, warnings=tuple(dict.fromkeys((*every, *each.warnings)))) for each in maps]

    def against(self, other: _Side, aimed: Targets) -> Sequence[Map | None]:
        """The maps for the opposite targets, of a contrast and where they are asked for."""
        asked = self.plan.signed and self.plan.method.signs == "target" and self.batch is not None
        if not other.contrasted and not asked:
            return [None] * len(self.inputs)
        return self.prepared.maps(-aimed, lambda: None)

    def null(self, other: _Side, aimed: Targets) -> Sequence[Null | None]:
        """The same maps against others than the other side's inputs, where they are asked for."""
        if not self.plan.null or self.batch is None:
            return [None] * len(self.inputs)
        unit, references = self.model.unit, self.plan.references
        usual = [unit(each)[0] for each in references.embedded(self.model, other.modality)]
        others = others_than(unit(other.prepared.embedding), usual, self.plan.null, other.modality)
        alone = self.plan.method.for_maps_alone
        again = partial(self.plan.prepare, by_seed=[alone(each) for each in self.by_seed])
        return nulls(self.batch, again, aimed, self.aimed(other, other.targets(others)))

    def attributions(
        self, maps: Sequence[Map], against: Sequence[Map | None], null: Sequence[Null | None]
    ) -> list[Attribution]:
        found = zip(self.inputs, maps, against, null, strict=True)
        return [paired_attribution(self.model, self.plan, self._settings(), *each) for each in found]

    def _settings(self) -> dict[str, Any]:
        if not self.by_seed:
            return {}
        told: dict[str, Any] = self.by_seed[0].to_dict()
        told["target"] = named(self.plan.target_of(self.model, self.modality, self.modalities))
        told |= {"signed": True} if self.plan.signed else {}
        told |= {"seeds": len(self.by_seed)} if len(self.by_seed) > 1 else {}
        return told


def _side(model: Model, plan: Plan, pairs: Sequence[PreparedInputs], place: int) -> _Side:
    modalities, inputs = (pairs[0][0].modality, pairs[0][1].modality), [pair[place] for pair in pairs]
    if inputs[0].vector is not None:
        return _Side(model, plan, modalities, place, inputs, _given(model, inputs))
    modality, items = modalities[place], [each.item for each in inputs]
    by_seed = plan.by_seed(model, modality, modalities)
    batch = Batch(model, modality, items, model.collate(modality, items), plan.references, plan.fast)
    with collected_warnings() as said:
        prepared = plan.prepare(batch, by_seed)
    return _Side(model, plan, modalities, place, inputs, prepared, by_seed, batch, said)


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


def _check_sizes(first: _Side, second: _Side) -> None:
    """Raises :class:`InputError` where the two sides' embeddings have different sizes: one of them is given then."""
    one, other = (each.prepared.embedding.shape[-1] for each in (first, second))
    if one != other:
        raise InputError(
            f"embedding: the embedding of {first.modality} has {one} numbers, that of {second.modality} {other}; give "
            "one out of the model's own space"
        )


def provenance_of(model: Model) -> dict[str, Any]:
    """Of everything that a model explains."""
    place = {"device": str(model.device), "dtype": str(model.dtype).removeprefix("torch.")}
    return {**version_facts(), **model.origin, **place}


def _provenance(
    sides: tuple[_Side, _Side], targets: tuple[Targets, Targets], similarities: Sequence[float]
) -> Iterator[dict[str, Any]]:
    """Of each pair, with the reference inputs that had a part in it, and where its similarity stands among usual ones."""
    model, similarity = sides[0].model, sides[0].model.similarity
    told, measure = provenance_of(model), {"name": similarity.name, "title": similarity.title}
    if similarity != COSINE:
        told["similarity"] = measure
    used = ((side.modality, side.prepared.reference) for side in sides)
    if references := {modality: dict(each) for modality, each in used if each is not None}:
        told["reference"] = references
    counts: list[int] = []  # of vectors, over which a pair's similarity is a mean
    if similarity.mean and all(each.weights.shape[1] == 1 for each in targets):
        leading = sides[0 if similarity.leads(sides[0].modalities, 0) else 1]
        counts = present(leading.prepared.embedding).sum(-1).tolist()
    usual = _usual(sides, targets)
    for number, found in enumerate(similarities):
        places = {name: _place(row[number], found) for name, row in usual.items()}
        known = {**told, "usual": places} if places else told
        if counts:
            summed = {"vectors": counts[number], "sum": counts[number] * found}
            known = {**known, "similarity": {**measure, **summed}}
        yield known


def _usual(sides: tuple[_Side, _Side], targets: tuple[Targets, Targets]) -> dict[str, Tensor]:
    """For each side's modality, how close (N, K) what is usual there is to the other side; nothing for a contrast."""
    if any(side.contrasted for side in sides):
        return {}
    alike = sides[0].modality == sides[1].modality
    found = {}
    for side, others in zip(sides, targets[::-1], strict=True):
        similarities = side.plan.references.similarities(side.model, side.modality, others)
        if similarities is not None:
            found[f"{side.modality} {side.place}" if alike else side.modality] = similarities
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
