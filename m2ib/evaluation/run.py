"""The evaluation: every method on every pair, side and seed, into a store that survives being killed.

::

    pairs --chunk--> ready inputs, embeddings of both sides
                         for each side, method and seed not done yet: maps, scores  -> one transaction

A chunk's maps depend on the chunk, the batch size and their seed alone, so an evaluation that was cut off and goes on gives the
figures of one that was not; with another batch size those up to rounding, and chunks stay what they were.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import torch
from torch import Tensor

from m2ib.contract.model import Model
from m2ib.contract.similarity import joined
from m2ib.corpus.backends import backend_for
from m2ib.corpus.engine import Backend, Failed, stream
from m2ib.data.pairs import Pair, Pairs
from m2ib.errors import InputError, M2IBError, SettingError, StorageError
from m2ib.evaluation.cases import find_cases, to_plain
from m2ib.evaluation.chunks import PER_MAP, EvaluateChunks
from m2ib.evaluation.measures import ANOTHERS, MATCHED, MISMATCHED, SPECIFICITY
from m2ib.evaluation.prepared import PreparedPair, embeddings, prepared
from m2ib.evaluation.results import read_tables
from m2ib.evaluation.resume import PairCheck, check_same_study, looked_at
from m2ib.evaluation.slow_measures import ROAR, agreement_of, matched_of, roar_of, sanity_of
from m2ib.evaluation.store import BATCH_SIZES, FILES, KIND, UNEMBEDDED, Store
from m2ib.evaluation.study import ORACLE, SHUFFLED, ResolvedStudy, Study, check
from m2ib.evaluation.tasks import ChunkFound, ChunkTask, Made, Run
from m2ib.folders import ResultFolder, open_folder
from m2ib.notices import warn
from m2ib.paths import local_path
from m2ib.progress import Bar, going_on, progress
from m2ib.promises import leaves_nothing
from m2ib.registry.discovery import check_model
from m2ib.registry.foreign import plugin_code
from m2ib.registry.plan import plan_of

_PARTNERS = 32  # pairs whose inputs stand in for a partner


@leaves_nothing
def evaluate(
    model: Model,
    pairs: Pairs,
    study: Study,
    folder: str | Path,
    *,
    workers: int = 1,
    ray: str | None = None,
    originals: Path | None = None,
    show_progress: bool = True,
    title: str = "evaluate",
) -> Path:
    """Evaluate methods on pairs; what is found is kept in ``folder``, and what is there already is not done again.

    workers, ray  where maps and scores are made, as for :func:`m2ib.run`
    originals  a folder for ROAR+'s trainings on whole pairs, to share them between evaluations of the same pairs
    title      of the progress bar

    Gives the folder. :func:`m2ib.evaluation.results.read_results` reads its tables.

    Raises :class:`SettingError` for a study that does not hold together, :class:`StorageError` for a folder of
    another evaluation, and :class:`InputError` where no pair can be used or ``model`` is none.
    """
    check_model(model, "evaluate")
    backend = backend_for(workers, ray, model)
    checked = check(study, pairs)
    opened = open_folder(local_path(folder), KIND, force=True)
    opened.own(*FILES)
    with Store(opened.path) as store, progress(title, show=show_progress) as bar:
        check_same_study(store, model, pairs, checked, partial(opened.discard, f"{ROAR}/"))
        kept = originals and local_path(originals)
        told = title if show_progress else ""
        _Evaluation(model, pairs, checked, store, bar, opened, kept, backend, told).run()
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
    backend: Backend
    told: str  # by which name it tells what was there; "": it does not

    @cached_property
    def work(self) -> EvaluateChunks:
        asked = {MISMATCHED, SPECIFICITY, ANOTHERS} & {*self.checked.study.metrics}
        others = self._others() if asked else None
        return EvaluateChunks(self.model, self.pairs.modalities, self.checked, others)

    def _others(self) -> tuple[Tensor, Tensor]:
        """For each side, the embeddings of the first few inputs that can be used: partners for other pairs than theirs."""
        found: list[list[Tensor]] = [[], []]
        rows = enumerate(
            itertools.islice(iter(self.pairs), min(_PARTNERS, self.checked.study.limit or _PARTNERS))
        )
        with self.model.running():
            for number, pair in rows:
                try:
                    with plugin_code("the model"):
                        ready = [prepared(self.model, number, pair)]
                        both = [embeddings(self.model, self.pairs.modalities[at], at, ready) for at in (0, 1)]
                except M2IBError:
                    continue
                for side, each in zip(found, both, strict=True):
                    side.append(each)
        first, second = (joined(side) if side else torch.zeros(0, 1) for side in found)
        return first, second

    @property
    def _expected(self) -> int:
        """How many pairs; 0 where only reading them would tell."""
        total, limit = self.pairs.total(), self.checked.study.limit
        return min(limit or total or 0, total or limit or 0)

    def run(self) -> None:
        runs = self._runs()
        if not runs:
            raise SettingError(
                "evaluate: none of the methods is defined for these sides of the pairs: "
                + "; ".join(why for _, why in self.store.notes("undefined"))
            )
        self.bar.steps(len(runs) * self._expected)
        looks = PairCheck(self.store, partial(self.folder.discard, f"{ROAR}/"))
        self._tell(looks, runs)
        alike = None
        while (
            alike != looks.alike
        ):  # where inputs turn out to be made ready in another way, all are looked at
            alike, sizes = looks.alike, list[int]()
            chunks = ([task] for task in self._tasks(runs, looks, sizes))
            for ((task, found),) in stream(chunks, self.work, self.backend):
                self._keep(task, found, looks)
                for run, _ in itertools.product(runs, task.rows):
                    self.bar.advance(skipped=run not in task.todo)
        looks.known(len(sizes), [])
        self.store.set_fact(f"pairs {len(sizes)}", [])  # there are no more of them
        with self.store.whole():
            for bad in self.pairs.bad:
                self.store.note("bad row", bad.place, bad.reason)
            unused = [*self.store.notes("bad pair"), *self.store.notes(UNEMBEDDED)]
            self.store.set_fact("pairs", sum(sizes) - len({name for name, _ in unused}))
        if not self.store.scores():
            raise InputError(f"evaluate: no pair of {self.pairs.name!r} can be used: {self._first_reason()}")
        self._finish(runs)

    def _tell(self, looks: PairCheck, runs: Sequence[Run]) -> None:
        """How many maps were there already. Pairs that turned out to be bad count for nothing."""
        bad = {name for name, _ in self.store.notes("bad pair")}
        sizes = list(itertools.takewhile(bool, map(looks.size, itertools.count())))
        done = 0
        for number, size in enumerate(sizes):
            usable = size - len(bad.intersection(looks.ids(number) or ()))
            done += usable * sum(self.store.is_done(_unit(number, *run)) for run in runs)
        pairs = sum(sizes) if looks.ids(len(sizes)) == [] or not done else self.pairs.total()
        if pairs is not None:
            pairs = min(pairs, self.checked.study.limit or pairs) - len(bad)
        going_on(self.told, done, pairs and pairs * len(runs), "maps", show=self.told != "")

    def _tasks(self, runs: Sequence[Run], looks: PairCheck, sizes: list[int]) -> Iterator[ChunkTask]:
        """What is still to be done; ``sizes`` gets those of all chunks."""
        study = self.checked.study
        numbered = iter(enumerate(itertools.islice(iter(self.pairs), study.limit)))
        for number, rows in enumerate(looks.chunks(numbered, study.batch_size)):
            sizes.append(len(rows))
            known = looks.known(number, rows)
            look = looks.must_look(number, rows, known)
            if look and not number:  # what it tells of all others is known before they are begun
                checked, _ = looked_at(self.model, rows, known, (), look=True)
                assert checked is not None
                looks.settle(number, checked)
                look = False
            todo = [run for run in runs if not self.store.is_done(_unit(number, *run))]
            bad = frozenset(name for name, _ in self.store.notes("bad pair"))
            yield ChunkTask(number, rows, todo, runs, known, look, bad, self._made(rows, todo))

    def _made(
        self, rows: Sequence[tuple[int, Pair]], todo: Sequence[Run]
    ) -> dict[tuple[int, str], dict[str, Made]]:
        """What the first seed gave, of methods that give the same with any."""
        first = self.checked.study.seeds[0]
        found = {}
        for place, name in dict.fromkeys((place, name) for place, name, seed in todo if seed != first):
            if self.work.plan(name, first, place).method.draws or (place, name, first) in todo:
                continue
            grids, scores = self.store.grids(place, name, first), self.store.scores_of(place, name, first)
            found[place, name] = {
                pair.id: (grids[pair.id], {k: v for k, v in scores[pair.id].items() if k in PER_MAP})
                for _, pair in rows
                if pair.id in scores and pair.id in grids
            }
        return found

    def _keep(self, task: ChunkTask, found: ChunkFound | Failed, looks: PairCheck) -> None:
        """Into the store, each run in one transaction; what failed is tried again when the evaluation goes on."""
        ids = [pair.id for _, pair in task.rows]
        if isinstance(found, Failed):  # of a worker that died
            with self.store.whole():
                for (place, name, seed), pair in itertools.product(task.todo, ids):
                    self.store.fail((place, name, seed, pair), found.message)
            return
        if found.checked is not None:
            looks.settle(task.number, found.checked)
        if found.maps:
            sizes = [*(self.store.fact(BATCH_SIZES) or ()), self.checked.study.batch_size]
            with self.store.whole():
                self.store.set_fact(BATCH_SIZES, list(dict.fromkeys(sizes)))
                self.store.forget_notes(UNEMBEDDED, ids)
                for name, reason in found.unembedded:
                    self.store.note(UNEMBEDDED, name, reason)
        for run, maps in found.maps.items():
            place, name, seed = run
            again = {(place, each, seed, pair) for each in (name, name + SHUFFLED) for pair in ids}
            with self.store.whole():
                self.store.forget_failures(again & {*self.store.failures()})
                for map_of, text in found.warnings:
                    if map_of in again:
                        self.store.warn(map_of, text)
                for map_of, text in found.failures:
                    if map_of in again:
                        self.store.fail(map_of, text)
                self.store.add(maps)
                if found.whole(run):
                    self.store.set_done(_unit(task.number, *run))

    def _first_reason(self) -> str:
        reasons = [*self.store.notes("bad row"), *self.store.notes("bad pair"), *self.store.notes(UNEMBEDDED)]
        failed = [(place[1], why[0]) for place, why in self.store.failures().items()]
        return ": ".join([*failed, *reasons][0]) if failed or reasons else "it has none"

    def _runs(self) -> list[Run]:
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

    def _finish(self, runs: Sequence[Run]) -> None:
        """What is about all maps of a method at once."""
        if "rank-correlation" in self.checked.study.metrics:
            agreement_of(self.store, runs)
        if MATCHED in self.checked.study.metrics:
            matched_of(self.store, runs)
        for place in self.checked.places:
            names = [
                name
                for where, name in dict.fromkeys((where, name) for where, name, _ in runs)
                if where == place and name != ORACLE
            ]
            if "sanity" in self.checked.study.metrics and names:
                plans = {name: self.work.plan(name, self.checked.study.seeds[0], place) for name in names}
                few = self._ready(self.checked.study.sanity_pairs)
                sanity_of(self.model, self.store, self.checked.study, place, plans, few, self.folder)
            if "roar" in self.checked.study.metrics and names:
                more = self._ready(None), self.folder, self.originals
                roar_of(self.model, self.store, self.checked.study, place, names, *more)
        self._cases()

    def _cases(self) -> None:
        first = self.checked.study.seeds[0]
        plans = {
            (place, name): self.work.plan(name, first, place)
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

    def _ready(self, count: int | None) -> list[PreparedPair]:
        """The first ``count`` pairs that can be used, or all of the study's."""
        bad = {name for kind in ("bad pair", UNEMBEDDED) for name, _ in self.store.notes(kind)}
        numbered = enumerate(itertools.islice(iter(self.pairs), self.checked.study.limit))
        usable = (prepared(self.model, number, pair) for number, pair in numbered if pair.id not in bad)
        return list(itertools.islice(usable, count))


def _unit(chunk: int, place: int, name: str, seed: int) -> str:
    return f"{chunk}/{place}/{name}/{seed}"
