"""What a sound model and a true map reach on these scenes. A gate that is missed is shown as missed."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from m2ib.benchmark.scores import HEALTH, Control, Key
from m2ib.metrics import Aggregate

Need = Literal["at least", "at most"]

SEEN = ("image", "thermal", "audio", "imu", "depth")


@dataclass(frozen=True)
class Gate:
    """A figure, or the ratio of two, and the bound it is held to."""

    name: str
    key: Key
    need: Need
    bound: float
    over: Key | None = None

    def check(self, figures: Mapping[Key, Aggregate]) -> GateOutcome:
        """Against what was measured; a figure that is not there gives NaN, and no verdict."""
        value = figures[self.key].mean if self.key in figures else math.nan
        if self.over is not None:
            value = value / figures[self.over].mean if self.over in figures else math.nan
        if math.isnan(value):
            return GateOutcome(self, value, None)
        meets = operator.ge if self.need == "at least" else operator.le
        return GateOutcome(self, value, meets(value, self.bound))


@dataclass(frozen=True)
class GateOutcome:
    """``passed`` is None for what was not measured."""

    gate: Gate
    value: float
    passed: bool | None

    @property
    def verdict(self) -> str:
        """ "pass", "FAIL" or "not measured"."""
        return {True: "pass", False: "FAIL", None: "not measured"}[self.passed]


def _gates(
    name: str,
    bounds: Mapping[str, float],
    method: str,
    metric: str,
    need: Need = "at least",
    control: Control = "",
) -> list[Gate]:
    """One for each modality."""
    return [
        Gate(f"{name}: {modality}", (modality, method, control, metric), need, bound)
        for modality, bound in bounds.items()
    ]


def _all(bound: float, **others: float) -> dict[str, float]:
    return dict.fromkeys(SEEN, bound) | others


MEANT_FOR = {"adapter": "imagebind-tiny", "scenes": 256, "seeds": [0, 1, 2], "split": "test"}
"""The run whose figures the gates bound: retrieval is easier among fewer, and few maps tell little."""

GATES: tuple[Gate, ...] = (
    *_gates("R@1, image to text", {"image": 0.88}, HEALTH, "recall_to_text"),
    *_gates("R@1, text to image", {"image": 0.88}, HEALTH, "recall_from_text"),
    *_gates(
        "same kinds found",
        {"audio": 0.85, "imu": 0.85, "thermal": 0.85, "depth": 0.70},
        HEALTH,
        "kinds_found",
    ),
    *_gates("AUC of a query for one kind", _all(0.95, text=0.95), HEALTH, "query_auc"),
    *_gates("RISE pointing", _all(0.92, depth=0.85), "rise", "pointing"),
    *_gates(
        "m2ib pointing",
        {"image": 0.75, "thermal": 0.80, "audio": 0.90, "imu": 0.75, "depth": 0.60},
        "m2ib",
        "pointing",
    ),
    *_gates(
        "sharp pointing",
        {"image": 0.95, "thermal": 0.95, "audio": 0.98, "imu": 0.93, "depth": 0.85},
        "sharp",
        "pointing",
    ),
    *_gates("sharp wrong object", {"image": 0.03}, "sharp", "wrong", "at most"),
    *_gates("sharp IoU at matched area", {"image": 0.58, "audio": 0.80}, "sharp", "iou"),
    *_gates("named word above all filler", {"text": 0.98}, "m2ib", "above_filler"),
    *_gates("sharp deletion over the mask's", _all(0.92), "sharp", "deletion_ratio"),
    *_gates("random weights, m2ib pointing", _all(0.35), "m2ib", "pointing", "at most", "random weights"),
    *_gates("random weights, sharp pointing", _all(0.35), "sharp", "pointing", "at most", "random weights"),
    Gate(
        "sharp time over RISE's: image",
        ("image", "sharp", "", "seconds"),
        "at most",
        0.5,
        over=("image", "rise", "", "seconds"),
    ),
)


INTERACTIONS: tuple[Gate, ...] = (
    *_gates(
        "a word points into its object",
        {"image": 0.90, "audio": 0.90, "imu": 0.90, "depth": 0.80, "thermal": 0.85},
        "second-order",
        "pointing",
    ),
    *_gates("a word points into another", _all(0.06), "second-order", "wrong", "at most"),
    *_gates("AUC of captions told from other scenes'", {"image": 0.97}, "null", "auc"),
)
"""Of interactions, likewise."""


def outcomes(figures: Mapping[Key, Aggregate]) -> list[GateOutcome]:
    """Of every gate."""
    return [gate.check(figures) for gate in GATES]
