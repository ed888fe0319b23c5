"""The whole benchmark: for each seed the model's health, then every modality's maps and controls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

from m2ib.benchmark.gates import Outcome, outcomes
from m2ib.benchmark.health import health
from m2ib.benchmark.localise import Example, Localiser
from m2ib.benchmark.methods import METHODS, Method
from m2ib.benchmark.rows import Control, Figure, Key, Result, Row, figures, results
from m2ib.benchmark.words import TEXT, WordFinder, embedded
from m2ib.contract.inputs import Item
from m2ib.contract.model import Model
from m2ib.contract.settings import resolve
from m2ib.errors import SettingError, did_you_mean
from m2ib.methods.bottleneck.settings import SETTINGS, FitSettings
from m2ib.progress import Bar, progress
from m2ib.scenes import KINDS, query, scene
from m2ib.scenes import scenes as make_scenes
from m2ib.scenes.questions import Question, questions, single_scenes
from m2ib.scenes.splits import RETRIEVE, scene_seeds

DEFAULT_METHODS = tuple(METHODS)
EXAMPLES = 3  # questions of the first seed whose maps are kept for looking at
ABSENT_SHARE = 4  # one in so many questions is asked for an absent object too
EMBED_BATCH = 64


@dataclass(frozen=True)
class Benchmark:
    """What came out.

    rows      one for each map
    results   means by seed, modality, method and metric; the model's own health among them
    examples  a few maps, for looking at
    settings  what was asked for, and of which model; JSON-able
    """

    rows: Sequence[Row]
    results: Sequence[Result]
    examples: Sequence[Example]
    settings: Mapping[str, Any]

    @property
    def figures(self) -> dict[Key, Figure]:
        """Means over the seeds."""
        return figures(self.results)

    @property
    def outcomes(self) -> list[Outcome]:
        """Every gate, met or not."""
        return outcomes(self.figures)


def run_scenes(
    model: Model,
    *,
    scenes: int = 256,
    seeds: Iterable[int] = (0, 1, 2),
    methods: Iterable[str] | Mapping[str, Method] = DEFAULT_METHODS,
    modalities: Iterable[str] | None = None,
    split: str = "test",
    random_weights: Model | None = None,
    batch_size: int = 16,
    show_progress: bool = True,
) -> Benchmark:
    """Measure a model and its maps on scenes in which it is known where the evidence is.

    scenes          how many for each seed
    seeds           each has scenes of its own; standard errors are over them
    methods         names in ``m2ib.benchmark.METHODS``, or a table of your own in the same form
    modalities      those of scenes that the model takes, or some of them
    split           "test", or "tune" for choosing settings
    random_weights  the same model with random weights, as a control
    batch_size      maps made together

    Everything but texts is explained against a text that names one of the scene's two or three objects.
    A caption is explained against another scene, of one object, as an image (or as what else the model
    takes first). ``seconds`` leave out what is the same for every method: making the inputs ready and
    embedding the other side.

    Raises :class:`SettingError`, and :class:`InputError` for an input that the model does not take.
    """
    known = _modalities(model)
    chosen = known if modalities is None else _names("modality", modalities, known)
    named, numbers = checked(scenes, seeds, methods, split, batch_size)
    scenes = int(scenes)
    if chosen == (TEXT,) and all(method.hides for method in named.values()):
        raise SettingError(
            f"benchmark: {', '.join(named)} hides parts of an input, and words cannot be hidden"
        )
    rows: list[Row] = []
    found: list[Result] = []
    examples: list[Example] = []
    with progress("benchmark", show=show_progress) as bar:
        bar.steps(_count(named, chosen, scenes, random_weights is not None) * len(numbers))
        for seed in numbers:
            found += _health(model, chosen, known, split, seed, scenes)
            asked = questions(split, seed, scenes)
            for modality in chosen:
                own, seen = _maps(
                    model, random_weights, modality, known, asked, named, split, seed, int(batch_size), bar
                )
                rows += own
                examples += seen if seed == numbers[0] else []
    settings = {
        "scenes": scenes,
        "seeds": numbers,
        "methods": list(named),
        "made_with": {
            f"{name} {modality}": FitSettings(
                **resolve(SETTINGS, model.encoder(modality), (modality,), method.given)
            ).to_dict()
            for name, method in named.items()
            if method.given is not None
            for modality in chosen
        },
        "modalities": list(chosen),
        "split": split,
        "batch_size": int(batch_size),
        "random_weights": random_weights is not None,
        "m2ib": version("m2ib"),
        "torch": torch.__version__,
        **model.origin,
        "device": str(model.device),
        "dtype": str(model.dtype).removeprefix("torch."),
    }
    return Benchmark(rows, [*found, *results(rows)], examples, settings)


def checked(
    scenes: int,
    seeds: Iterable[int],
    methods: Iterable[str] | Mapping[str, Method],
    split: str,
    batch_size: int,
) -> tuple[dict[str, Method], list[int]]:
    """Methods by name, and seeds: what can be refused before there is a model. Raises :class:`SettingError`."""
    table = methods if isinstance(methods, Mapping) else METHODS
    named = {name: table[name] for name in _names("method", methods, tuple(table))}
    numbers = list(seeds) if isinstance(seeds, Iterable) else [seeds]
    if not numbers or len(set(numbers)) < len(numbers):
        raise SettingError(f"benchmark: seeds={numbers!r} must be one or more different numbers")
    if isinstance(batch_size, bool) or not isinstance(batch_size, Integral) or batch_size < 1:
        raise SettingError(f"benchmark: batch_size={batch_size!r} is not a whole number >= 1")
    for seed in numbers:
        scene_seeds(split, seed, scenes, RETRIEVE)  # refuses what is out of range
    return named, [int(seed) for seed in numbers]


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


def _names(what: str, given: Iterable[str], known: Sequence[str]) -> tuple[str, ...]:
    """``given`` without repeats. Raises :class:`SettingError` for an unknown one, or none at all."""
    names = tuple(dict.fromkeys([given] if isinstance(given, str) else given))
    for name in names:
        if name not in known:
            raise SettingError(
                f"benchmark: {what} {name!r} is unknown{did_you_mean(name, known)} There is {', '.join(known)}"
            )
    if not names:
        raise SettingError(f"benchmark: give at least one {what} of {', '.join(known)}")
    return names


def _explaining(methods: Mapping[str, Method]) -> dict[str, Method]:
    return {name: method for name, method in methods.items() if method.explains}


def _asked_again(questions: int) -> int:
    """How many of them are asked for an absent object too."""
    return max(1, questions // ABSENT_SHARE)


def _count(methods: Mapping[str, Method], modalities: Sequence[str], scenes: int, control: bool) -> int:
    """Maps of one seed."""
    explaining = len(_explaining(methods))
    each = len(methods) * scenes + explaining * (_asked_again(scenes) + control * scenes)
    words = sum(not method.hides for method in methods.values()) * scenes
    return sum(words if modality == TEXT else each for modality in modalities)


def _health(
    model: Model, chosen: Sequence[str], known: Sequence[str], split: str, seed: int, count: int
) -> list[Result]:
    made = make_scenes(scene_seeds(split, seed, count, RETRIEVE))
    embeddings: dict[str, Tensor] = {}
    for modality in dict.fromkeys([*chosen, TEXT]):
        items = [model.item(modality, one.inputs[modality]) for one in made]
        embeddings[modality] = embedded(model, modality, items, EMBED_BATCH)
    return health(seed, made, embeddings, embeddings[TEXT], _queries(model))


def _queries(model: Model) -> dict[str, Tensor]:
    """By kind (D,), the embedding of a text that names it."""
    items = [model.item(TEXT, query(kind)) for kind in KINDS]
    return dict(zip(KINDS, embedded(model, TEXT, items, EMBED_BATCH), strict=True))


def _maps(
    model: Model,
    random_weights: Model | None,
    modality: str,
    known: Sequence[str],
    asked: Sequence[Question],
    methods: Mapping[str, Method],
    split: str,
    seed: int,
    batch_size: int,
    bar: Bar,
) -> tuple[list[Row], list[Example]]:
    """All maps of one modality and seed, controls included."""
    items = [model.item(modality, question.scene.inputs[modality]) for question in asked]
    if modality == TEXT:
        targets = _single_targets(model, known[0], asked, split, seed)
        finder = WordFinder(model, seed, targets, methods)
        return _kept(finder.run(asked, items, batch_size, bar.advance))
    explaining = _explaining(methods)
    runs: list[tuple[Model, Control, Mapping[str, Method], int]] = [(model, "", methods, len(asked))]
    if explaining:
        runs.append((model, "absent object", explaining, _asked_again(len(asked))))
        if random_weights is not None:
            runs.append((random_weights, "random weights", explaining, len(asked)))
    rows: list[Row] = []
    examples: list[Example] = []
    for who, control, some, count in runs:
        localiser = Localiser(who, modality, seed, _queries(who), some, control, erases=control == "")
        found, seen = _kept(localiser.run(asked[:count], items[:count], batch_size, bar.advance))
        rows += found
        examples += seen if control == "" else []
    return rows, examples


def _kept(found: Iterable[tuple[Row, Example | None]]) -> tuple[list[Row], list[Example]]:
    """All rows, and the examples of the first questions."""
    rows: list[Row] = []
    examples: list[Example] = []
    kept: set[int] = set()
    for row, example in found:
        rows.append(row)
        if len(kept) < EXAMPLES:
            kept.add(row.scene)
        if example is not None and row.scene in kept:
            examples.append(example)
    return rows, examples


def _single_targets(model: Model, modality: str, asked: Sequence[Question], split: str, seed: int) -> Tensor:
    """(N, D) embeddings of fresh scenes that hold the kind asked for and nothing else."""
    made = single_scenes(split, seed, [question.kind for question in asked])
    items: list[Item] = [model.item(modality, one.inputs[modality]) for one in made]
    return embedded(model, modality, items, EMBED_BATCH)
