"""What of a benchmark is shown, whether on a terminal or on a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from m2ib.benchmark.gates import MEANT_FOR, GateOutcome
from m2ib.benchmark.interactions import InteractionScores
from m2ib.benchmark.run import Benchmark
from m2ib.benchmark.scores import HEALTH, METRICS, RATIOS, Control
from m2ib.evaluation.report import Sheet, figure_text, number, show_sheet

if TYPE_CHECKING:
    from rich.console import Console

SHOWN = ("pointing", "wrong", "mass", "iou", "auc", "above_filler", *RATIOS, "seconds")
CONTROLS = ("pointing", "wrong", "iou", "objects", "cosine", "total")
PER_MAP = tuple(metric for metric in METRICS if metric not in RATIOS)


@dataclass(frozen=True)
class ShownTable:
    """A table, how to read it, and what its columns say, by their heads."""

    sheet: Sheet
    note: str
    columns: Sequence[tuple[str, str]]


def tables(benchmark: Benchmark) -> list[ShownTable]:
    """The maps of each modality, the controls and the model; columns that hold something."""
    lines = list(dict.fromkeys(key[:3] for key in benchmark.figures))
    maps = [line for line in lines if line[1] != HEALTH and line[2] == ""]
    many = len(benchmark.settings["seeds"]) > 1
    error = "mean ± standard error over seeds" if many else "one seed, so no standard error"
    made = [
        _table(
            benchmark,
            modality,
            "method",
            error,
            {line[1]: line for line in maps if line[0] == modality},
            SHOWN,
        )
        for modality in dict.fromkeys(line[0] for line in maps)
    ]
    controls = {f"{line[0]}, {line[1]}: {line[2]}": line for line in lines if line[2] != ""}
    if controls:
        note = "asked for an object that is not there; a model with random weights"
        made.append(_table(benchmark, "Controls", "maps", note, controls, CONTROLS))
    note = f"retrieval among {benchmark.settings['scenes']} scenes"
    own = {line[0]: line for line in lines if line[1] == HEALTH}
    return [*made, _table(benchmark, "Model", "modality", note, own, PER_MAP)]


def _table(
    benchmark: Benchmark,
    title: str,
    name: str,
    note: str,
    lines: Mapping[str, tuple[str, str, Control]],
    metrics: Sequence[str],
) -> ShownTable:
    """lines  (modality, method, control), by what stands before them"""
    found = benchmark.figures
    columns = {
        metric: metric.replace("_", " ")
        for metric in metrics
        if any((*line, metric) in found for line in lines.values())
    }
    rows = [
        (head, False, [figure_text(found.get((*line, metric))) for metric in columns])
        for head, line in lines.items()
    ]
    return ShownTable(
        Sheet(title, name, list(columns.values()), rows),
        note,
        [(head, METRICS[metric]) for metric, head in columns.items()],
    )


def outcome_text(outcome: GateOutcome) -> tuple[str, str]:
    """The value of a gate, "–" without one, and what is needed."""
    return number(outcome.value), f"{outcome.gate.need} {number(outcome.gate.bound)}"


def verdict(benchmark: Benchmark) -> str:
    """How many gates are met, in one line; and whether this run is the one that they are meant for."""
    verdicts = [outcome.passed for outcome in benchmark.outcomes]
    said = (
        f"{verdicts.count(True)} gates passed, {verdicts.count(False)} failed, "
        f"{verdicts.count(None)} not measured"
    )
    meant = all(benchmark.settings[name] == value for name, value in MEANT_FOR.items())
    return said if meant else f"{said} (they are meant for imagebind-tiny, 256 test scenes, seeds 0 1 2)"


def show(benchmark: Benchmark, console: Console) -> None:
    """Tables, the gates last."""
    for table in tables(benchmark):
        show_sheet(table.sheet, console)
        console.print(f"{table.note}\n", highlight=False)
    _show_gates(benchmark.outcomes, console)
    console.print(verdict(benchmark), highlight=False)


def interaction_sheets(scores: InteractionScores) -> list[Sheet]:
    """Of each modality a row for every way and control; and how well captions are told apart."""
    found = scores.figures
    made = []
    for modality in dict.fromkeys(key[0] for key in found):
        lines = dict.fromkeys(key[1:3] for key in found if key[0] == modality and key[3] == "pointing")
        rows = [
            (
                f"{way}: {control}" if control else way,
                bool(control),
                [figure_text(found.get((modality, way, control, score))) for score in ("pointing", "wrong")],
            )
            for way, control in lines
        ]
        auc = figure_text(found.get((modality, "null", "", "auc")))
        made.append(
            Sheet(f"{modality} (AUC of own captions {auc})", "interactions", ["pointing", "wrong"], rows)
        )
    return made


def show_interactions(scores: InteractionScores, console: Console) -> None:
    """Tables, the gates last."""
    for each in interaction_sheets(scores):
        show_sheet(each, console)
    _show_gates(scores.outcomes, console)


def _show_gates(outcomes: Sequence[GateOutcome], console: Console) -> None:
    from rich.table import Table as Grid

    console.print("Gates", style="italic")
    grid = Grid("gate", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("value", "needed", ""):
        grid.add_column(name, justify="right" if name == "value" else "left")
    for outcome in outcomes:
        colour = {True: "green", False: "bold red", None: "dim"}[outcome.passed]
        grid.add_row(outcome.gate.name, *outcome_text(outcome), f"[{colour}]{outcome.verdict}[/]")
    console.print(grid)
