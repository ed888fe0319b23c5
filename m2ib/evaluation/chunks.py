"""Pairs that are worked on together: their embeddings, and the maps and scores of one method and seed."""

from __future__ import annotations

import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from m2ib.contract.inputs import Item
from m2ib.contract.model import Model
from m2ib.errors import M2IBError
from m2ib.evaluation.degrading import Degraded, hideable_cells, shuffled
from m2ib.evaluation.measures import MEASURES
from m2ib.evaluation.prepared import PreparedPair, by_shape, embeddings
from m2ib.evaluation.scoring import scores_of
from m2ib.evaluation.store import UNEMBEDDED, MapRecord, Store
from m2ib.evaluation.study import ORACLE, SHUFFLED, ResolvedStudy
from m2ib.methods.base import Map
from m2ib.pipeline import Plan, explain_side, plan_of
from m2ib.registry.foreign import plugin_code

PER_MAP = tuple(name for name in MEASURES if name not in ("rank-correlation", "sanity", "roar"))


@dataclass(frozen=True)
class Chunk:
    """Pairs that are worked on together, with the embeddings (N, D) of both sides, of length 1."""

    pairs: Sequence[PreparedPair]
    embeddings: tuple[Tensor, Tensor]
    whole: bool = True  # whether all pairs have embeddings

    def known(self, place: int) -> Chunk:
        """Those of which it is known where the evidence is."""
        numbers = [number for number, each in enumerate(self.pairs) if each.truths[place] is not None]
        one, other = self.embeddings
        return Chunk([self.pairs[number] for number in numbers], (one[numbers], other[numbers]), self.whole)


@dataclass(frozen=True)
class ChunkWork:
    """What is done with each chunk. What cannot be made is noted in the store.

    modalities  of the pairs
    """

    model: Model
    modalities: tuple[str, str]
    checked: ResolvedStudy
    store: Store

    def plan(self, name: str, seed: int, place: int) -> Plan:
        given = self.checked.given(name, seed, self.modalities[place])
        return plan_of(name, given, info=self.checked.methods[name])

    def chunk(self, ready: Sequence[PreparedPair]) -> Chunk:
        """With their embeddings; a pair without one is noted and left out."""
        kept, rows, failed = [], [], []
        for each in ready:
            try:
                with plugin_code("the model"):
                    rows.append([self.embed([each], place) for place in (0, 1)])
                kept.append(each)
            except M2IBError as error:
                failed.append((each.pair.id, str(error)))
        first, second = (
            (torch.cat(side) for side in zip(*rows, strict=True)) if rows else (torch.zeros(0, 1),) * 2
        )
        with self.store.whole():
            self.store.forget_notes(UNEMBEDDED, [each.pair.id for each in ready])
            for name, reason in failed:
                self.store.note(UNEMBEDDED, name, reason)
        return Chunk(kept, (first, second), not failed)

    def embed(self, ready: Sequence[PreparedPair], place: int) -> Tensor:
        return embeddings(self.model, self.modalities[place], place, ready)

    def work(self, chunk: Chunk, place: int, name: str, seed: int) -> tuple[list[MapRecord], bool]:
        """The maps of one method and their scores, and those of its control; and whether all could be made."""
        study, spec = self.checked.study, self.checked.methods[name].spec
        if name == ORACLE:
            chunk = chunk.known(place)
        plan = self.plan(name, seed, place)
        run = {(place, each, seed, pair.pair.id) for each in (name, name + SHUFFLED) for pair in chunk.pairs}
        if again := run & {*self.store.failures()}:
            self.store.forget_failures(again)
        first, scored = study.seeds[0], {}
        if plan.method.draws or seed == first:
            made = self._maps(chunk, place, plan, (name, seed))
        else:  # the seed changes nothing
            known = self.store.grids(place, name, first)
            ids = [each.pair.id for each in chunk.pairs]
            made = {number: (known[pair], float("nan")) for number, pair in enumerate(ids) if pair in known}
            scored = self.store.scores_of(place, name, first)
        found: list[MapRecord] = []
        whole = chunk.whole and len(made) == len(chunk.pairs)
        for number, (grid, seconds) in sorted(made.items()):
            each, target = chunk.pairs[number], chunk.embeddings[1 - place][number]
            if each.pair.id in scored:
                own = {k: v for k, v in scored[each.pair.id].items() if k in PER_MAP}
                found.append(MapRecord(place, name, seed, each.pair.id, each.number, grid, own, seconds))
            else:
                found.append(self._scored(each, place, name, seed, grid, target, seconds))
            if study.controls and not spec.control:
                moved = self._shuffled(each, place, seed, grid)
                found.append(self._scored(each, place, name + SHUFFLED, seed, moved, target, float("nan")))
        whole = whole and not run & {*self.store.failures()}
        return found, whole

    def _shuffled(self, each: PreparedPair, place: int, seed: int, grid: np.ndarray) -> np.ndarray:
        random = np.random.default_rng((seed, _stable(each.pair.id)))
        hideable = hideable_cells(self.model, self.modalities[place], each.items[place], grid.shape)
        return shuffled(grid, hideable, random)

    def _maps(
        self, chunk: Chunk, place: int, plan: Plan, run: tuple[str, int]
    ) -> dict[int, tuple[np.ndarray, float]]:
        """(grid, seconds) by the pairs' numbers, made in batches of one shape.

        Their warnings are noted under method and seed, and why there is none where one could not be made.
        """
        modality = self.modalities[place]
        every = [each.items[place] for each in chunk.pairs]
        found: dict[int, tuple[np.ndarray, float]] = {}
        for members in by_shape(self.model.encoder(modality), every):
            items = [every[number] for number in members]
            targets = chunk.embeddings[1 - place][members]
            began = time.perf_counter()
            maps = self._explained(modality, items, targets, plan)
            seconds = (time.perf_counter() - began) / len(members)
            for number, made in zip(members, maps, strict=True):
                map_of = (place, *run, chunk.pairs[number].pair.id)
                if isinstance(made, M2IBError):
                    self.store.fail(map_of, str(made))
                    continue
                truth = chunk.pairs[number].truths[place] if plan.name == ORACLE else None
                grid = made.grid if truth is None else truth.cells(made.grid.shape)
                found[number] = np.asarray(grid, dtype=np.float64), seconds
                for text in dict.fromkeys(
                    (*every[number].origin.get("warnings", ()), *made.warnings, *made.remarks)
                ):
                    self.store.warn(map_of, text)
        return found

    def _explained(
        self, modality: str, items: Sequence[Item], targets: Tensor, plan: Plan
    ) -> list[Map | M2IBError]:
        """A map for each, or why it could not be made: where a batch cannot, each is tried alone."""
        inputs = self.model.collate(modality, items)
        try:
            with plugin_code(f"the method {plan.name!r}"):
                return list(explain_side(self.model, modality, items, inputs, targets, plan))
        except M2IBError as error:
            if isinstance(error.__cause__, Warning):  # where they are errors
                raise error.__cause__ from None
            if len(items) == 1:
                return [error]
        ones = zip(items, targets.split(1), strict=True)
        return [row for item, target in ones for row in self._explained(modality, [item], target, plan)]

    def _scored(
        self,
        each: PreparedPair,
        place: int,
        name: str,
        seed: int,
        grid: np.ndarray,
        target: Tensor,
        seconds: float,
    ) -> MapRecord:
        study, modality = self.checked.study, self.modalities[place]
        item = each.items[place]
        degraded = Degraded(self.model, modality, item, self.model.collate(modality, [item]), target)
        metrics = [metric for metric in study.metrics if metric in PER_MAP]
        more = {"curve_steps": study.curve_steps, "seed": _stable(each.pair.id)}
        map_of = (place, name, seed, each.pair.id)

        def measured(those: Sequence[str]) -> dict[str, float]:
            """All of them at once, and where that fails each alone."""
            try:
                with plugin_code("the model, over what a metric makes of an input,"):
                    return scores_of(grid, those, degraded, each.truths[place], **more)
            except M2IBError as error:
                if len(those) == 1:
                    self.store.fail(map_of, f"{those[0]}: {error}")
                    return {those[0]: float("nan")}
            return {name: value for metric in those for name, value in measured([metric]).items()}

        scores = measured(metrics)
        if "cosine" in metrics:
            own = self.embed([each], place)[0]
            scores["cosine"] = float(own @ target.to(own))
        if "seconds" in metrics:
            scores["seconds"] = seconds
        return MapRecord(place, name, seed, each.pair.id, each.number, grid, scores, seconds)


def _stable(name: str) -> int:
    """A number of a pair's id, the same in every run."""
    return zlib.crc32(name.encode())
