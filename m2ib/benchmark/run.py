"""The whole benchmark: for each seed the model's health, then an evaluation of every modality's maps and of each control."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from m2ib.benchmark.figures import COLUMNS, Control, Key, MapScores, Means, applicable, figures, means
from m2ib.benchmark.gates import Outcome, outcomes
from m2ib.benchmark.health import TEXT, health
from m2ib.contract.model import Model
from m2ib.data.made_up import pair_of
from m2ib.data.pairs import Pairs, Row, take
from m2ib.errors import InputError, SettingError, did_you_mean
from m2ib.evaluation.cases import outlined
from m2ib.evaluation.map_grid import data_url, grid_figure
from m2ib.evaluation.prepared import PreparedPair, prepared
from m2ib.evaluation.run import evaluate
from m2ib.evaluation.scoring import located
from m2ib.evaluation.store import FILE, Store
from m2ib.evaluation.study import Study, check
from m2ib.evaluation.truth import truth_of
from m2ib.execution.context import ONE_AT_A_TIME, as_loaded, frozen
from m2ib.methods.base import Batch, degradation_of
from m2ib.metrics import Aggregate
from m2ib.pipeline import plan_of
from m2ib.registry.discovery import MethodInfo
from m2ib.scenes import scene
from m2ib.scenes import scenes as make_scenes
from m2ib.scenes.questions import Question, questions, single_scenes
from m2ib.scenes.splits import RETRIEVE, scene_seeds

METHODS = ("m2ib", "sharp", "rise", "random", "uniform", "oracle")
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "sharp": {"method": "m2ib", "preset": "sharp"},
    "rise": {"masks": 256},
}
"""Of the usual methods, as in :class:`m2ib.evaluation.study.Study`."""

EXAMPLES = 3  # questions of the first seed whose maps are kept for looking at
ABSENT_SHARE = 4  # one in so many questions is asked for an absent object too
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


@dataclass(frozen=True)
class Benchmark:
    """What came out.

    maps      the scores of each
    means     by seed, modality, method and metric; the model's own health among them
    examples  a few maps, for looking at
    settings  what was asked for, and of which model; JSON-able
    """

    maps: Sequence[MapScores]
    means: Means
    examples: Sequence[Example]
    settings: Mapping[str, Any]

    @property
    def figures(self) -> dict[Key, Aggregate]:
        """Means over the seeds."""
        return figures(self.means)

    @property
    def outcomes(self) -> list[Outcome]:
        """Every gate, met or not."""
        return outcomes(self.figures)


def stores(folder: Path) -> Iterator[Path]:
    """The folders of the evaluations that a benchmark in ``folder`` has begun."""
    return (path.parent for path in folder.glob(f"seed-*/*/{FILE}"))


def run_scenes(
    model: Model,
    *,
    scenes: int = 256,
    seeds: Iterable[int] = (0, 1, 2),
    methods: Iterable[str] = METHODS,
    settings: Mapping[str, Any] = SETTINGS,
    modalities: Iterable[str] | None = None,
    split: str = "test",
    random_weights: Model | None = None,
    batch_size: int = 16,
    folder: str | Path | None = None,
    show_progress: bool = True,
) -> Benchmark:
    """Measure a model and its maps on scenes in which it is known where the evidence is.

    scenes          how many for each seed
    seeds           each has scenes of its own; standard errors are over them
    methods         names of registered methods, of variants in ``settings``, and "oracle": the true mask on the model's grid
    settings        of the methods, by method or variant; those of others are left out
    modalities      those of scenes that the model takes, or some of them
    split           "test", or "tune" for choosing settings
    random_weights  the same model with random weights, as a control
    batch_size      maps made together
    folder          where maps are kept, so that a benchmark that was cut off goes on; None: nowhere

    Everything but texts is explained against a text that names one of the scene's two or three objects.
    A caption is explained against another scene, of one object, as an image (or as what else the model
    takes first). ``seconds`` leave out what is the same for every method: making the inputs ready and
    embedding the other side.

    Raises :class:`SettingError`, :class:`InputError` for an input that the model does not take, and
    :class:`StorageError` for a folder of another benchmark.
    """
    known = _modalities(model)
    chosen = known if modalities is None else _names(modalities, known)
    named, numbers = checked(scenes, seeds, methods, split, batch_size, settings)
    maps: list[MapScores] = []
    found: Means = {}
    examples: list[Example] = []
    made_with: dict[str, Any] = {}
    with ExitStack() as stack:
        place = Path(folder or stack.enter_context(TemporaryDirectory()))
        for seed in numbers:
            asked = questions(split, seed, int(scenes))
            found |= health(model, chosen, seed, make_scenes(scene_seeds(split, seed, int(scenes), RETRIEVE)))
            for modality in chosen:
                against = known[0] if modality == TEXT else TEXT
                part = _Part(model, seed, modality, against, settings, asked, split, int(batch_size), place)
                possible = part.possible(named)
                own = part.run(possible, show_progress)
                maps += own
                if seed == numbers[0]:
                    examples.append(part.examples(possible))
                    made_with |= part.made_with(possible)
                explaining = {
                    name: possible[name]
                    for name in dict.fromkeys(each.method for each in own)
                    if not possible[name].spec.control and not possible[name].spec.hides
                }
                if modality == TEXT or not explaining:
                    continue
                few = asked[: max(1, len(asked) // ABSENT_SHARE)]
                maps += replace(part, control="absent object", asked=few).run(explaining, show_progress)
                if random_weights is not None:
                    control = replace(part, control="random weights", model=random_weights)
                    maps += control.run(explaining, show_progress)
    return Benchmark(
        maps,
        found | means(maps),
        examples,
        {
            "scenes": int(scenes),
            "seeds": numbers,
            "methods": list(named),
            "made_with": made_with,
            "modalities": list(chosen),
            "split": split,
            "batch_size": int(batch_size),
            "random_weights": random_weights is not None,
            "m2ib": version("m2ib"),
            "torch": torch.__version__,
            **model.origin,
            "device": str(model.device),
            "dtype": str(model.dtype).removeprefix("torch."),
        },
    )


def checked(
    scenes: int,
    seeds: Iterable[int],
    methods: Iterable[str],
    split: str,
    batch_size: int,
    settings: Mapping[str, Any] = SETTINGS,
) -> tuple[dict[str, MethodInfo], list[int]]:
    """Methods by name, and seeds: what can be refused before there is a model. Raises :class:`SettingError`."""
    numbers = list(seeds) if isinstance(seeds, Iterable) else [seeds]
    if not numbers or len(set(numbers)) < len(numbers):
        raise SettingError(f"benchmark: seeds={numbers!r} must be one or more different numbers")
    for seed in numbers:
        scene_seeds(split, seed, scenes, RETRIEVE)  # refuses what is out of range
    names = (methods,) if isinstance(methods, str) else tuple(methods)
    study = _study(names, settings, tuple(COLUMNS.values()), numbers[0], batch_size)
    found = check(study, Pairs("scenes", ("image", TEXT), tuple, located=True))
    return dict(found.methods), [int(seed) for seed in numbers]


def _study(
    names: Sequence[str], settings: Mapping[str, Any], metrics: Sequence[str], seed: int, batch_size: int
) -> Study:
    own = {name: given for name, given in settings.items() if name in names}
    return Study(tuple(names), tuple(metrics), (seed,), own, batch_size=batch_size, controls=False)


def _modalities(model: Model) -> tuple[str, ...]:
    """Those that scenes have and the model takes, texts last. Raises :class:`SettingError`."""
    there = [name for name in scene(0).inputs if name in model.modalities]
    who = model.origin.get("adapter", "")
    if TEXT not in there:
        raise SettingError(
            f"benchmark: the model {who!r} takes no text, and a scene's objects are asked for by their names"
        )
    if len(there) < 2:
        raise SettingError(
            f"benchmark: the model {who!r} takes {', '.join(model.modalities)}; besides text, scenes have "
            f"{', '.join(name for name in scene(0).inputs if name != TEXT)}"
        )
    return (*(name for name in there if name != TEXT), TEXT)


def _names(given: Iterable[str], known: Sequence[str]) -> tuple[str, ...]:
    """Modalities without repeats. Raises :class:`SettingError` for an unknown one, or none at all."""
    names = tuple(dict.fromkeys([given] if isinstance(given, str) else given))
    for name in names:
        if name not in known:
            raise SettingError(
                f"benchmark: modality {name!r} is unknown{did_you_mean(name, known)} There is {', '.join(known)}"
            )
    if not names:
        raise SettingError(f"benchmark: give at least one modality of {', '.join(known)}")
    return names


@dataclass(frozen=True)
class _Part:
    """The questions of one seed, asked of one modality of a model; ``place`` is the benchmark's folder."""

    model: Model
    seed: int
    modality: str
    against: str
    settings: Mapping[str, Any]
    asked: Sequence[Question]
    split: str
    batch_size: int
    place: Path
    control: Control = ""

    @property
    def folder(self) -> Path:
        return self.place / f"seed-{self.seed}" / "-".join([self.modality, *self.control.split()])

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
        with ONE_AT_A_TIME, as_loaded(self.model.device, self.model.dtype), frozen(self.model.module):
            (grid,) = batch.grids(batch.encoder.default_layer)
        try:
            degradation_of(batch.encoder).positions(batch.inputs, grid)
        except InputError:
            return False
        return True

    def possible(self, methods: Mapping[str, MethodInfo]) -> dict[str, MethodInfo]:
        """Without those that would hide words where they cannot be hidden. Raises :class:`InputError` for no others."""
        hiding = [name for name, info in methods.items() if info.spec.hides and not self.hides]
        left = {name: info for name, info in methods.items() if name not in hiding}
        if hiding and (self.modality != TEXT or not left):
            raise InputError(
                f"benchmark: {', '.join(hiding)} hides parts of an input, and those of {self.modality} cannot be told in "
                f"what this model takes; leave {', '.join(hiding)} out of the methods"
            )
        return left

    def run(self, methods: Mapping[str, MethodInfo], show_progress: bool) -> list[MapScores]:
        """The scores of all maps. Raises :class:`InputError` for a model that does not tell its tokens."""
        (one,) = self._some(1)
        if self.modality == TEXT and not one.items[0].layout.tokens:
            raise InputError(
                "benchmark: the model's layout of texts has no tokens; give the adapter's Layout `tokens`"
            )
        effects = self.control == "" and self.modality != TEXT and self.hides
        metrics = [measure for metric, measure in COLUMNS.items() if effects or metric not in _EFFECTS]
        study = _study(tuple(methods), self.settings, metrics, self.seed, self.batch_size)
        title = f"benchmark: {self.modality}, seed {self.seed}"
        evaluate(self.model, self.pairs(), study, self.folder, show_progress=show_progress, title=title)
        asked = {str(question.scene.seed): question for question in self.asked}
        with Store(self.folder) as store:
            found = [
                MapScores(
                    self.seed,
                    asked[pair].scene.seed,
                    self.modality,
                    name,
                    self.control,
                    asked[pair].absent if self.control == "absent object" else asked[pair].kind,
                    applicable(scores),
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

    def examples(self, methods: Mapping[str, MethodInfo]) -> Example:
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

    def made_with(self, methods: Mapping[str, MethodInfo]) -> dict[str, Any]:
        """The settings of the methods that have some."""
        with Store(self.folder) as store:
            facts = {name: store.fact(f"settings 0 {name}") for name in methods}
        return {f"{name} {self.modality}": found for name, found in facts.items() if found}
