"""A report on a terminal."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from m2ib.testing.report import LAYERS, MISSING, TIMINGS, Report
from m2ib.testing.results import Skipped

_MODEL = "model"


def show(report: Report, console: Console) -> None:
    """What was checked, the checks, what is missing, the timings, and the verdict last."""
    about = report.about
    _line(
        console,
        f"adapter {about['adapter']!r} of {about['distribution']}, checkpoint {about['checkpoint'] or 'by default'}, "
        f"on {about['device']} in {about['dtype']}, tolerance {about['tolerance']:g} (m2ib {about['m2ib']}, torch "
        f"{about['torch']})",
    )
    if report.sources:
        _line(console, f"examples: {_sources(report)}")
    for warning in report.warnings:
        _line(console, f"warning: {warning}")
    _checks(report, console)
    _gains(report, console)
    _layers(report, console)
    _timings(report, console)
    console.print()
    if report.passed:
        _line(console, f"{about['adapter']} keeps the contract", "green")
        return
    count = sum(bool(result.failure) for result in report.results)
    _line(console, f"{about['adapter']} breaks the contract: {count} of the checks failed", "bold red")


def _checks(report: Report, console: Console) -> None:
    _head(console, "Checks")
    grid = _grid(3)
    skipped = [each for each in report.skipped if each.what not in (MISSING, LAYERS, TIMINGS)]
    told_of = [*(each.modality for each in report.results), *(each.modality for each in skipped)]
    every = dict.fromkeys([_MODEL, *told_of])
    for modality in every:
        mine = [result for result in report.results if result.modality == modality]
        failed = [result for result in mine if result.failure]
        passed = [result.check for result in mine if not result.failure and result.applies]
        nothing = [result.check for result in mine if not result.failure and not result.applies]
        rows = [(Text("passed", "green"), ", ".join(passed))] if passed else []
        rows += [(Text("FAILED", "bold red"), f"{result.check}: {result.failure}") for result in failed]
        rows += [(Text("left out", "yellow"), told) for told in _grouped(skipped, modality)]
        rows += [(Text("not told", "dim"), ", ".join(nothing))] if nothing else []
        for number, (outcome, told) in enumerate(rows):
            grid.add_row(Text("" if number else modality), outcome, Text(told))
    console.print(Padding(grid, (0, 0, 0, 2)))


def _gains(report: Report, console: Console) -> None:
    skipped = [each for each in report.skipped if each.what == MISSING]
    if not report.missing and not skipped:
        return
    _head(console, "Not told, and what telling it would gain (nothing of this breaks the contract)")
    grid = _grid(3)
    for each in report.missing:
        grid.add_row(Text(", ".join(each.modalities)), Text(each.what, "bold"), Text(each.gain))
    for left in skipped:
        grid.add_row(Text(left.modality), Text("left out", "yellow"), Text(f"as {left.reason}"))
    console.print(Padding(grid, (0, 0, 0, 2)))


def _layers(report: Report, console: Console) -> None:
    if not report.layers:
        return
    _head(
        console,
        "Layers at which evidence can be shown, in an order to search in: the default first, then far from those before",
    )
    grid = _grid(3)
    for modality, good in report.layers.items():
        grid.add_row(Text(modality), Text(f"{len(good)}", "bold"), Text(", ".join(map(str, good.to_try))))
    console.print(Padding(grid, (0, 0, 0, 2)))


def _timings(report: Report, console: Console) -> None:
    about = report.about
    threads = about["threads"]
    where = f"cpu with {threads} thread{'s' * (threads > 1)}" if about["device"] == "cpu" else about["device"]
    step = f"forward and backward with {about['copies']} copies of one input"
    title = f"Milliseconds on {where}: medians after a warm-up. A step is {step}, whole or from the default layer on"
    _head(console, title if report.timings else "Timings")
    if report.timings:
        grid = _grid(0)
        grid.show_header = True
        for name in ("", "forward", "whole step", "layer", "tail step", "by own tail", "tail/whole"):
            grid.add_column(Text(name), justify="right" if name else "left")
        for each in report.timings:
            own = "" if each.own_tail_step_ms is None else f"{each.own_tail_step_ms:.2f}"
            first = f"{each.forward_ms:.2f}", f"{each.whole_step_ms:.2f}", str(each.layer)
            grid.add_row(each.modality, *first, f"{each.tail_step_ms:.2f}", own, f"{each.ratio:.2f}")
        console.print(Padding(grid, (0, 0, 0, 2)))
    for left in (each for each in report.skipped if each.what == TIMINGS):
        _line(console, f"  {left.modality}: left out, as {left.reason}", "yellow")


def _sources(report: Report) -> str:
    by_source: dict[str, list[str]] = {}
    for modality, source in report.sources.items():
        by_source.setdefault(source, []).append(modality)
    return "; ".join(f"{source} for {', '.join(modalities)}" for source, modalities in by_source.items())


def _grouped(skipped: Iterable[Skipped], modality: str) -> list[str]:
    """What was left out of one modality, by reason."""
    found: dict[str, list[str]] = {}
    for each in skipped:
        if each.modality == modality:
            found.setdefault(each.reason, []).append(each.what)
    return [f"{', '.join(names)}: as {reason}" for reason, names in found.items()]


def _grid(columns: int) -> Table:
    grid = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for number in range(columns):
        grid.add_column(overflow="fold", no_wrap=number == 1)
    return grid


def _head(console: Console, title: str) -> None:
    console.print()
    console.print(Text(title, "italic"))


def _line(console: Console, text: str, style: str = "") -> None:
    console.print(Text(text, style))
