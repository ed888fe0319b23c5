"""An input that is ready, with the segments that were asked for."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from m2ib.contract.attribution import Attribution, Rastered, Renderer
from m2ib.contract.inputs import Item
from m2ib.contract.layout import Axis
from m2ib.contract.regions import Region
from m2ib.contract.segments import REST, Laid, PlacedSegments, Segments
from m2ib.errors import InputError, did_you_mean
from m2ib.notices import collected_warnings, warn
from m2ib.units.files import read_segments
from m2ib.units.rasters import array_of, of_labels, of_masks, of_regions
from m2ib.units.rules import UnitRule, rule_of
from m2ib.units.texts import of_phrases


def units_for(units: Any, number: int, modalities: Sequence[str]) -> Any:
    """What is asked for of the ``number``-th input of a pair, of these kinds; None for nothing. Raises :class:`InputError`."""
    if units is None:
        return None
    if isinstance(units, Mapping):
        for name in units:
            if name not in modalities:
                raise InputError(
                    f"units: {name!r:.40} is none of the pair's kinds{did_you_mean(name, modalities)} They are {', '.join(modalities)}"
                )
        return units.get(modalities[number])
    if isinstance(units, (str, bytes)) or not isinstance(units, Sequence) or len(units) != 2:
        raise InputError(
            f"units: give them by modality, as in {{'image': superpixels(50)}}, or two in a list, not {units!r:.60}"
        )
    return units[number]


def check_units(units: Any, modalities: Sequence[str]) -> list[tuple[str, str]]:
    """(modality, text) of each text that is no rule: a file, of a text its phrases. Raises :class:`InputError` for what is wrong with
    ``units`` whatever the inputs are."""
    given = [(modality, units_for(units, number, modalities)) for number, modality in enumerate(modalities)]
    return [
        (modality, each)
        for modality, each in given
        if isinstance(each, str) and rule_of(each, f"units of {modality}") is None
    ]


def with_units(item: Item, given: Any, renderer: Renderer, modality: str) -> Item:
    """The input with its segments: those of ``given`` that the model sees any of. What is in none is one more, "rest".

    Raises :class:`InputError`.
    """
    who, laid = f"units of {modality}", partial(_laid, item, renderer, modality)
    with collected_warnings() as warned:
        segments, name = _segments(given, item, renderer, laid, who)
        wanted, (size, axes) = segments.names, laid(_whole(item))
        if not (segments.labels > 0).all():
            labels = segments.labels.astype(np.int64)
            labels[labels == 0] = len(segments.names) + 1
            segments = replace(segments, names=(*segments.names, REST), labels=labels)
        seen = segments.seen(size, axes)
        unseen = ", ".join(repr(name) for name, there in zip(wanted, seen, strict=False) if not there)
        if not seen[: len(wanted)].any():
            raise InputError(f"{who}: the model sees none of them: {unseen:.200}")
        if unseen:
            warn(f"{who}: the model sees nothing of {unseen:.200}; left out")
        segments = segments.only(seen)
    labels = segments.labels.astype(np.min_scalar_type(len(segments.names)))
    told = {"units": {"from": name, "segments": len(segments.names)}}
    said = [*item.origin.get("warnings", ()), *warned]
    return replace(
        item,
        origin={**item.origin, **told, **({"warnings": said} if said else {})},
        segments=PlacedSegments(replace(segments, labels=labels), laid),
    )


def _laid(
    item: Item, renderer: Renderer, modality: str, shape: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[Axis, ...]]:
    """See :data:`Laid`. Special tokens lie before the text. Raises :class:`InputError` where places are not known."""
    probe = Attribution(
        modality, "", np.zeros(shape, np.float32), None, item.layout, None, {}, item.view, renderer
    )
    if not isinstance(renderer, Rastered):
        if len(probe.axes) != len(shape):
            raise InputError(f"units of {modality}: where its cells lie in the input is not known")
        return (), tuple(map(_stretched, probe.axes, shape))
    size, axes = renderer.raster(probe)
    if item.layout.tokens:
        spans = iter(axes[0].spans)
        every = tuple((-1.0, -1.0) if token.special else next(spans) for token in item.layout.tokens)
        axes = (replace(axes[0], spans=every),)
    return size, axes


def _stretched(axis: Axis, count: int) -> Axis:
    """As many equal places as there are, where these are no multiple of the axis' cells."""
    if len(axis.spans) == count:
        return axis
    edges = np.linspace(axis.spans[0][0], axis.spans[-1][1], count + 1).tolist()
    return replace(axis, spans=tuple(pairwise(edges)))


def _whole(item: Item) -> tuple[int, ...]:
    """The shape of a map that covers what the model sees."""
    if item.layout.tokens:
        return (len(item.layout.tokens),)
    return tuple(len(axis.spans) for axis in item.layout.axes) or (1, 1)


def _segments(given: Any, item: Item, renderer: Renderer, laid: Laid, who: str) -> tuple[Segments, str]:
    """And what to call what they were made of."""
    rule = rule_of(given, who) if isinstance(given, str) else given
    if isinstance(rule, UnitRule):
        return rule.make(item, renderer, who), rule.name
    if item.layout.tokens:
        phrases = [given] if isinstance(given, str) else given
        return of_phrases(phrases, str(item.view["text"]), who), "phrases"
    name = "masks" if isinstance(given, Mapping) else "labels"
    if isinstance(given, (str, os.PathLike)):
        name = Path(given).name
        given = read_segments(given, str(item.origin.get("source", "")))
    size, axes = laid(_whole(item))
    if isinstance(given, (list, tuple)) and given and all(isinstance(each, Region) for each in given):
        return of_regions(given, axes, who), "regions"
    if not size:
        raise InputError(
            f"{who}: it has no raster that masks could be given on; give a list of m2ib.Region, of a sound m2ib.onsets()"
        )
    if isinstance(given, Mapping):
        return of_masks({str(each): array_of(mask, who) for each, mask in given.items()}, size, who), name
    return of_labels(given, size, who), name
