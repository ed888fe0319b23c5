"""Does each object's word point into that object? Scenes of two or three objects and the caption that names them all.

Beside it, whether a caption that is another scene's is told from the scene's own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from m2ib.activations.reference import References
from m2ib.api import explain
from m2ib.benchmark.gates import INTERACTIONS as GATES
from m2ib.benchmark.gates import GateOutcome
from m2ib.benchmark.health import TEXT
from m2ib.benchmark.scores import Control, Key
from m2ib.contract.interactions import Interactions
from m2ib.contract.model import Model
from m2ib.data.made_up import pair_of
from m2ib.data.pairs import Pair
from m2ib.errors import SettingError
from m2ib.evaluation.scoring import located
from m2ib.evaluation.truth import truth_of
from m2ib.metrics import Aggregate, aggregate, auc
from m2ib.progress import progress
from m2ib.promises import leaves_nothing, promise
from m2ib.registry.pair_plan import PairPlan, pair_plan_of
from m2ib.scenes.questions import Question, questions
from m2ib.scenes.splits import LOCALISE, scene_seeds

WAYS = ("second-order", "by-word", "banzhaf")
NULL = "null"
OTHERS = 16  # inputs that a pair is compared with
_SCORES = ("pointing", "wrong")


@dataclass(frozen=True)
class WordScore:
    """Of one object's word.

    way      that found its region, or the control
    control  "" for what was found; what takes its place otherwise
    kind     the object's
    """

    seed: int
    scene: int
    modality: str
    way: str
    control: Control
    kind: str
    pointing: float
    wrong: float


@dataclass(frozen=True)
class InteractionScores:
    """What came out.

    words     of each object's word
    apart     by seed and modality, how well own captions are told from other scenes': an AUC
    settings  what was asked for, and of which model; JSON-able
    """

    words: Sequence[WordScore]
    apart: Mapping[tuple[int, str], float]
    settings: Mapping[str, Any]

    @property
    def figures(self) -> dict[Key, Aggregate]:
        """By modality, way, control and score, over the seeds' means; the AUC as that of the way "null"."""
        found: dict[Key, dict[int, list[float]]] = {}
        for each in self.words:
            for score in _SCORES:
                key = each.modality, each.way, each.control, score
                found.setdefault(key, {}).setdefault(each.seed, []).append(getattr(each, score))
        for (seed, modality), value in self.apart.items():
            found.setdefault((modality, NULL, "", "auc"), {})[seed] = [value]
        return {
            key: aggregate([float(np.nanmean(scores)) for scores in seeds.values()])
            for key, seeds in found.items()
        }

    @property
    def outcomes(self) -> list[GateOutcome]:
        """Every gate, met or not."""
        return [gate.check(self.figures) for gate in GATES]


@leaves_nothing
def run_interactions(
    model: Model,
    *,
    scenes: int = 128,
    seeds: Iterable[int] = (0,),
    ways: Sequence[str | Mapping[str, Any]] = WAYS,
    modalities: Iterable[str] | None = None,
    split: str = "test",
    random_weights: Model | None = None,
    show_progress: bool = True,
) -> InteractionScores:
    """Measure which way's regions lie in the objects that the words name, and whether mismatched captions are told.

    scenes    how many for each seed, of two or three objects
    ways      what :func:`m2ib.explain` takes as ``interactions``
    modalities  against texts; None: all that scenes have and the model takes
    random_weights  the same model with random weights, as a control

    Raises :class:`SettingError`.
    """
    chosen, numbers, plans = checked(model.modalities, scenes, seeds, ways, modalities, split)
    asked = {seed: questions(split, seed, scenes) for seed in numbers}
    words: list[WordScore] = []
    apart = {}
    total = len(numbers) * len(chosen) * scenes
    with progress("benchmark: interactions", total=total, show=show_progress) as bar:
        promise(bar.close)
        for seed in numbers:
            for modality in chosen:
                for question in asked[seed]:
                    for way, plan in plans.items():
                        words += _scores(model, plan, way, seed, modality, question)
                        if random_weights is not None:
                            words += [
                                replace(each, control="random weights")
                                for each in _scores(random_weights, plan, way, seed, modality, question)
                                if not each.control
                            ]
                    bar.advance()
                apart[seed, modality] = told_apart(model, modality, asked[seed])
    facts = {"scenes": scenes, "seeds": numbers, "ways": list(plans), "modalities": chosen, "split": split}
    return InteractionScores(
        words, apart, {**facts, "random_weights": random_weights is not None, **model.origin}
    )


def checked(
    takes: Collection[str],
    scenes: int,
    seeds: Iterable[int],
    ways: Sequence[str | Mapping[str, Any]],
    modalities: Iterable[str] | None,
    split: str,
) -> tuple[list[str], list[int], dict[str, PairPlan]]:
    """Modalities, seeds and ways by name: what can be refused before there is a model. Raises :class:`SettingError`.

    takes  the modalities of the model, or those that its adapter tells of
    """
    numbers = [int(seed) for seed in seeds]
    for seed in numbers:
        scene_seeds(split, seed, scenes, LOCALISE)
    known = [name for name in questions(split, 0, 2)[0].scene.inputs if name in takes and name != TEXT]
    chosen = list(known if modalities is None else dict.fromkeys(modalities))
    if TEXT not in takes or not chosen or not set(chosen) <= set(known):
        raise SettingError(
            f"benchmark: interactions are of texts and {', '.join(known) or 'none of the scenes'} for this model, not of "
            f"{', '.join(chosen) or 'nothing'}"
        )
    plans = {_called(way): plan for way in ways if (plan := pair_plan_of(way)) is not None}
    return chosen, numbers, plans


def _called(way: str | Mapping[str, Any]) -> str:
    return way if isinstance(way, str) else ", ".join(f"{name}={value}" for name, value in way.items())


def _scores(
    model: Model, plan: PairPlan, way: str, seed: int, modality: str, question: Question
) -> list[WordScore]:
    """Of every object's word, and of what takes its region's place."""
    scene = question.scene
    items = [model.item(modality, scene.inputs[modality]), model.item(TEXT, scene.text)]
    with model.running():
        found = plan.find(model, (modality, TEXT), items, References(), fast=True)
    random = np.random.default_rng((seed, scene.seed))
    made = []
    for kind in scene.kinds:
        truth = truth_of(_pair(question, modality, kind), 0, items[0])
        assert truth is not None
        for control, grid in _maps(found, kind, random).items():
            place = located(grid, truth, scene.seed)
            made.append(
                WordScore(seed, scene.seed, modality, way, control, kind, place["pointing"], place["wrong"])
            )
    return made


def _pair(question: Question, modality: str, kind: str) -> Pair:
    axes = question.scene.axes[modality]
    along = (
        "time" if any(axis.name == "time" for axis in axes) else ""
    )  # of a sound and a motion the moment counts
    return pair_of(replace(question, kind=kind), modality, along=along)


def _maps(found: Interactions, kind: str, random: np.random.Generator) -> dict[Control, np.ndarray]:
    """By control, "" for what was found: the region of a word."""
    names = found.units[1].names
    own = found.of(kind)
    other = int(random.choice([n for n, name in enumerate(names) if name != kind]))
    centre = np.zeros(own.shape)
    centre[tuple(length // 2 for length in own.shape)] = 1
    return {"": own, "shuffled words": found.of(other, at=1), "uniform": np.ones(own.shape), "centre": centre}


def told_apart(model: Model, modality: str, asked: Sequence[Question]) -> float:
    """The AUC of :attr:`m2ib.Explanation.specificity` of scenes with their own captions against those with the next scene's."""
    scores = []
    for shift in (0, 1):
        for number, question in enumerate(asked):
            text = asked[(number + shift) % len(asked)].scene.text
            pair = (modality, question.scene.inputs[modality]), (TEXT, text)
            # whatever the method, it is the similarities that are compared
            found = explain(model, *pair, method="m2ib:uniform", null=OTHERS, show_progress=False)
            scores.append(found.specificity)
    own = np.arange(len(scores)) < len(asked)
    return auc(np.array(scores, np.float64), own)
