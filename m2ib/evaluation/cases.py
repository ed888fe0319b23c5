"""The worst cases of an evaluation, with the maps that one would look at."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from m2ib.contract.abilities import Outlining
from m2ib.contract.attribution import Attribution
from m2ib.contract.inputs import Item
from m2ib.contract.model import Model
from m2ib.data.pairs import Pairs
from m2ib.errors import InputError
from m2ib.evaluation.measures import MEASURES
from m2ib.evaluation.prepared import PreparedPair, prepared
from m2ib.evaluation.results import Table
from m2ib.evaluation.store import Store
from m2ib.methods.base import Map
from m2ib.registry.plan import Plan
from m2ib.renderers.names import shortened
from m2ib.results.attributions import attribution_of, label, renderer_of

RANKED = ("iou", "drop", "insertion", "deletion")  # what a case can be worst by, the first two that are there
CASES = 3  # by each


@dataclass(frozen=True)
class CaseMap:
    """A map on the page: whose, its score, HTML, and the script that the page needs for it once."""

    method: str
    score: float
    html: str
    script: str


@dataclass(frozen=True)
class Case:
    """A pair that one method does worst on, beside the method that does best on it.

    name   of the pair: both inputs' words or files
    other  what the map is explained against: its words, or HTML
    """

    side: int
    metric: str
    pair: str
    name: str
    other: str
    shown: Sequence[CaseMap]


def worst_pairs(table: Table, method: str, metric: str, count: int) -> list[str]:
    """The pairs on which a method's score is worst, the worst one first."""
    samples = table.cells[method, metric].samples
    worse = 1 if MEASURES[metric].better == "higher" else -1
    return sorted(samples, key=lambda pair: (worse * samples[pair], pair))[:count]


def best_method(table: Table, metric: str, pair: str, without: str) -> str | None:
    """Of the methods that are no controls."""
    better = -1 if MEASURES[metric].better == "higher" else 1
    known = {
        method: cell.samples[pair]
        for method, control in table.rows
        if not control
        and method != without
        and (cell := table.cells.get((method, metric))) is not None
        and pair in cell.samples
    }
    return min(known, key=lambda method: (better * known[method], method), default=None)


def find_cases(
    model: Model,
    pairs: Pairs,
    store: Store,
    tables: Sequence[Table],
    plans: Mapping[tuple[int, str], Plan],
    seed: int,
) -> list[Case]:
    """Of the first method that is no control, by up to two metrics, on each side."""
    wanted: list[tuple[Table, str, str, list[str]]] = []
    for table in tables:
        method = next((name for name, control in table.rows if not control), None)
        if method is None:
            continue
        there = [metric for metric in RANKED if (method, metric) in table.cells]
        for metric in there[:2]:
            for pair in worst_pairs(table, method, metric, CASES):
                beside = best_method(table, metric, pair, method)
                wanted.append((table, metric, pair, [name for name in (method, beside) if name]))
    read = _read(model, pairs, {pair for _, _, pair, _ in wanted})
    cases = []
    for number, (table, metric, pair, methods) in enumerate(wanted):
        if pair not in read:
            continue
        each = read[pair]
        shown: list[CaseMap] = []
        for method in methods:
            grid = store.grids(table.side, method, seed)[pair]
            attribution = outlined(model, each, table.side, plans[table.side, method], grid)
            score = table.cells[method, metric].samples.get(pair, math.nan)
            ident = f"case{number}-{len(shown)}"
            html = str(attribution.renderer.fragment(attribution, ident))
            shown.append(CaseMap(method, score, html, attribution.renderer.script))
        other = _other(model, each, 1 - table.side, f"case{number}-other")
        name = " and ".join(_named(item) for item in each.items)
        cases.append(Case(table.side, metric, pair, name, other, shown))
    return cases


def _read(model: Model, pairs: Pairs, wanted: set[str]) -> dict[str, PreparedPair]:
    found = ((number, pair) for number, pair in enumerate(pairs) if pair.id in wanted)
    return {pair.id: prepared(model, number, pair) for number, pair in itertools.islice(found, len(wanted))}


def outlined(
    model: Model, each: PreparedPair, side: int, plan: Plan, grid: np.ndarray, *, others: bool = False
) -> Attribution:
    """A map as ``m2ib.explain`` would give it, with what is known of the input drawn over it.

    others  with what else is there, dashed
    """
    pair, item = each.pair, each.items[side]
    modality = pair.inputs[side][0]
    renderer, view = renderer_of(model, modality, item), item.view
    if pair.boxes and hasattr(view, "with_boxes"):
        with suppress(InputError):  # of boxes beside the image nothing can be drawn
            view = view.with_boxes(pair.boxes)
    known = [pair.regions[side]] if side in pair.regions else []
    known += [replace(region, main=False) for region in pair.others.get(side, ()) if others]
    if known and isinstance(renderer, Outlining):
        view = renderer.outlined(view, known, modality)
    return replace(attribution_of(model, modality, item, plan, Map(grid)), view=view)


def _named(item: Item) -> str:
    """An input's words, or its file."""
    return f"“{shortened(label(item), 80)}”" if item.layout.tokens else Path(label(item)).name


def _other(model: Model, each: PreparedPair, side: int, ident: str) -> str:
    """What the other input is, as HTML."""
    from markupsafe import Markup

    item, modality = each.items[side], each.pair.inputs[side][0]
    renderer = renderer_of(model, modality, item)
    if item.layout.tokens or not isinstance(renderer, Outlining):
        return str(Markup("<q>{}</q>").format(label(item)))
    blank = Attribution(
        modality, "", np.zeros(item.layout.grid or (1, 1)), None, item.layout, None, {}, item.view, renderer
    )
    return str(renderer.picture(blank, ident))


def to_plain(cases: Sequence[Case]) -> list[dict[str, Any]]:
    """JSON-able."""
    return [asdict(case) for case in cases]
