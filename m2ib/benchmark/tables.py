"""What of a benchmark is shown, whether on a terminal or on a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from m2ib.benchmark.gates import MEANT_FOR, Outcome
from m2ib.benchmark.rows import HEALTH, METRICS, RATIOS, Control, Figure, Key

if TYPE_CHECKING:
    from m2ib.benchmark.run import Benchmark

SHOWN = (
    "pointing",
    "wrong",
    "mass",
    "iou",
    "auc",
    "above_filler",
    "deletion_ratio",
    "insertion_ratio",
    "seconds",
)
CONTROLS = ("cosine", "total", "objects", "pointing", "wrong", "iou")
PER_MAP = tuple(metric for metric in METRICS if metric not in RATIOS)


@dataclass(frozen=True)
class Table:
    """Figures of one kind: a line for each method (or modality), a column for each metric."""

    title: str
    note: str
    heads: tuple[str, ...]
    columns: tuple[str, ...]
    lines: tuple[tuple[tuple[str, ...], tuple[Figure | None, ...]], ...]


def tables(benchmark: Benchmark) -> list[Table]:
    """What is shown: the maps of each modality, the controls and the model; columns that hold something."""
    found = benchmark.figures
    maps = [key[:3] for key in found if key[1] != HEALTH and key[2] == ""]
    controls = [key[:3] for key in found if key[1] != HEALTH and key[2] != ""]
    own = [key[:3] for key in found if key[1] == HEALTH]
    many = len(benchmark.settings["seeds"]) > 1
    error = "mean ± standard error over seeds" if many else "one seed, so no standard error"
    made = [
        _table(modality, error, found, [line for line in maps if line[0] == modality], SHOWN, ("method",))
        for modality in dict.fromkeys(line[0] for line in maps)
    ]
    if controls:
        note = "asked for an object that is not there; a model with random weights"
        heads = ("modality", "method", "control")
        made.append(_table("Controls", note, found, controls, CONTROLS, heads))
    note = f"retrieval among {benchmark.settings['scenes']} scenes"
    return [*made, _table("Model", note, found, own, PER_MAP, ("modality",))]


def _table(
    title: str,
    note: str,
    found: Mapping[Key, Figure],
    lines: Sequence[tuple[str, str, Control]],
    metrics: Sequence[str],
    heads: tuple[str, ...],
) -> Table:
    lines = list(dict.fromkeys(lines))
    columns = tuple(metric for metric in metrics if any((*line, metric) in found for line in lines))
    rows = []
    for line in lines:
        named = dict(zip(("modality", "method", "control"), line, strict=True))
        rows.append(
            (tuple(named[head] for head in heads), tuple(found.get((*line, metric)) for metric in columns))
        )
    return Table(title, note, heads, columns, tuple(rows))


def figure_text(figure: Figure | None, *, error: bool = True) -> str:
    """As in ".952 ± .008", or without its error; "" for nothing."""
    if figure is None:
        return ""
    return _short(figure.mean) + (f" ± {_short(figure.error)}" if error and figure.seeds > 1 else "")


def _short(value: float) -> str:
    text = f"{value:.3f}" if abs(value) < 10 else f"{value:.4g}"
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


def outcome_text(outcome: Outcome) -> tuple[str, str]:
    """The value of a gate, "" without one, and what is needed."""
    value = "" if outcome.passed is None else _short(outcome.value)
    return value, f"{outcome.gate.need} {_short(outcome.gate.bound)}"


def verdict(benchmark: Benchmark) -> str:
    """How many gates are met, in one line; and whether this run is the one that they are meant for."""
    verdicts = [outcome.passed for outcome in benchmark.outcomes]
    said = (
        f"{verdicts.count(True)} gates passed, {verdicts.count(False)} failed, "
        f"{verdicts.count(None)} not measured"
    )
    meant = all(benchmark.settings[name] == value for name, value in MEANT_FOR.items())
    return said if meant else f"{said} (they are meant for imagebind-tiny, 256 test scenes, seeds 0 1 2)"
