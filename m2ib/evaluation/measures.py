"""The metrics of an evaluation, which are the columns of its tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from m2ib.metrics import METRICS as OBJECTS


@dataclass(frozen=True)
class Measure:
    """A metric of an evaluation.

    title    over its column
    unit     of the values as they are shown
    better   "higher" or "lower"; "" where neither is a merit by itself
    located  whether it needs to be known where the evidence is
    extra    whether "all" leaves it out
    needs    other metrics that it is made of
    """

    title: str
    unit: str
    better: str
    located: bool = False
    extra: bool = False
    needs: tuple[str, ...] = ()


def _of(name: str, title: str, **more: Any) -> Measure:
    known = OBJECTS[name]
    return Measure(title, known.unit, known.better, **more)


MISMATCHED = "mismatched"
SPECIFICITY, ANOTHERS, MATCHED = "specificity", "mismatched-specificity", "matched-auc"

MEASURES: Mapping[str, Measure] = {
    "drop": _of("drop", "confidence drop"),
    "increase": _of("increase", "confidence increase"),
    "deletion": _of("deletion", "deletion AUC"),
    "insertion": _of("insertion", "insertion AUC"),
    "iou": _of("iou", "IoU", located=True),
    "pointing": _of("pointing", "pointing", located=True),
    "mass-in-region": _of("mass-in-region", "mass in region", located=True),
    "wrong": Measure("wrong object", "", "lower", located=True, extra=True),
    "mass-over-area": Measure("mass over area", "", "higher", located=True, extra=True),
    "matched-iou": Measure("IoU at the mask's area", "", "higher", located=True, extra=True),
    "auc": Measure("AUC of the mask", "", "higher", located=True, extra=True),
    "above-filler": Measure("above all filler", "", "higher", located=True, extra=True),
    "top-deletion": Measure("lost without the highest", "cosine", "higher", located=True, extra=True),
    "top-insertion": Measure("won by the highest", "cosine", "higher", located=True, extra=True),
    "mask-deletion": Measure("lost without the mask", "cosine", "", located=True, extra=True),
    "mask-insertion": Measure("won by the mask", "cosine", "", located=True, extra=True),
    "objects": Measure("mass in all objects", "", "", located=True, extra=True),
    "cosine": Measure("similarity", "cosine", "", extra=True),
    "total": Measure("sum", "", "", extra=True),
    "peak": Measure("highest value", "", "", extra=True),
    "seconds": Measure("seconds", "", "lower", extra=True),
    "rank-correlation": Measure("agreement of seeds", "", "higher"),
    MISMATCHED: Measure("stays with another's partner", "", "lower", extra=True),
    SPECIFICITY: Measure("z with its partner", "", "higher", extra=True),
    ANOTHERS: Measure("z with another's partner", "", "lower", extra=True),
    MATCHED: Measure("AUC of matched pairs", "", "higher", extra=True, needs=(SPECIFICITY, ANOTHERS)),
    "sanity": Measure("agreement with random weights", "", "lower"),
    "roar": _of("roar", "ROAR+", extra=True),
    "mass": Measure("mean mass", "", ""),
}
"""By name, in the order of a table's columns. ``mass`` is always shown: a map of ones drops nothing."""
