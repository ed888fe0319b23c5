"""Pairs that settings are chosen on, and pairs that the choice is judged by."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice

from m2ib.contract.model import Model
from m2ib.data.pairs import Pairs, Row
from m2ib.errors import InputError, PluginError
from m2ib.evaluation.prepared import prepared
from m2ib.evaluation.resume import content_of
from m2ib.registry.foreign import plugin_code

MOST = 100
"""Pairs for each part, where it is not said how many."""
LEAST = 2


@dataclass(frozen=True)
class Split:
    """Two parts without a pair in common.

    tuning, held_out          the pairs
    tuning_ids, held_out_ids  their ids
    contents                  of all of them, what the model is given and where the evidence is; see ``evaluation/resume.py``
    left_out                  pairs before the last one of these that the model cannot take
    """

    tuning: Pairs
    held_out: Pairs
    tuning_ids: tuple[str, ...]
    held_out_ids: tuple[str, ...]
    contents: tuple[str, ...]
    left_out: int


def split(model: Model, pairs: Pairs, tuning: int | None, held_out: int | None) -> Split:
    """The first ``tuning`` pairs that the model can take, and the next ``held_out`` ones.

    tuning, held_out  None: half of the pairs each, or what the other one leaves, :data:`MOST` of them at most

    Raises :class:`InputError` where there are too few.
    """
    places: list[int] = []
    ids: list[str] = []
    contents: list[str] = []
    reason = ""
    left_out = 0
    for place, pair in enumerate(pairs):
        try:
            with plugin_code("the model"):
                contents.append(content_of(prepared(model, place, pair)))
        except (InputError, PluginError) as error:
            left_out += 1
            reason = reason or f"{pair.id}: {error}"
        else:
            places.append(place)
            ids.append(pair.id)
        if len(places) == (tuning or MOST) + (held_out or MOST):
            break
    else:
        reason = reason or "".join(str(bad) for bad in pairs.bad[:1])
        _check_enough(pairs, f"{len(places)} pairs that can be used", len(places), tuning, held_out, reason)
    if tuning is None:
        tuning = min(MOST, len(places) - (len(places) // 2 if held_out is None else held_out))
    last = min(len(places), tuning + (held_out or MOST))
    tuned, judged = _only(pairs, places[:tuning]), _only(pairs, places[tuning:last])
    return Split(tuned, judged, tuple(ids[:tuning]), tuple(ids[tuning:last]), tuple(contents), left_out)


def check_rows(pairs: Pairs, tuning: int | None, held_out: int | None) -> None:
    """As :func:`split`, before a model is loaded. Raises :class:`InputError` for data of too few rows, where their number is known."""
    if (rows := pairs.total()) is not None:
        _check_enough(pairs, f"{rows} rows", rows, tuning, held_out)


def _check_enough(
    pairs: Pairs, said: str, there: int, tuning: int | None, held_out: int | None, reason: str = ""
) -> None:
    if there >= (needed := (tuning or LEAST) + (held_out or LEAST)):
        return
    asked = {"pairs": tuning, "held_out": held_out}
    told = " with ".join(
        f"{name}={count}" if count else f"{name} of at least {LEAST}" for name, count in asked.items()
    )
    way = "give more data" if tuning is held_out is None else "give fewer, or more data"
    raise InputError(
        f"tune: {pairs.name!r} has {said}, and {told} need {needed}; {way}"
        + (f" (left out: {reason})" if reason else "")
    )


def _only(pairs: Pairs, places: Collection[int]) -> Pairs:
    """Those at these places, read when they are asked for."""
    chosen, last = frozenset(places), max(places)

    def rows() -> Iterator[Row]:
        for place, pair in enumerate(islice(pairs, last + 1)):
            if place in chosen:
                yield Row(f"pair {place}", partial(lambda same: same, pair))

    return Pairs(pairs.name, pairs.modalities, rows, located=pairs.located, numbered=True)
