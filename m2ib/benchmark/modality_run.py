"""One evaluation of a benchmark: a seed's questions, asked of one modality of a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from m2ib.benchmark.health import TEXT
from m2ib.benchmark.scores import COLUMNS, Control, MapScores, applicable
from m2ib.contract.model import Model
from m2ib.data.made_up import pair_of
from m2ib.data.pairs import Pairs, Row, take
from m2ib.errors import InputError
from m2ib.evaluation.cases import outlined
from m2ib.evaluation.map_grid import data_url, grid_figure
from m2ib.evaluation.prepared import PreparedPair, prepared
from m2ib.evaluation.run import evaluate
from m2ib.evaluation.scoring import located
from m2ib.evaluation.store import Store
from m2ib.evaluation.study import Study
from m2ib.evaluation.truth import truth_of
from m2ib.folders import ResultFolder
from m2ib.methods.base import Batch, degradation_of
from m2ib.registry.discovery import Registered
from m2ib.registry.plan import plan_of
from m2ib.registry.specs import MethodSpec
from m2ib.scenes.questions import Question, single_scenes

EXAMPLES = 3  # questions whose maps are kept for looking at
_TIME, _PLANE = "time", "-tf"
_FACTS = ("cosine", "total", "peak", "seconds")  # the same whatever a map is compared with
_EFFECTS = ("deletion", "insertion", "mask_deletion", "mask_insertion")


@dataclass(frozen=True)
class Example:
    """The maps of a few scenes.

    asked    (kind, caption) of each scene
    picture  a row of maps for each scene, as a data URL
    """

    modality: str
    asked: Sequence[tuple[str, str]]
    picture: str


def study_of(
    side: str,
    names: Sequence[str],
    settings: Mapping[str, Any],
    metrics: Sequence[str],
    seed: int,
    batch_size: int,
) -> Study:
    """Of some methods on one side; settings of others are left out."""
    own = {name: given for name, given in settings.items() if name in names}
    return Study(tuple(names), tuple(metrics), (seed,), own, (side,), batch_size=batch_size, controls=False)


@dataclass(frozen=True)
class ModalityRun:
    """The questions of one seed, asked of one modality of a model.

    place         the benchmark's folder
    workers, ray  where maps and scores are made
    """

    model: Model
    seed: int
    modality: str
    against: str
    settings: Mapping[str, Any]
    asked: Sequence[Question]
    split: str
    batch_size: int
    place: ResultFolder
    control: Control = ""
    workers: int = 1
    ray: str | None = None

    @property
    def name(self) -> str:
        """Of its folder in the benchmark's."""
        return f"seed-{self.seed}/{'-'.join([self.modality, *self.control.split()])}"

    @property
    def folder(self) -> Path:
        return self.place.path / self.name

    @property
    def along(self) -> str:
        """Of a sound and a motion the moment counts."""
        return _TIME if any(axis.name == _TIME for axis in self.asked[0].scene.axes[self.modality]) else ""

    def pairs(self) -> Pairs:
        name = ", ".join(filter(None, [f"scenes: {self.modality}", self.split, self.control]))
        return Pairs(name, (self.modality, self.against), self._rows, located=True, numbered=True)

    def _rows(self) -> Iterator[Row]:
        against: list[tuple[str, Any] | None] = [None] * len(self.asked)
        if self.against != TEXT:
            alone = single_scenes(self.split, self.seed, [question.kind for question in self.asked])
            against = [(self.against, one.inputs[self.against]) for one in alone]
        pair = partial(
            pair_of, modality=self.modality, absent=self.control == "absent object", along=self.along
        )
        for number, (question, other) in enumerate(zip(self.asked, against, strict=True)):
            yield Row(f"scene {number}", partial(pair, question, against=other))

    def _some(self, count: int | None = None) -> Iterator[PreparedPair]:
        """The first ``count`` pairs, or all, as the model takes them."""
        for number, pair in enumerate(take(self.pairs(), count)):
            yield prepared(self.model, number, pair)

    @cached_property
    def hides(self) -> bool:
        """Whether it is known how parts of the inputs are hidden."""
        (one,) = self._some(1)
        batch = Batch(
            self.model, self.modality, one.items[:1], self.model.collate(self.modality, one.items[:1])
        )
        with self.model.running():
            (grid,) = batch.grids(batch.encoder.default_layer)
        try:
            degradation_of(batch.encoder).positions(batch.inputs, grid)
        except InputError:
            return False
        return True

    def possible(self, methods: Mapping[str, Registered[MethodSpec]]) -> dict[str, Registered[MethodSpec]]:
        """Without those that would hide words where they cannot be hidden. Raises :class:`InputError` for no others."""
        hiding = [name for name, info in methods.items() if info.spec.hides and not self.hides]
        left = {name: info for name, info in methods.items() if name not in hiding}
        if hiding and (self.modality != TEXT or not left):
            raise InputError(
                f"benchmark: {', '.join(hiding)} hides parts of an input, and those of {self.modality} cannot be told in "
                f"what this model takes; leave {', '.join(hiding)} out of the methods"
            )
        return left

    def run(self, methods: Mapping[str, Registered[MethodSpec]], show_progress: bool) -> list[MapScores]:
        """The scores of all maps. Raises :class:`InputError` for a model that does not tell its tokens."""
        (one,) = self._some(1)
        if self.modality == TEXT and not one.items[0].layout.tokens:
            raise InputError(
                "benchmark: the model's layout of texts has no tokens; give the adapter's Layout `tokens`"
            )
        effects = self.control == "" and self.modality != TEXT and self.hides
        metrics = [measure for metric, measure in COLUMNS.items() if effects or metric not in _EFFECTS]
        study = study_of(self.modality, tuple(methods), self.settings, metrics, self.seed, self.batch_size)
        title = f"benchmark: {self.modality}, seed {self.seed}"
        self.place.own(self.name)
        evaluate(
            self.model,
            self.pairs(),
            study,
            self.folder,
            workers=self.workers,
            ray=self.ray,
            show_progress=show_progress,
            title=title,
        )
        asked = {str(question.scene.seed): question for question in self.asked}
        with Store(self.folder) as store:
            warnings = store.warnings()
            found = [
                MapScores(
                    self.seed,
                    asked[pair].scene.seed,
                    self.modality,
                    name,
                    self.control,
                    asked[pair].absent if self.control == "absent object" else asked[pair].kind,
                    applicable(scores),
                    tuple(warnings.get((0, name, self.seed, pair), ())),
                )
                for name in methods
                for pair, scores in store.scores_of(0, name, self.seed).items()
            ]
            return [*found, *self._on_planes(found, store)] if self.along else found

    def _on_planes(self, found: Sequence[MapScores], store: Store) -> Iterator[MapScores]:
        """The same maps on all axes that they have in common with the masks, where these are several."""
        truths = {
            each.pair.id: truth_of(replace(each.pair, along=""), 0, each.items[0]) for each in self._some()
        }
        grids = {name: store.grids(0, name, self.seed) for name in {each.method for each in found}}
        for each in found:
            pair = str(each.scene)
            truth = truths[pair]
            if truth is not None and len(truth.raster) > 1:
                values = {fact: each.values[fact] for fact in _FACTS}
                values |= applicable(located(grids[each.method][pair], truth, each.scene))
                yield replace(each, modality=self.modality + _PLANE, values=values)

    def examples(self, methods: Mapping[str, Registered[MethodSpec]]) -> Example:
        """The maps of the first questions, what is known drawn over them."""
        with Store(self.folder) as store:
            grids = {name: found for name in methods if (found := store.grids(0, name, self.seed))}
        plans = {name: plan_of(name, {}, info=methods[name]) for name in grids}
        asked = [(question.kind, question.scene.text) for question in self.asked[:EXAMPLES]]
        rows = [
            (
                kind,
                [
                    (name, outlined(self.model, each, 0, plans[name], grids[name][each.pair.id], others=True))
                    for name in grids
                ],
            )
            for (kind, _), each in zip(asked, self._some(EXAMPLES), strict=True)
        ]
        return Example(self.modality, asked, data_url(grid_figure(rows)))

    def made_with(self, methods: Mapping[str, Registered[MethodSpec]]) -> dict[str, Any]:
        """The settings of the methods that have some."""
        with Store(self.folder) as store:
            facts = {name: store.fact(f"settings 0 {name}") for name in methods}
        return {f"{name} {self.modality}": found for name, found in facts.items() if found}
