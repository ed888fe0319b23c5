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
    summary  what it tells of a map, in one sentence
    unit     of the values as they are shown
    better   "higher" or "lower"; "" where neither is a merit by itself
    located  whether it needs to be known where the evidence is
    extra    whether "all" leaves it out
    needs    other metrics that it is made of
    """

    title: str
    summary: str
    unit: str
    better: str
    located: bool = False
    extra: bool = False
    needs: tuple[str, ...] = ()


def _of(name: str, title: str, **more: Any) -> Measure:
    known = OBJECTS[name]
    return Measure(title, **({"summary": known.summary, "unit": known.unit, "better": known.better} | more))


def _located(title: str, summary: str, unit: str, better: str) -> Measure:
    return Measure(title, summary, unit, better, located=True, extra=True)


def _extra(title: str, summary: str, unit: str, better: str, needs: tuple[str, ...] = ()) -> Measure:
    return Measure(title, summary, unit, better, extra=True, needs=needs)


MISMATCHED = "mismatched"
SPECIFICITY, ANOTHERS, MATCHED = "specificity", "mismatched-specificity", "matched-auc"

MEASURES: Mapping[str, Measure] = {
    "pointing": _of("pointing", "pointing", located=True),
    "iou": _of("iou", "IoU", located=True),
    "mass-in-region": _of("mass-in-region", "mass in region", located=True),
    "wrong": _located(
        "wrong object",
        "How often the highest place lies in an object that was not asked for.",
        "share",
        "lower",
    ),
    "mass-over-area": _located(
        "mass over area",
        "The mass in the region over the region's share of the area; 1 is chance.",
        "",
        "higher",
    ),
    "matched-iou": _located(
        "IoU at the mask's area",
        "How well the true region and as many of the map's highest places agree.",
        "share",
        "higher",
    ),
    "auc": _located(
        "AUC of the mask",
        "How often a place in the true region is higher than one outside.",
        "share",
        "higher",
    ),
    "above-filler": _located(
        "above all filler",
        "How often a place of the true region is above all that is known to say nothing.",
        "share",
        "higher",
    ),
    "objects": _located(
        "mass in all objects",
        "The share of the map's sum in what was asked for and what was not.",
        "share",
        "",
    ),
    "drop": _of("drop", "confidence drop"),
    "increase": _of("increase", "confidence increase"),
    "deletion": _of("deletion", "deletion AUC"),
    "insertion": _of("insertion", "insertion AUC"),
    "top-deletion": _located(
        "lost without the highest",
        "The similarity lost without the highest places, as many as the true region has.",
        "cosine",
        "higher",
    ),
    "top-insertion": _located(
        "won by the highest", "The similarity that those places alone win, over nothing.", "cosine", "higher"
    ),
    "mask-deletion": _located(
        "lost without the mask",
        "The similarity lost without the true region, whatever the map.",
        "cosine",
        "",
    ),
    "mask-insertion": _located(
        "won by the mask", "The similarity that the true region alone wins, over nothing.", "cosine", ""
    ),
    "cosine": _extra("similarity", "Of the two inputs, whatever the map.", "cosine", ""),
    "total": _extra("sum", "Of the map's values, in the method's own unit.", "", ""),
    "peak": _extra("highest value", "Of the map, in the method's own unit.", "", ""),
    "seconds": _extra("seconds", "What a map took.", "", "lower"),
    "rank-correlation": _of(
        "rank-correlation",
        "agreement of seeds",
        summary="Whether the maps of two seeds put the places in the same order, from -1 to 1.",
    ),
    MISMATCHED: _extra(
        "stays with another's partner",
        "How alike the map and that against another pair's partner are, as ranks, from -1 to 1.",
        "",
        "lower",
    ),
    SPECIFICITY: _extra(
        "z with its partner",
        "How many standard deviations the input is closer to its partner than to others.",
        "",
        "higher",
    ),
    ANOTHERS: _extra(
        "z with another's partner", "The same for a partner that is another pair's.", "", "lower"
    ),
    MATCHED: _extra(
        "AUC of matched pairs",
        "How often z is higher with an input's own partner than with another's.",
        "share",
        "higher",
        (SPECIFICITY, ANOTHERS),
    ),
    "sanity": Measure(
        "agreement with random weights",
        "Whether the map stays the same when the model's weights are random, as ranks, from -1 to 1.",
        "",
        "lower",
    ),
    "roar": _of("roar", "ROAR+", extra=True),
    "mass": _of("mass", "mean mass", better=""),
}
"""By name, in the order of a table's columns: where it is known where the evidence lies, whether maps find it leads. ``mass`` is
always shown: a map of ones drops nothing."""
