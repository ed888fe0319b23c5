"""Pairs that are worked on together, as one task of the engine: their embeddings, and the maps and scores of each method and seed."""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from m2ib.activations.reference import References
from m2ib.contract.inputs import Item
from m2ib.contract.model import Model
from m2ib.contract.null import standard_score
from m2ib.contract.similarity import joined, present
from m2ib.contract.targets import Targets
from m2ib.corpus.engine import chunks_of
from m2ib.errors import InputError, M2IBError
from m2ib.evaluation.degrading import Degraded, hideable_cells, shuffled
from m2ib.evaluation.measures import ANOTHERS, MATCHED, MEASURES, MISMATCHED, SPECIFICITY
from m2ib.evaluation.prepared import PreparedPair, by_shape, embeddings
from m2ib.evaluation.resume import looked_at
from m2ib.evaluation.scoring import scores_of
from m2ib.evaluation.store import MapOf, MapRecord
from m2ib.evaluation.study import ORACLE, SHUFFLED, ResolvedStudy
from m2ib.evaluation.tasks import ChunkFound, ChunkTask, Made
from m2ib.methods.base import Map
from m2ib.methods.null import others_than
from m2ib.metrics import rank_correlation
from m2ib.pipeline import explain_side
from m2ib.registry.foreign import plugin_code
from m2ib.registry.plan import Plan, plan_of

_OTHERS = 16  # that a pair is compared with
_SAME = 0.999  # similarity of embeddings that are no two partners
PER_MAP = tuple(name for name in MEASURES if name not in ("rank-correlation", MATCHED, "sanity", "roar"))


@dataclass(frozen=True)
class Chunk:
    """Pairs that are worked on together, with the embeddings of both sides: (N, D) of length 1, or sets (N, K, D).

    scores  by place and pair, those that are of the pair whatever the map
    """

    pairs: Sequence[PreparedPair]
    embeddings: tuple[Tensor, Tensor]
    scores: Mapping[tuple[int, str], Mapping[str, float]] = field(default_factory=dict)

    def known(self, place: int) -> Chunk:
        """Those of which it is known where the evidence is."""
        numbers = [number for number, each in enumerate(self.pairs) if each.truths[place] is not None]
        one, other = self.embeddings
        return Chunk([self.pairs[number] for number in numbers], (one[numbers], other[numbers]), self.scores)


@dataclass(frozen=True)
class EvaluateChunks:
    """A job of the engine.

    modalities  of the pairs
    others      for each side, embeddings of M other pairs' inputs there, for what is said of mismatched pairs
    """

    model: Model
    modalities: tuple[str, str]
    checked: ResolvedStudy
    others: tuple[Tensor, Tensor] | None = None

    def __call__(self, tasks: Sequence[ChunkTask]) -> list[ChunkFound]:
        with self.model.running():
            return [self._found(task) for task in tasks]

    def plan(self, name: str, seed: int, place: int) -> Plan:
        given = self.checked.given(name, seed, self.modalities[place])
        return plan_of(name, given, info=self.checked.methods[name])

    def _targets(self, place: int, embeddings: Tensor) -> Targets:
        """Of embeddings of the other side, for what is at this place."""
        return Targets.of(self.model, embeddings, self.model.similarity.leads(self.modalities, place))

    def embed(self, ready: Sequence[PreparedPair], place: int) -> Tensor:
        return embeddings(self.model, self.modalities[place], place, ready)

    def _found(self, task: ChunkTask) -> ChunkFound:
        checked, ready = looked_at(self.model, task.rows, task.known, task.bad, look=task.look)
        todo, known = task.todo, task.made
        if checked is not None and checked.changed:
            todo, known = task.every, {}
        found = ChunkFound(checked)
        if not todo:
            return found
        chunk = self._chunk(ready, found)
        for place, name in dict.fromkeys((place, name) for place, name, _ in todo):
            seeds = [seed for where, who, seed in todo if (where, who) == (place, name)]
            of = chunk.known(place) if name == ORACLE else chunk
            self._method(of, place, name, seeds, known.get((place, name), {}), found)
        return found

    def _chunk(self, ready: Sequence[PreparedPair], found: ChunkFound) -> Chunk:
        """With their embeddings; a pair without one is noted and left out."""
        kept, rows = [], []
        for each in ready:
            try:
                with plugin_code("the model"):
                    rows.append([self.embed([each], place) for place in (0, 1)])
                kept.append(each)
            except M2IBError as error:
                found.unembedded.append((each.pair.id, str(error)))
        first, second = (
            (joined(side) for side in zip(*rows, strict=True)) if rows else (torch.zeros(0, 1),) * 2
        )
        chunk = Chunk(kept, (first, second))
        asked = {SPECIFICITY, ANOTHERS} & {*self.checked.study.metrics}
        return replace(chunk, scores=self._specificities(chunk)) if asked else chunk

    def _specificities(self, chunk: Chunk) -> dict[tuple[int, str], dict[str, float]]:
        """How far each input stands above those with others, with its own partner and with another pair's, in standard deviations.

        The others are the model's reference inputs, or without these other pairs' partners; neither partner is among them.
        """
        assert self.others is not None
        found: dict[tuple[int, str], dict[str, float]] = {}
        for place in self.checked.places:
            modality = self.modalities[1 - place]
            rows = References().embedded(self.model, modality)
            usual = [self.model.unit(row)[0] for row in rows] or [*map(_bare, self.others[1 - place])]
            for number, each in enumerate(chunk.pairs):
                partner = _bare(chunk.embeddings[1 - place][number])
                another = self._anothers(place, each, partner)
                partners = [partner] if another is None else [partner, _bare(another)]
                others = usual
                try:
                    for one in partners:
                        (others,) = others_than(one[None], others, len(others), modality)
                except InputError:  # there are not two of them
                    continue
                others = others[: self.checked.study.null or _OTHERS]
                targets = self._targets(place, joined([one[None] for one in (*partners, *others)]))
                own = chunk.embeddings[place][number].to(targets.vectors)  # (D,) or (K, D)
                close = targets(own.expand(len(targets), *own.shape)).tolist()
                scores = [standard_score(one, close[len(partners) :]) for one in close[: len(partners)]]
                found[place, each.pair.id] = dict(zip((SPECIFICITY, ANOTHERS), scores, strict=False))
        return found

    def _anothers(self, place: int, each: PreparedPair, partner: Tensor) -> Tensor | None:
        """Another pair's partner (D,) or (K, D), the same in every run; None where there is none."""
        assert self.others is not None
        others = self.others[1 - place]  # (M, ...)
        own = partner.to(others)
        close = Targets.of(self.model, others)(own.expand(len(others), *own.shape)).tolist()
        there = [row for row, similarity in enumerate(close) if similarity < _SAME]
        return others[there[_stable(each.pair.id) % len(there)]] if there else None

    def _method(
        self,
        chunk: Chunk,
        place: int,
        name: str,
        seeds: Sequence[int],
        known: Mapping[str, Made],
        found: ChunkFound,
    ) -> None:
        """The maps of one method and their scores, and those of its control, for each seed.

        known  by pair, what was made before, where the seed changes nothing
        """
        study, control = self.checked.study, self.checked.methods[name].spec.control
        draws = self.plan(name, seeds[0], place).method.draws
        before = {n: known[each.pair.id] for n, each in enumerate(chunk.pairs) if each.pair.id in known}
        made = {number: (grid, float("nan")) for number, (grid, _) in before.items()}
        scored = {number: scores for number, (_, scores) in before.items()}
        for seed in seeds:
            if draws or (seed == seeds[0] and not known):
                made = self._maps(chunk, place, self.plan(name, seed, place), (name, seed), found)
                scored = {}
            if not draws and seed != study.seeds[0]:  # the seed changes nothing
                made = {number: (grid, float("nan")) for number, (grid, _) in made.items()}
            stay: Mapping[int, float] = {}
            if MISMATCHED in study.metrics and not control and not scored:
                stay = self._stay(chunk, place, self.plan(name, seed, place), made, seed, found)
            records: list[MapRecord] = []
            found.maps[place, name, seed] = records
            found.pairs[place, name, seed] = len(chunk.pairs)
            for number, (grid, seconds) in sorted(made.items()):
                each, target = (
                    chunk.pairs[number],
                    self._targets(place, chunk.embeddings[1 - place][[number]]),
                )
                map_of = (place, name, seed, each.pair.id)
                if number not in scored:
                    scored[number] = self._scores(each, map_of, grid, target, seconds, found)
                    scored[number] |= {MISMATCHED: stay[number]} if number in stay else {}
                    scored[number] |= chunk.scores.get((place, each.pair.id), {})
                records.append(_record(each, map_of, grid, scored[number], seconds))
                if study.controls and not control:
                    map_of = (place, name + SHUFFLED, seed, each.pair.id)
                    moved = self._shuffled(each, place, seed, grid)
                    scores = self._scores(each, map_of, moved, target, float("nan"), found)
                    records.append(_record(each, map_of, moved, scores, float("nan")))

    def _stay(
        self,
        chunk: Chunk,
        place: int,
        plan: Plan,
        made: Mapping[int, tuple[np.ndarray, float]],
        seed: int,
        found: ChunkFound,
    ) -> dict[int, float]:
        """How much of each map is the same, as a rank correlation, when the input is explained against another pair's partner."""
        targets, stay = {}, dict.fromkeys(made, float("nan"))
        for number in made:
            another = self._anothers(place, chunk.pairs[number], chunk.embeddings[1 - place][number])
            if another is not None:
                targets[number] = another
        for members in self._batches(self.modalities[place], [chunk.pairs[n].items[place] for n in targets]):
            numbers = [[*targets][member] for member in members]
            items = [chunk.pairs[number].items[place] for number in numbers]
            rows = self._targets(place, torch.stack([targets[number] for number in numbers]))
            for number, each in zip(
                numbers, self._explained(self.modalities[place], items, rows, plan), strict=True
            ):
                if isinstance(each, M2IBError):
                    map_of = (place, plan.name, seed, chunk.pairs[number].pair.id)
                    found.failures.append((map_of, f"{MISMATCHED}: {each}"))
                else:
                    stay[number] = rank_correlation(made[number][0], np.asarray(each.grid, np.float64))
        return stay

    def _shuffled(self, each: PreparedPair, place: int, seed: int, grid: np.ndarray) -> np.ndarray:
        random = np.random.default_rng((seed, _stable(each.pair.id)))
        hideable = hideable_cells(self.model, self.modalities[place], each.items[place], grid.shape)
        return shuffled(grid, hideable, random)

    def _maps(
        self, chunk: Chunk, place: int, plan: Plan, run: tuple[str, int], found: ChunkFound
    ) -> dict[int, tuple[np.ndarray, float]]:
        """(grid, seconds) by the pairs' numbers, made in batches of one shape.

        Their warnings are noted under method and seed, and why there is none where one could not be made.
        """
        modality = self.modalities[place]
        every = [each.items[place] for each in chunk.pairs]
        made: dict[int, tuple[np.ndarray, float]] = {}
        for members in self._batches(modality, every):
            items = [every[number] for number in members]
            targets = self._targets(place, chunk.embeddings[1 - place][members])
            began = time.perf_counter()
            maps = self._explained(modality, items, targets, plan)
            seconds = (time.perf_counter() - began) / len(members)
            for number, each in zip(members, maps, strict=True):
                map_of = (place, *run, chunk.pairs[number].pair.id)
                if isinstance(each, M2IBError):
                    found.failures.append((map_of, str(each)))
                    continue
                truth = chunk.pairs[number].truths[place] if run[0] == ORACLE else None
                grid = each.grid if truth is None else truth.cells(each.grid.shape)
                made[number] = np.asarray(grid, dtype=np.float64), seconds
                said = (*every[number].origin.get("warnings", ()), *each.warnings, *each.remarks)
                found.warnings += [(map_of, text) for text in dict.fromkeys(said)]
        return made

    def _batches(self, modality: str, items: Sequence[Item]) -> Iterator[list[int]]:
        """Numbers of the inputs whose maps are made together; a chunk may have been begun with more of them at once."""
        for alike in by_shape(self.model.encoder(modality), items):
            yield from chunks_of(alike, self.checked.study.batch_size)

    def _explained(
        self, modality: str, items: Sequence[Item], targets: Targets, plan: Plan
    ) -> list[Map | M2IBError]:
        """A map for each, or why it could not be made: where a batch cannot, each is tried alone."""
        inputs = self.model.collate(modality, items)
        try:
            with plugin_code(f"the method {plan.name!r}"):
                other = self.modalities[1 - self.modalities.index(modality)]
                return list(explain_side(self.model, modality, items, inputs, targets, plan, other))
        except M2IBError as error:
            if isinstance(error.__cause__, Warning):  # where they are errors
                raise error.__cause__ from None
            if len(items) == 1:
                return [error]
        ones = zip(items, targets, strict=True)
        return [row for item, target in ones for row in self._explained(modality, [item], target, plan)]

    def _scores(
        self,
        each: PreparedPair,
        map_of: MapOf,
        grid: np.ndarray,
        target: Targets,
        seconds: float,
        found: ChunkFound,
    ) -> dict[str, float]:
        study, place = self.checked.study, map_of[0]
        modality, item = self.modalities[place], each.items[place]
        degraded = Degraded(self.model, modality, item, self.model.collate(modality, [item]), target)
        metrics = [metric for metric in study.metrics if metric in PER_MAP]
        more = {"curve_steps": study.curve_steps, "seed": _stable(each.pair.id)}

        def measured(those: Sequence[str]) -> dict[str, float]:
            """All of them at once, and where that fails each alone."""
            try:
                with plugin_code("the model, over what a metric makes of an input,"):
                    return scores_of(grid, those, degraded, each.truths[place], **more)
            except M2IBError as error:
                if len(those) == 1:
                    found.failures.append((map_of, f"{those[0]}: {error}"))
                    return {those[0]: float("nan")}
            return {name: value for metric in those for name, value in measured([metric]).items()}

        scores = measured(metrics)
        if "cosine" in metrics:
            scores["cosine"] = float(target(self.embed([each], place)))
        if "seconds" in metrics:
            scores["seconds"] = seconds
        return scores


def _record(
    each: PreparedPair, map_of: MapOf, grid: np.ndarray, scores: dict[str, float], seconds: float
) -> MapRecord:
    return MapRecord(*map_of, each.number, grid, scores, seconds)


def _bare(embedding: Tensor) -> Tensor:
    """A set (K, D) without the vectors that fill it up; a vector as it is."""
    return embedding[present(embedding)] if embedding.ndim > 1 else embedding


def _stable(name: str) -> int:
    """A number of a pair's id, the same in every run."""
    return zlib.crc32(name.encode())
