"""``m2ib demo --modalities``: one scene in six modalities, and every pair of them explained."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from m2ib.page.overview import PairedMap
    from m2ib.results.explanation import Explanation
    from m2ib.scenes import Scene

MODALITIES = ("image", "text", "audio", "depth", "thermal", "imu")
_MODEL = "imagebind-tiny"
_SHOWS = {
    "image": "shows",
    "text": "names",
    "audio": "has the sound of",
    "depth": "has the shape of",
    "thermal": "has the warmth of",
    "imu": "has the vibration of",
}


@dataclass(frozen=True)
class Side:
    """One input of a pair: a modality of a scene, and the kind that it has in common with the other input."""

    modality: str
    scene: Scene
    kind: str

    @property
    def holds(self) -> str:
        """In words."""
        return f"{_SHOWS[self.modality]} {' and '.join(f'a {kind}' for kind in self.scene.kinds)}"


@dataclass(frozen=True)
class Question:
    """A pair, and what its maps should show. The first side is the one with more than one object."""

    sides: tuple[Side, Side]

    @property
    def title(self) -> str:
        first, second = self.sides
        return f"{first.modality} and {second.modality}: {first.kind}"

    @property
    def asked(self) -> str:
        first, second = self.sides
        if first.modality == second.modality:
            return f"One {first.modality} {first.holds}, the other {second.holds}: what have they in common?"
        return (
            f"The {first.modality} {first.holds}, the {second.modality} {second.holds} alone: where is that?"
        )


def questions(seed: int) -> list[Question]:
    """The 21 pairs. Of two modalities one shows both objects of the scene, the other one of them alone."""
    from m2ib.scenes import KINDS, scene

    whole = scene(seed, count=2)
    third = KINDS[(KINDS.index(whole.kinds[0]) + 1 + seed) % len(KINDS)]
    while third in whole.kinds:
        third = KINDS[(KINDS.index(third) + 1) % len(KINDS)]
    alone = {kind: _named_only(scene(seed + 1 + n, kinds=(kind,))) for n, kind in enumerate(whole.kinds)}
    beside = scene(seed + 3, kinds=(third, whole.kinds[0]))
    found = []
    for n, (first, second) in enumerate(itertools.combinations_with_replacement(MODALITIES, 2)):
        if first == second:
            kind = whole.kinds[0]
            found.append(Question((Side(first, whole, kind), Side(second, beside, kind))))
            continue
        kind = whole.kinds[n % 2]
        # Each modality shows both objects in some pairs and one in others.
        if (MODALITIES.index(second) - MODALITIES.index(first)) % 2 == 0:
            first, second = second, first
        found.append(Question((Side(first, whole, kind), Side(second, alone[kind], kind))))
    return found


def _named_only(scene: Scene) -> Scene:
    """A scene of one object, its caption without colour and size."""
    from m2ib.scenes import captions, query

    text = query(scene.kinds[0])
    named, words, filler = captions.masks(text, scene.kinds)
    return replace(
        scene,
        text=text,
        masks={**scene.masks, "text": named},
        axes={**scene.axes, "text": (words,)},
        filler=filler,
    )


def explain(model: Any, asked: Sequence[Question], seed: int, preset: str | None) -> Iterator[Explanation]:
    """One explanation for each question, the known regions outlined."""
    from m2ib.api import explain_many

    pairs = [
        tuple((side.modality, side.scene.inputs[side.modality]) for side in each.sides) for each in asked
    ]
    for question, explanation in zip(
        asked, explain_many(model, pairs, seed=seed, preset=preset), strict=True
    ):
        for place, side in enumerate(question.sides):
            explanation = _outlined(explanation, place, side, highlight=side.kind)
        yield explanation


def _outlined(explanation: Explanation, place: int, side: Side, *, highlight: str | None) -> Explanation:
    masks, axes = side.scene.masks[side.modality], side.scene.axes[side.modality]
    return explanation.with_regions(masks, axes, at=place, highlight=highlight)


def pointed(explanation: Explanation, place: int, side: Side) -> str:
    """The kind on which the map is highest, on the benchmark's raster; "" for none; the first of equal places.

    Over a sound and over motion the moment counts, over a text the word.
    """
    import numpy as np

    from m2ib.evaluation.raster import lay

    attribution, raster = explanation[place], side.scene.axes[side.modality]
    kept = [axis for axis in raster if axis.name == "time"] or list(raster)
    dropped = tuple(n for n, axis in enumerate(raster) if axis not in kept)
    values = lay(attribution.grid, attribution.layout, raster, kept)
    highest = np.unravel_index(values.argmax(), values.shape)
    masks = side.scene.masks[side.modality]
    return next((kind for kind, mask in masks.items() if np.asarray(mask.any(dropped))[highest]), "")


def verdict(explanation: Explanation, place: int, side: Side) -> tuple[bool, str]:
    """Whether the highest value is where the common kind is, and that in words."""
    found = pointed(explanation, place, side)
    where = f"on the {found}" if found else "on no object"
    return found == side.kind, f"{side.modality}: highest {where}"


def paired_maps(
    asked: Sequence[Question], explanations: Sequence[Explanation]
) -> dict[tuple[str, str], PairedMap]:
    """For each modality and the one that it is seen from: the map, where it stands, and whether it is true."""
    from m2ib.page.overview import PairedMap

    found = {}
    for number, (question, explanation) in enumerate(zip(asked, explanations, strict=True)):
        for place in (1, 0):  # of two sides of one modality the first is shown
            mine, other = question.sides[place], question.sides[1 - place]
            right, said = verdict(explanation, place, mine)
            found[mine.modality, other.modality] = PairedMap(
                number, mine.kind, explanation[place], right, len(mine.scene.kinds) > 1, said
            )
    return found


def run(parsed: argparse.Namespace) -> None:
    """Explain every pair; write one page; print its path. Raises :class:`SettingError` for a model of less."""
    from m2ib.errors import SettingError
    from m2ib.loading import load_model
    from m2ib.page import write_page
    from m2ib.page.overview import render_overview
    from m2ib.registry.discovery import default_registry
    from m2ib.results.storage import check_folder

    folder = Path(parsed.out)
    check_folder(folder, force=parsed.force)
    name = parsed.model or _MODEL
    takes = default_registry().adapters.find(name).modalities
    if not set(MODALITIES) <= set(takes):
        raise SettingError(
            f"demo: --modalities needs {', '.join(MODALITIES)}; the model {name!r} takes {', '.join(takes)}"
        )
    asked = questions(parsed.seed)
    model = load_model(name, checkpoint=parsed.checkpoint, device=parsed.device)
    explanations = list(explain(model, asked, parsed.seed, parsed.preset))
    remarks = [
        (question.asked, [verdict(explanation, place, side) for place, side in enumerate(question.sides)])
        for question, explanation in zip(asked, explanations, strict=True)
    ]
    shown = {}
    for question, explanation in zip(asked, explanations, strict=True):
        side = question.sides[0]
        if side.modality == question.sides[1].modality:
            shown[side.modality] = _outlined(explanation, 0, side, highlight=None)[0]
    page = write_page(
        explanations,
        folder / "index.html",
        title="One scene in six modalities",
        notes=[question.title for question in asked],
        remarks=remarks,
        overview=render_overview(shown, paired_maps(asked, explanations), asked[0].sides[0].scene.kinds),
    )
    print(page.resolve())
