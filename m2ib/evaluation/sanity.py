"""Does a map depend on what the model has learned? The sanity check of Adebayo et al. 2018 (Wang et al. 2023, Section 4.5).

The weights of one encoder are made random from its last part to its first, each stage on top of those before
("cascading")::

    intact -> head -> head, block L-1 -> ... -> head, all blocks, stem

and at each stage the maps are made anew, towards the same targets: embeddings of the other side by the intact model.
The score of a stage is Spearman's rank correlation of its map with the intact model's, over the cells of the grid;
special tokens of a text are left out. A method whose maps stay the same does not explain the model.

Adebayo et al. draw from each layer's initialisation. That is not known for a model that was loaded, so each tensor is
drawn from a normal distribution with its own mean and standard deviation: the network keeps its scale and loses all
that it has learned. Buffers, running statistics of norms among them, and the other encoder stay.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from m2ib.contract.attribution import Attribution
from m2ib.contract.inputs import Inputs, Item
from m2ib.contract.model import Model
from m2ib.contract.targets import Targets
from m2ib.errors import InputError, SettingError
from m2ib.evaluation.weights import parts, preserved, redraw
from m2ib.metrics import Aggregate, RankCorrelation, aggregate
from m2ib.pipeline import explain_side
from m2ib.registry.plan import Plan
from m2ib.results.attributions import attribution_of

IGNORES = 0.7
"""A method whose maps still correlate more than this with random weights throughout ignores the model."""


@dataclass(frozen=True)
class Verdict:
    """Of one method, by its maps after the last stage.

    correlation  mean over the inputs of the rank correlation with the intact map, its sign kept: of few cells, such as a
                 short text's, any two maps correlate one way or the other. NaN where no input has one
    threshold    above it, the method ignores the model
    """

    method: str
    correlation: float
    threshold: float

    @property
    def ignores_the_model(self) -> bool | None:
        """None where it cannot be told: the maps that changed are constant."""
        return None if math.isnan(self.correlation) else self.correlation > self.threshold


@dataclass(frozen=True, eq=False)
class Cascade:
    """The maps of N inputs by method, with intact weights and after each stage.

    modality  of the inputs
    stages    the part that was made random last, the others before it: "head", blocks by name, "stem"
    maps      method -> [intact, after the first stage, ...] -> N attributions
    seed      of the random weights
    """

    modality: str
    stages: tuple[str, ...]
    maps: Mapping[str, Sequence[Sequence[Attribution]]]
    seed: int

    @property
    def labels(self) -> tuple[str, ...]:
        """The stages for tables and figures: "head", "block 11", ..., "stem"."""
        paths = [stage.split(".") for stage in self.stages if stage not in ("head", "stem")]
        shared = 0
        while paths and all(len(path) > shared + 1 and path[shared] == paths[0][shared] for path in paths):
            shared += 1
        return tuple(
            stage if stage in ("head", "stem") else f"block {'.'.join(stage.split('.')[shared:])}"
            for stage in self.stages
        )

    def grids(self, method: str) -> list[list[np.ndarray]]:
        """(1 + stages) x N raw maps, the intact model's first."""
        return [[found.grid for found in row] for row in self.maps[method]]

    def correlations(self, method: str) -> np.ndarray:
        """(stages, N) Spearman's with the intact map; NaN if either map is constant."""
        first, *others = self.maps[method]
        return np.array([[_correlation(*pair) for pair in zip(first, row, strict=True)] for row in others])

    def curve(self, method: str) -> list[Aggregate]:
        """For each stage the mean correlation over the inputs, its standard error, and how many have none."""
        return [aggregate(row) for row in self.correlations(method)]

    def verdict(self, method: str, threshold: float = IGNORES) -> Verdict:
        """Whether the method ignores the model. A constant map that stays bit for bit the same counts as 1."""
        scores = self.correlations(method)[-1].copy()  # (N,)
        for number, (before, after) in enumerate(
            zip(self.maps[method][0], self.maps[method][-1], strict=True)
        ):
            if np.array_equal(before.grid, after.grid):
                scores[number] = 1.0
        return Verdict(method, aggregate(scores).mean, threshold)


def cascade(
    model: Model,
    modality: str,
    items: Sequence[Item],
    inputs: Inputs,
    targets: Tensor | Targets,
    plans: Mapping[str, Plan],
    *,
    seed: int = 0,
    stages: int | None = None,
    steps: Callable[[int], Callable[[], None]] | None = None,
) -> Cascade:
    """Maps of N inputs by each method while the encoder's weights become random. The model is left as it was.

    items    N inputs of one shape
    inputs   the same as one batch on the model's device
    targets  of the other sides, or their embeddings, by the intact model
    plans    by the name that the method has in the result
    seed     of the random weights; a stage's weights do not depend on ``stages``
    stages   at most so many are looked at, evenly chosen, the first and the last among them; None: all
    steps    given the number of steps, gives what is called after each

    Raises :class:`InputError` and :class:`SettingError`.
    """
    if not len(items):
        raise InputError(f"sanity check: no {modality} inputs were given; give at least one")
    if len(targets) != len(items):
        raise InputError(
            f"sanity check: {len(items)} {modality} inputs and {len(targets)} targets; give as many"
        )
    settings = {
        name: plan.settings(model, modality, (modality,)).to_dict() for name, plan in plans.items()
    }  # refused before the long part
    found = parts(model, modality, inputs)
    shown = _chosen(len(found), stages)
    advance = None if steps is None else steps((1 + len(shown)) * len(plans))
    maps: dict[str, list[list[Attribution]]] = {name: [] for name in plans}

    def look() -> None:
        for name, plan in plans.items():
            rows = explain_side(model, modality, items, inputs, targets, plan)
            maps[name].append(
                [
                    replace(attribution_of(model, modality, item, plan, row, settings[name]), method=name)
                    for item, row in zip(items, rows, strict=True)
                ]
            )
            if advance is not None:
                advance()

    generator = torch.Generator(device="cpu").manual_seed(seed)
    every = [value for part in found for value in part.parameters.values()]
    with model.alone():
        look()
        with preserved(every):
            for number, part in enumerate(found):
                redraw(part.parameters.values(), generator)
                if number in shown:
                    look()
    return Cascade(modality, tuple(found[number].name for number in shown), maps, seed)


def _chosen(count: int, stages: int | None) -> list[int]:
    """Which of ``count`` stages are looked at."""
    if stages is None:
        return list(range(count))
    if isinstance(stages, bool) or not isinstance(stages, int) or stages < 2:
        raise SettingError(
            f"sanity check: stages={stages!r} is out of range; give a whole number from 2, or None for all"
        )
    return sorted({round(place) for place in np.linspace(0, count - 1, min(stages, count)).tolist()})


def _correlation(intact: Attribution, later: Attribution) -> float:
    special = np.array([token.special for token in intact.layout.tokens], bool)
    content = ~special if special.size == intact.grid.size else np.ones(intact.grid.size, bool)
    one, other = intact.grid.ravel()[content], later.grid.ravel()[content]
    if not content.any():
        return math.nan
    metric = RankCorrelation()
    metric.update([one], [other])
    return float(metric.samples[0])
