"""What is kept of every map, and how maps become figures: seed by seed, then over the seeds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

Control = Literal["", "absent object", "random weights"]

HEALTH = "model"  # stands for a method where the model itself is measured

METRICS: Mapping[str, str] = {
    "pointing": "the highest place lies in the mask",
    "wrong": "the highest place lies in another object's mask",
    "mass": "mass in the mask over its area share; 1 is chance",
    "iou": "IoU of the mask and as many highest places",
    "auc": "a place in the mask is higher than one outside",
    "above_filler": "the named word is above every filler word",
    "deletion_ratio": "cosine lost without the highest places, over what is lost without the mask",
    "insertion_ratio": "cosine won by the highest places alone, over what the mask alone wins",
    "deletion": "cosine lost without the highest places, as many as the mask has",
    "insertion": "cosine won by them alone, over nothing",
    "mask_deletion": "cosine lost without the mask",
    "mask_insertion": "cosine won by the mask alone, over nothing",
    "cosine": "of the two embeddings",
    "total": "sum of the map (of a bottleneck: nats)",
    "peak": "highest value of the map",
    "objects": "share of the mass in the masks of all objects",
    "seconds": "per map, in batches",
    "recall_to_text": "R@1: the nearest text is this scene's",
    "recall_from_text": "R@1: the text's nearest is this scene's",
    "kinds_to_text": "the nearest text names the same kinds",
    "kinds_from_text": "the text's nearest holds the same kinds",
    "kinds_found": "mean of the two",
    "query_auc": "a scene with the kind asked for is nearer than one without; mean over kinds",
}
"""Everything that can stand in the column ``metric``."""

RATIOS = {"deletion_ratio": ("deletion", "mask_deletion"), "insertion_ratio": ("insertion", "mask_insertion")}


@dataclass(frozen=True)
class Row:
    """One map.

    seed      of the benchmark
    scene     seed of the scene
    modality  of the map; with "-tf" behind it, its whole time-frequency plane
    method    that made it
    control   "" for a map of what is there
    kind      asked for
    values    metric -> value
    """

    seed: int
    scene: int
    modality: str
    method: str
    control: Control
    kind: str
    values: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """A mean over the maps of one seed; ``count`` is how many there were."""

    seed: int
    modality: str
    method: str
    control: Control
    metric: str
    value: float
    count: int


@dataclass(frozen=True)
class Figure:
    """Over the seeds: mean and standard error, which is NaN for one seed alone."""

    mean: float
    error: float
    seeds: int


Key = tuple[str, str, Control, str]
"""modality, method, control, metric"""


def results(rows: Iterable[Row]) -> list[Result]:
    """The means of each seed, modality, method and control; NaN counts for nothing.

    Ratios are ratios of means; there is none where the true mask itself has no effect.
    """
    groups: dict[tuple[int, str, str, Control], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.seed, row.modality, row.method, row.control), []).append(row)
    found = []
    for (seed, modality, method, control), members in groups.items():
        means: dict[str, tuple[float, int]] = {}
        for metric in METRICS:
            numbers = [
                row.values[metric] for row in members if not math.isnan(row.values.get(metric, math.nan))
            ]
            if numbers:
                means[metric] = float(np.mean(numbers)), len(numbers)
        for ratio, (above, below) in RATIOS.items():
            if above in means and below in means and means[below][0] > 0:
                means[ratio] = means[above][0] / means[below][0], means[above][1]
        found += [
            Result(seed, modality, method, control, metric, *means[metric])
            for metric in METRICS
            if metric in means
        ]
    return found


def figures(found: Sequence[Result]) -> dict[Key, Figure]:
    """Over the seeds."""
    groups: dict[Key, list[float]] = {}
    for result in found:
        key = result.modality, result.method, result.control, result.metric
        groups.setdefault(key, []).append(result.value)
    return {key: _figure(np.array(values)) for key, values in groups.items()}


def _figure(values: np.ndarray) -> Figure:
    error = float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.nan
    return Figure(float(values.mean()), error, len(values))
