"""The evaluation: every method on every pair, side and seed, into a store that survives being killed.

::

    pairs --chunk--> ready inputs, embeddings of both sides
                         for each side, method and seed not done yet: maps, scores  -> one transaction

A chunk's maps depend on the chunk and their seed alone, so an evaluation that was cut off and goes on gives the figures
of one that was not.
"""

from __future__ import annotations

import itertools
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from m2ib.contract.inputs import Item
from m2ib.contract.model import Model
from m2ib.data.pairs import Pair, Pairs
from m2ib.errors import InputError, M2IBError, SettingError, StorageError
from m2ib.evaluation.cases import find_cases, to_plain
from m2ib.evaluation.degrading import Degraded, hideable_cells, shuffled
from m2ib.evaluation.measures import MEASURES
from m2ib.evaluation.prepared import PreparedPair, by_shape, embeddings, prepared
from m2ib.evaluation.results import read_tables
from m2ib.evaluation.resume import PairCheck, check_same_study
from m2ib.evaluation.scoring import scores_of
from m2ib.evaluation.slow_measures import ROAR, roar_of, sanity_of, sanity_summary
from m2ib.evaluation.store import FILES, KIND, MapRecord, Score, Store
from m2ib.evaluation.study import ORACLE, SHUFFLED, ResolvedStudy, Study, check
from m2ib.folders import ResultFolder, open_folder
from m2ib.methods.base import Map
from m2ib.metrics import rank_correlation
from m2ib.notices import warn
from m2ib.paths import local_path
from m2ib.pipeline import Plan, explain_side, plan_of
from m2ib.progress import Bar, progress
from m2ib.promises import leaves_nothing
from m2ib.registry.discovery import check_model
from m2ib.registry.foreign import plugin_code

PER_MAP = tuple(name for name in MEASURES if name not in ("rank-correlation", "sanity", "roar"))


@dataclass(frozen=True)
class Chunk:
    """Pairs that are worked on together, with the embeddings (N, D) of both sides, of length 1."""

    pairs: Sequence[PreparedPair]
    embeddings: tuple[Tensor, Tensor]

    def known(self, place: int) -> Chunk:
        """Those of which it is known where the evidence is."""
        numbers = [number for number, each in enumerate(self.pairs) if each.truths[place] is not None]
        one, other = self.embeddings
        return Chunk([self.pairs[number] for number in numbers], (one[numbers], other[numbers]))


@leaves_nothing
def evaluate(
    model: Model,
    pairs: Pairs,
    study: Study,
    folder: str | Path,
    *,
    originals: Path | None = None,
    show_progress: bool = True,
    title: str = "evaluate",
) -> Path:
    """Evaluate methods on pairs; what is found is kept in ``folder``, and what is there already is not done again.

    originals  a folder for ROAR+'s trainings on whole pairs, to share them between evaluations of the same pairs
    title      of the progress bar

    Gives the folder. :func:`m2ib.evaluation.results.read_results` reads its tables.

    Raises :class:`SettingError` for a study that does not hold together, :class:`StorageError` for a folder of
    another evaluation, and :class:`InputError` where no pair can be used or ``model`` is none.
    """
    check_model(model, "evaluate")
    checked = check(study, pairs)
    opened = open_folder(local_path(folder), KIND, force=True)
    opened.own(*FILES)
    with Store(opened.path) as store, progress(title, show=show_progress) as bar:
        check_same_study(store, model, pairs, checked, partial(opened.discard, f"{ROAR}/"))
        _Evaluation(model, pairs, checked, store, bar, opened, originals and local_path(originals)).run()
    return opened.path


@dataclass
class _Evaluation:
    model: Model
    pairs: Pairs
    checked: ResolvedStudy
    store: Store
    bar: Bar
    folder: ResultFolder
    originals: Path | None

    def run(self) -> None:
        study = self.checked.study
        runs = self._runs()
        if not runs:
            raise SettingError(
                "evaluate: none of the methods is defined for these sides of the pairs: "
                + "; ".join(why for _, why in self.store.notes("undefined"))
            )
        advance = self.bar.steps(len(runs) * (study.limit or 0))
        seen = chunks = 0
        looks = PairCheck(self.model, self.store, partial(self.folder.discard, f"{ROAR}/"))
        with self.model.running():
            for number, rows in enumerate(_chunks(self.pairs, study.limit, study.batch_size)):
                ready = looks.usable(number, rows)
                todo = [run for run in runs if not self.store.is_done(_unit(number, *run))]
                chunk = self._chunk(self._ready_of(rows) if ready is None else ready) if todo else None
                for place, name, seed in todo:
                    assert chunk is not None
                    found, whole = self._work(chunk, place, name, seed) if chunk.pairs else ([], True)
                    with self.store.whole():
                        self.store.add(found)
                        if whole:  # what failed is tried again when the evaluation goes on
                            self.store.set_done(_unit(number, place, name, seed))
                for _ in range(len(runs) * len(rows)):
                    advance()
                seen += len(rows)
                chunks += 1
            looks.known(chunks, [])
            self.store.set_fact(f"pairs {chunks}", [])  # there are no more of them
            with self.store.whole():
                for bad in self.pairs.bad:
                    self.store.note("bad row", bad.place, bad.reason)
                self.store.set_fact("pairs", seen)
        if not self.store.scores():
            raise InputError(f"evaluate: no pair of {self.pairs.name!r} can be used: {self._first_reason()}")
        self._finish(runs)

    def _first_reason(self) -> str:
        reasons = [*self.store.notes("bad row"), *self.store.notes("bad pair")]
        failed = [(place[1], why[0]) for place, why in self.store.failures().items()]
        return ": ".join([*failed, *reasons][0]) if failed or reasons else "it has none"

    def _runs(self) -> list[tuple[int, str, int]]:
        """(place, method, seed) of everything that is defined; what is not is noted."""
        runs = []
        modalities = self.pairs.modalities
        with self.store.whole():
            for place, name, why in self.checked.undefined:
                self.store.note("undefined", f"{place} {name}", why)
            for place, name in itertools.product(self.checked.places, self.checked.methods):
                if not self.checked.defined(place, name):
                    continue
                plan = plan_of(name, self.checked.given(name, 0), info=self.checked.methods[name])
                why_not = plan.method.refuse(self.model.encoder(modalities[place]))
                if why_not is not None:
                    self.store.note("undefined", f"{place} {name}", why_not)
                    continue
                settings = plan.settings(self.model, modalities[place], modalities)
                self.store.set_fact(f"settings {place} {name}", settings.to_dict())
                runs += [(place, name, seed) for seed in self.checked.study.seeds]
        return runs

    def _plan(self, name: str, seed: int, place: int) -> Plan:
        given = self.checked.given(name, seed, self.pairs.modalities[place])
        return plan_of(name, given, info=self.checked.methods[name])

    def _ready_of(self, rows: Sequence[tuple[int, Pair]]) -> list[PreparedPair]:
        """The pairs that could be used before."""
        bad = {name for name, _ in self.store.notes("bad pair")}
        return [prepared(self.model, place, pair) for place, pair in rows if pair.id not in bad]

    def _chunk(self, ready: Sequence[PreparedPair]) -> Chunk:
        """With their embeddings; a pair without one is noted and left out."""
        kept, rows = [], []
        for each in ready:
            try:
                with plugin_code("the model"):
                    rows.append([self._embed([each], place) for place in (0, 1)])
                kept.append(each)
            except M2IBError as error:
                self.store.note("bad pair", each.pair.id, str(error))
        first, second = (
            (torch.cat(side) for side in zip(*rows, strict=True)) if rows else (torch.zeros(0, 1),) * 2
        )
        return Chunk(kept, (first, second))

    def _embed(self, ready: Sequence[PreparedPair], place: int) -> Tensor:
        return embeddings(self.model, self.pairs.modalities[place], place, ready)

    def _work(self, chunk: Chunk, place: int, name: str, seed: int) -> tuple[list[MapRecord], bool]:
        """The maps of one method and their scores, and those of its control; and whether all could be made."""
        study, spec = self.checked.study, self.checked.methods[name].spec
        if name == ORACLE:
            chunk = chunk.known(place)
        plan = self._plan(name, seed, place)
        first, scored = study.seeds[0], {}
        if plan.method.draws or seed == first:
            made = self._maps(chunk, place, plan, (name, seed))
        else:  # the seed changes nothing
            known = self.store.grids(place, name, first)
            ids = [each.pair.id for each in chunk.pairs]
            made = {number: (known[pair], float("nan")) for number, pair in enumerate(ids) if pair in known}
            scored = self.store.scores_of(place, name, first)
        found = []
        for number, (grid, seconds) in sorted(made.items()):
            each, target = chunk.pairs[number], chunk.embeddings[1 - place][number]
            if each.pair.id in scored:
                own = {k: v for k, v in scored[each.pair.id].items() if k in PER_MAP}
                found.append(MapRecord(place, name, seed, each.pair.id, each.number, grid, own, seconds))
            else:
                found.append(self._scored(each, place, name, seed, grid, target, seconds))
            if study.controls and not spec.control:
                random = np.random.default_rng((seed, _stable(each.pair.id)))
                modality = self.pairs.modalities[place]
                hideable = hideable_cells(self.model, modality, each.items[place], grid.shape)
                moved = shuffled(grid, hideable, random)
                found.append(self._scored(each, place, name + SHUFFLED, seed, moved, target, float("nan")))
        return found, len(made) == len(chunk.pairs)

    def _maps(
        self, chunk: Chunk, place: int, plan: Plan, run: tuple[str, int]
    ) -> dict[int, tuple[np.ndarray, float]]:
        """(grid, seconds) by the pairs' numbers, made in batches of one shape.

        Their warnings are noted under method and seed, and why there is none where one could not be made.
        """
        modality = self.pairs.modalities[place]
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
                self.store.forget_failures([map_of])
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
        study, modality = self.checked.study, self.pairs.modalities[place]
        item = each.items[place]
        degraded = Degraded(self.model, modality, item, self.model.collate(modality, [item]), target)
        metrics = [metric for metric in study.metrics if metric in PER_MAP]
        more = {"curve_steps": study.curve_steps, "seed": _stable(each.pair.id)}
        scores = scores_of(grid, metrics, degraded, each.truths[place], **more)
        if "cosine" in metrics:
            own = self._embed([each], place)[0]
            scores["cosine"] = float(own @ target.to(own))
        if "seconds" in metrics:
            scores["seconds"] = seconds
        return MapRecord(place, name, seed, each.pair.id, each.number, grid, scores, seconds)

    def _finish(self, runs: Sequence[tuple[int, str, int]]) -> None:
        """What is about all maps of a method at once."""
        if "rank-correlation" in self.checked.study.metrics:
            with self.store.whole():
                self._agreement(runs)
        for place in self.checked.places:
            names = [
                name
                for where, name in dict.fromkeys((where, name) for where, name, _ in runs)
                if where == place and name != ORACLE
            ]
            if "sanity" in self.checked.study.metrics and names:
                self._sanity(place, names)
            if "roar" in self.checked.study.metrics and names:
                more = self._ready(None), self.folder, self.originals
                roar_of(self.model, self.store, self.checked.study, place, names, *more)
        self._cases()

    def _cases(self) -> None:
        first = self.checked.study.seeds[0]
        plans = {
            (place, name): self._plan(name, first, place)
            for place in self.checked.places
            for name in self.checked.methods
        }
        try:
            with plugin_code("drawing them"):
                cases = find_cases(self.model, self.pairs, self.store, read_tables(self.store), plans, first)
        except StorageError:
            raise
        except M2IBError as error:
            warn(f"evaluate: the worst cases cannot be shown: {error}")
            cases = []
        with self.store.whole():
            self.store.set_fact("cases", to_plain(cases))

    def _sanity(self, place: int, names: Sequence[str]) -> None:
        """Of each method; and all of them on one picture."""
        study, modality = self.checked.study, self.pairs.modalities[place]
        ready = self._ready(study.sanity_pairs)
        alike = by_shape(self.model.encoder(modality), [each.items[place] for each in ready])[0]
        chosen = [ready[number] for number in alike]
        plans = {name: self._plan(name, study.seeds[0], place) for name in names}
        todo = [name for name in names if not self.store.is_done(f"sanity/{place}/{name}/{study.seeds[0]}")]
        if todo:
            with self.model.running():
                targets = self._embed(chosen, 1 - place)
        for name in todo:
            about_all = (place, name, study.seeds[0], "")
            self.store.forget_failures([about_all])
            try:
                with plugin_code(f"the method {name!r}"):
                    sanity_of(self.model, self.store, study, place, name, plans[name], chosen, targets)
            except StorageError:
                raise
            except M2IBError as error:
                self.store.fail(about_all, f"sanity: {error}")
        sanity_summary(self.model, self.store, place, plans, chosen, self.folder)

    def _ready(self, count: int | None) -> list[PreparedPair]:
        """The first ``count`` pairs that can be used, or all of the study's."""
        bad = {name for name, _ in self.store.notes("bad pair")}
        numbered = enumerate(itertools.islice(iter(self.pairs), self.checked.study.limit))
        usable = (prepared(self.model, number, pair) for number, pair in numbered if pair.id not in bad)
        return list(itertools.islice(usable, count))

    def _agreement(self, runs: Sequence[tuple[int, str, int]]) -> None:
        """Each seed's maps with the next seed's."""
        seeds = self.checked.study.seeds
        for place, name in dict.fromkeys((place, name) for place, name, _ in runs):
            grids = {seed: self.store.grids(place, name, seed) for seed in seeds}
            numbers = self.store.numbers(place)
            for seed, following in zip(seeds, [*seeds[1:], seeds[0]], strict=True):
                self.store.add_scores(
                    Score(
                        place,
                        name,
                        seed,
                        pair,
                        numbers[pair],
                        "rank-correlation",
                        rank_correlation(grid, grids[following][pair]),
                    )
                    for pair, grid in grids[seed].items()
                    if pair in grids[following]
                )


def _chunks(pairs: Pairs, limit: int | None, size: int) -> Iterator[list[tuple[int, Pair]]]:
    numbered = enumerate(itertools.islice(iter(pairs), limit))
    while rows := list(itertools.islice(numbered, size)):
        yield rows


def _unit(chunk: int, place: int, name: str, seed: int) -> str:
    return f"{chunk}/{place}/{name}/{seed}"


def _stable(name: str) -> int:
    """A number of a pair's id, the same in every run."""
    return zlib.crc32(name.encode())
