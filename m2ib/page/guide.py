"""What a reader is told first: which explanation is which, and how its maps are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from m2ib.contract.attribution import Attribution
from m2ib.contract.pair import AttributionPair
from m2ib.page.parts import summary, table_rows
from m2ib.renderers.names import contrasted, own_name, several, shortened

_LONGEST = 80  # characters of an input's name
_MOST = 4  # settings that tell explanations apart, in a heading


def pair_name(explanation: AttributionPair) -> str:
    """Both inputs' words, files or kinds."""
    return " and ".join(
        shortened(several(each) or own_name(each) or each.modality, _LONGEST) for each in explanation
    )


def made_by(explanations: Sequence[AttributionPair]) -> list[str]:
    """The method of each, with the settings in which others of the same pair by the same method differ from it."""
    keys = [(pair_name(each), each[0].method) for each in explanations]
    told = [_settings(each) for each in explanations]
    found = []
    for key, own in zip(keys, told, strict=True):
        alike = [other for other_key, other in zip(keys, told, strict=True) if other_key == key]
        names = [name for name, value in own.items() if any(other.get(name) != value for other in alike)]
        said = [f"{name} {own[name]}" for name in names[:_MOST]]
        found.append(", ".join([key[1], *said]))
    return found


def _settings(explanation: AttributionPair) -> dict[str, str]:
    """By name, of both sides, a side's own with its modality."""
    first, second = (dict(table_rows(each.settings)) for each in explanation)
    one, other = explanation.modalities
    found: dict[str, str] = {}
    for name in {**first, **second}:
        if first.get(name) == second.get(name):
            found[name] = first[name]
        else:
            sides = {f"{name}.{one}": first.get(name), f"{name}.{other}": second.get(name)}
            found |= {key: value for key, value in sides.items() if value is not None}
    return found


def guide(explanations: Sequence[AttributionPair]) -> list[tuple[str, list[str]]]:
    """(what, how it is read) of the explanations of one page, by what their methods and their model tell of themselves."""
    if not explanations:
        return []
    sides = [side for explanation in explanations for side in explanation]
    title = explanations[0].similarity_title
    methods = {side.method: side for side in reversed(sides)}
    names = dict.fromkeys(side.method for side in sides)
    lines = [
        ("Values", [f"{name}, {summary(name)}: {_unit(methods[name], title)}." for name in names]),
        ("Much or little", _much(sides)),
    ]
    if any(side.curve is not None and side.curve.noise is not None for side in sides):
        lines.append(("The fit", [_FIT]))
    return [*lines, (title.capitalize(), _similarity(explanations))]


_FIT = (
    "Where it kept about all of the similarity, the map holds what that rests on; where it kept less, only a part of it. Where it raised the "
    "similarity far above what there was, heat shows what would bring the two closer."
)


def _unit(attribution: Attribution, similarity: str) -> str:
    if attribution.unit == "nats":
        return "nats of information, the more a position has to keep, the higher"
    if attribution.unit == "cosine":
        return f"in units of the {similarity}"
    return attribution.unit or "without a unit, to be compared within one map alone"


def _much(sides: Sequence[Attribution]) -> list[str]:
    said = "Maps fill their own scale"
    if any(side.full is not None for side in sides):
        said += ", unless they hold next to nothing"
    said += ": compare where they are high, not how high."
    if any(side.additive for side in sides):
        said += (
            " How far the highest value stands above an even share of the sum is told beside each heading."
        )
    return [said]


def _similarity(explanations: Sequence[AttributionPair]) -> list[str]:
    said = ["From −1 to 1."] if explanations[0].similarity_name == "cosine" else []
    usual = [places for each in explanations if (places := each.provenance.get("usual"))]
    if usual:
        said.append(f"With this model's usual inputs it is in the median {_medians(usual)}.")
    elif any(contrasted(side) is None for each in explanations for side in each):
        said.append(_UNKNOWN)
    return [" ".join(said)]


_UNKNOWN = (
    "What this model usually gives is not known here: inputs of the usual kind, given as reference=, or others than the partner, by "
    "null=16, tell whether it is much."
)


def _medians(usual: Sequence[Mapping[str, Any]]) -> str:
    """Over all pairs, by the side that they are in place of; of more than two together."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for places in usual:
        for modality, place in places.items():
            found.setdefault(modality, []).append(place)
    if len(found) > 2:
        found = {"other side": [place for places in found.values() for place in places]}
    said = []
    for side, known in found.items():
        values = [place["median"] for place in known]
        ends = dict.fromkeys(f"{value:.2f}".replace("-", "−") for value in (min(values), max(values)))
        said.append(f"{' to '.join(ends)} ({known[0]['inputs']} in place of the {side})")
    return ", ".join(said)
