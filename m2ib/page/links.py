"""Which unit of one input acts together with which of the other, on a page and in a figure: what they are called, the strongest links."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from m2ib.contract.attribution import Attribution
from m2ib.contract.interactions import Interactions, Link, Units
from m2ib.contract.pair import AttributionPair
from m2ib.renderers.formatting import format_number
from m2ib.renderers.names import step_names

_SHOWN = 8  # links of a page's table


def links_values(explanation: AttributionPair, idents: Sequence[str]) -> dict[str, Any] | None:
    """What the page shows of interactions, and ``links.js`` reads; None where there are none.

    idents  of the figures of both inputs
    """
    found = explanation.interactions
    if found is None:
        return None
    sides = [
        {
            "id": ident,
            "modality": units.modality,
            "shape": units.shape,
            "unit": unit_noun(units),
            "names": units.names or None,
            "places": None if units.names else _places(attribution, units),
        }
        for ident, attribution, units in zip(idents, explanation, found.units, strict=True)
    ]
    data = {"unit": found.unit, "sides": sides, "matrix": _short(found.matrix)}
    return {
        "data": Markup(json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")),
        "heads": [f"{side['unit']} of the {side['modality']}" for side in sides],
        "rows": [
            (first, second, signed_number(value)) for first, second, value in named_links(explanation, _SHOWN)
        ],
        "unit": found.unit,
        "method": found.method,
        "warnings": found.warnings,
    }


def named_links(explanation: AttributionPair, count: int) -> list[tuple[str, str, float]]:
    """The :func:`strongest` with their units' names; none where there are no interactions."""
    found = explanation.interactions
    if found is None:
        return []

    def named(link: Link) -> tuple[str, str, float]:
        units = zip(explanation, found.units, link[:2], strict=True)
        first, second = (unit_name(attribution, each, number) for attribution, each, number in units)
        return first, second, link.value

    return [named(link) for link in strongest(found, count)]


def signed_number(value: float) -> str:
    """+0.1234 or −0.1234."""
    return f"{'−' if value < 0 else '+'}{format_number(abs(value))}"


def unit_noun(units: Units) -> str:
    """What one of them is: a word, a window of time, or a cell."""
    return "word" if units.names else "window" if len(units.shape) == 1 else "cell"


def unit_name(attribution: Attribution, units: Units, number: int) -> str:
    """A word, or a place in the input's own units where these are times or frequencies, else counted from 1."""
    if units.names:
        return units.names[number]
    places = zip(_places(attribution, units), units.place(number), strict=True)
    return ", ".join(names[at] for names, at in places if names[at])


def _places(attribution: Attribution, units: Units) -> list[list[str]]:
    """For each axis of cells what each step along it is called; "" along one of a single step, unless that is all there is."""
    lone = [size == 1 and units.number > 1 for size in units.shape]
    return [
        ["" if alone else name for name in names]
        for names, alone in zip(step_names(attribution, units.shape), lone, strict=True)
    ]


def strongest(found: Interactions, count: int) -> list[Link]:
    """The strongest links, whatever their sign, without those beside a stronger one of the same sign.

    Beside it is a link whose units both lie within an eighth of their grids, one cell at least, of the stronger link's;
    words are beside themselves alone.
    """
    reach = [
        np.zeros(1) if units.names else np.maximum(1, np.array(units.shape) // 8) for units in found.units
    ]
    kept: list[Link] = []
    places: list[tuple[np.ndarray, ...]] = []
    for link in found.links(_LOOKED_AT):
        at = tuple(np.array(units.place(number)) for units, number in zip(found.units, link[:2], strict=True))
        beside = any(
            (other.value < 0) == (link.value < 0)
            and all(
                (np.abs(here - there) <= far).all() for here, there, far in zip(at, place, reach, strict=True)
            )
            for other, place in zip(kept, places, strict=True)
        )
        if not beside and link.value:
            kept.append(link)
            places.append(at)
            if len(kept) == count:
                break
    return kept


_LOOKED_AT = 2000  # links, of which those beside each other are left out


def _short(matrix: np.ndarray) -> list[list[float]]:
    """With four digits."""
    return [[float(f"{value:.4g}") for value in row] for row in matrix.tolist()]
