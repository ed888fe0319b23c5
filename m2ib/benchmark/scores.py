"""What is kept of every map, and how maps become figures: seed by seed, then over the seeds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from m2ib.evaluation.chunks import PER_MAP
from m2ib.metrics import Aggregate, aggregate

Control = Literal["", "absent object", "random weights", "shuffled words", "uniform", "centre"]

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
_CALLED = {
    "mass": "mass-over-area",
    "iou": "matched-iou",
    "deletion": "top-deletion",
    "insertion": "top-insertion",
}
_MEASURES = {metric: _CALLED.get(metric, metric.replace("_", "-")) for metric in METRICS}
COLUMNS = {metric: measure for metric, measure in _MEASURES.items() if measure in PER_MAP}
"""What an evaluation calls those of single maps."""


@dataclass(frozen=True)
class MapScores:
    """One map.

    seed      of the benchmark
    scene     seed of the scene
    modality  of the map; with "-tf" behind it, its whole time-frequency plane
    method    that made it
    control   "" for a map of what is there
    kind      asked for
    values    metric -> value, of those that apply
    warnings  of the map and its input
    """

    seed: int
    scene: int
    modality: str
    method: str
    control: Control
    kind: str
    values: Mapping[str, float]
    warnings: tuple[str, ...] = ()


def applicable(scores: Mapping[str, float]) -> dict[str, float]:
    """What an evaluation calls by its own names; NaN left out."""
    return {
        metric: scores[measure]
        for metric, measure in COLUMNS.items()
        if not math.isnan(scores.get(measure, math.nan))
    }


Key = tuple[str, str, Control, str]
"""modality, method, control, metric"""
Means = dict[tuple[int, Key], tuple[float, int]]
"""By seed and key, the mean over a seed's maps and how many they were."""


def means(maps: Iterable[MapScores]) -> Means:
    """Ratios are ratios of means; there is none where the true mask itself has no effect."""
    groups: dict[tuple[int, str, str, Control], list[MapScores]] = {}
    for each in maps:
        groups.setdefault((each.seed, each.modality, each.method, each.control), []).append(each)
    found: Means = {}
    for (seed, *_), members in groups.items():
        group = members[0].modality, members[0].method, members[0].control
        for metric in METRICS:
            whole = aggregate([each.values.get(metric, math.nan) for each in members])
            if whole.count:
                found[seed, (*group, metric)] = whole.mean, whole.count
        for ratio, parts in RATIOS.items():
            (top, count), (mask, _) = (found.get((seed, (*group, part)), (math.nan, 0)) for part in parts)
            if mask > 0:
                found[seed, (*group, ratio)] = top / mask, count
    return found


def figures(found: Means) -> dict[Key, Aggregate]:
    """Over the seeds."""
    groups: dict[Key, list[float]] = {}
    for (_, key), (value, _) in found.items():
        groups.setdefault(key, []).append(value)
    return {key: aggregate(values) for key, values in groups.items()}
