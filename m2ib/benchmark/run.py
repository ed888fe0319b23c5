"""The whole benchmark: for each seed the model's health, then an evaluation of every modality's maps and of each control."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from m2ib.benchmark.gates import GateOutcome, outcomes
from m2ib.benchmark.health import TEXT, health
from m2ib.benchmark.modality_run import Example, ModalityRun, study_of
from m2ib.benchmark.scores import COLUMNS, Key, MapScores, Means, figures, means
from m2ib.contract.model import Model
from m2ib.corpus.backends import backend_for
from m2ib.data.pairs import Pairs
from m2ib.errors import SettingError, did_you_mean
from m2ib.evaluation.study import ORACLE, check, variants
from m2ib.folders import open_folder
from m2ib.metrics import Aggregate
from m2ib.paths import local_path
from m2ib.promises import leaves_nothing
from m2ib.registry.discovery import Registered, check_model, default_registry
from m2ib.registry.specs import MethodSpec
from m2ib.scenes import scene
from m2ib.scenes import scenes as make_scenes
from m2ib.scenes.questions import questions
from m2ib.scenes.splits import RETRIEVE, scene_seeds

METHODS = ("m2ib", "sharp", "rise", "random", "uniform", "oracle")
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "sharp": {"method": "m2ib:m2ib", "preset": "sharp"},
    "rise": {"masks": 256},
}
"""Of the usual methods, as in :class:`m2ib.evaluation.study.Study`."""

KIND = "benchmark"
ABSENT_SHARE = 4  # one in so many questions is asked for an absent object too


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
    def outcomes(self) -> list[GateOutcome]:
        """Every gate, met or not."""
        return outcomes(self.figures)


@leaves_nothing
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
    workers: int = 1,
    ray: str | None = None,
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
    workers, ray    where maps and scores are made, as for :func:`m2ib.run`; the workers begin anew for each seed and modality

    Everything but texts is explained against a text that names one of the scene's two or three objects.
    A caption is explained against another scene, of one object, as an image (or as what else the model
    takes first). ``seconds`` leave out what is the same for every method: making the inputs ready and
    embedding the other side.

    Raises :class:`SettingError`, :class:`InputError` for what is no model and for an input that the model
    does not take, and :class:`StorageError` for a folder of another benchmark.
    """
    for each in (model,) if random_weights is None else (model, random_weights):
        check_model(each, "benchmark")
    backend_for(workers, ray, model)  # what is wrong with them shows now
    known, chosen = modalities_of(model.modalities, model.origin.get("adapter", ""), modalities)
    named, numbers = checked(scenes, seeds, methods, split, batch_size, settings)
    maps: list[MapScores] = []
    found: Means = {}
    examples: list[Example] = []
    made_with: dict[str, Any] = {}
    with ExitStack() as stack:
        place = open_folder(local_path(folder or stack.enter_context(TemporaryDirectory())), KIND, force=True)
        for seed in numbers:
            asked = questions(split, seed, int(scenes))
            found |= health(model, chosen, seed, make_scenes(scene_seeds(split, seed, int(scenes), RETRIEVE)))
            for modality in chosen:
                against = known[0] if modality == TEXT else TEXT
                part = ModalityRun(
                    model,
                    seed,
                    modality,
                    against,
                    settings,
                    asked,
                    split,
                    int(batch_size),
                    place,
                    workers=workers,
                    ray=ray,
                )
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
) -> tuple[dict[str, Registered[MethodSpec]], list[int]]:
    """Methods by name, and seeds: what can be refused before there is a model. Raises :class:`SettingError`."""
    numbers = list(seeds) if isinstance(seeds, Iterable) else [seeds]
    if not numbers or len(set(numbers)) < len(numbers):
        raise SettingError(f"benchmark: seeds={numbers!r} must be one or more different numbers")
    for seed in numbers:
        scene_seeds(split, seed, scenes, RETRIEVE)  # refuses what is out of range
    names = (methods,) if isinstance(methods, str) else tuple(methods)
    if names == METHODS:  # by default, and so those that come with m2ib
        listed = default_registry().methods
        names = tuple(name if name in (*variants(SETTINGS), ORACLE) else listed.own(name) for name in names)
    study = study_of(TEXT, names, settings, tuple(COLUMNS.values()), numbers[0], batch_size)
    found = check(study, Pairs("scenes", ("image", TEXT), tuple, located=True))
    return dict(found.methods), [int(seed) for seed in numbers]


def modalities_of(
    takes: Collection[str], who: str, asked: Iterable[str] | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Those that scenes have and a model takes, texts last; and of them those that are asked for, or all.

    who  the model's adapter

    Raises :class:`SettingError`.
    """
    there = [name for name in scene(0).inputs if name in takes]
    if TEXT not in there:
        raise SettingError(
            f"benchmark: the model {who!r} takes no text, and a scene's objects are asked for by their names"
        )
    if len(there) < 2:
        raise SettingError(
            f"benchmark: the model {who!r} takes {', '.join(takes)}; besides text, scenes have "
            f"{', '.join(name for name in scene(0).inputs if name != TEXT)}"
        )
    known = (*(name for name in there if name != TEXT), TEXT)
    return known, known if asked is None else _names(asked, known)


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
