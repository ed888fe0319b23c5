"""``m2ib demo --modalities``: one scene in six modalities, and every pair of them explained."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from m2ib.api import plan_for
from m2ib.cli.options import ModelConfig, path_of
from m2ib.cli.output import say
from m2ib.corpus.explain import explain_many
from m2ib.errors import SettingError
from m2ib.evaluation.raster import lay
from m2ib.folders import check_folder, open_folder
from m2ib.page.explanation import Remark, write_page
from m2ib.page.overview import PairedMap, render_overview
from m2ib.progress import progress
from m2ib.results.explanation import Explanation
from m2ib.scenes import KINDS, Scene, captions, query, scene
from m2ib.scenes.scene import MODALITIES

KIND = "demo"
_MODEL = "m2ib:imagebind-tiny"
_SHOWS = {
    "image": "shows",
    "text": "names",
    "audio": "has the sound of",
    "depth": "has the shape of",
    "thermal": "has the warmth of",
    "imu": "has the vibration of",
}


@dataclass(frozen=True)
class SceneInput:
    """One input of a pair: a modality of a scene, and the kind that it has in common with the other input."""

    modality: str
    scene: Scene
    kind: str

    @property
    def holds(self) -> str:
        """In words."""
        return f"{_SHOWS[self.modality]} {' and '.join(f'a {kind}' for kind in self.scene.kinds)}"

    def outlined(self, explanation: Explanation, place: int, highlight: str | None = None) -> Explanation:
        """Its explanation with the scene's regions over the input at ``place``."""
        masks, axes = self.scene.masks[self.modality], self.scene.axes[self.modality]
        return explanation.with_regions(masks, axes, at=place, highlight=highlight)


class CrossModalPair(NamedTuple):
    """A pair, and what its maps should show. The first input is the one with more than one object."""

    first: SceneInput
    second: SceneInput

    @property
    def title(self) -> str:
        return f"{self.first.modality} and {self.second.modality}: {self.first.kind}"

    @property
    def asked(self) -> str:
        first, second = self
        if first.modality == second.modality:
            return f"One {first.modality} {first.holds}, the other {second.holds}: what have they in common?"
        return (
            f"The {first.modality} {first.holds}, the {second.modality} {second.holds} alone: where is that?"
        )


def scene_pairs(seed: int) -> list[CrossModalPair]:
    """The 21 pairs. Of two modalities one shows both objects of the scene, the other one of them alone."""
    whole = scene(seed, count=2)
    after = KINDS.index(whole.kinds[0]) + 1 + seed
    third = next(
        kind for n in range(len(KINDS)) if (kind := KINDS[(after + n) % len(KINDS)]) not in whole.kinds
    )
    alone = {kind: _named_only(scene(seed + 1 + n, kinds=(kind,))) for n, kind in enumerate(whole.kinds)}
    beside = scene(seed + 3, kinds=(third, whole.kinds[0]))
    found = []
    for n, (first, second) in enumerate(itertools.combinations_with_replacement(MODALITIES, 2)):
        kind = whole.kinds[0 if first == second else n % 2]
        other = beside if first == second else alone[kind]
        # Each modality shows both objects in some pairs and one in others.
        if (MODALITIES.index(second) - MODALITIES.index(first)) % 2 == 0:
            first, second = second, first
        found.append(CrossModalPair(SceneInput(first, whole, kind), SceneInput(second, other, kind)))
    return found


def _named_only(scene: Scene) -> Scene:
    """A scene of one object, its caption without colour and size."""
    text = query(scene.kinds[0])
    named, words, filler = captions.masks(text, scene.kinds)
    masks, axes = {**scene.masks, "text": named}, {**scene.axes, "text": (words,)}
    return replace(scene, text=text, masks=masks, axes=axes, filler=filler)


def explain(
    model: Any, pairs: Sequence[CrossModalPair], seed: int, preset: str | None
) -> Iterator[Explanation]:
    """One explanation for each pair, the known regions outlined."""
    raw = [tuple((side.modality, side.scene.inputs[side.modality]) for side in pair) for pair in pairs]
    explanations = explain_many(model, raw, seed=seed, preset=preset)
    for pair, explanation in zip(pairs, explanations, strict=True):
        for place, side in enumerate(pair):
            explanation = side.outlined(explanation, place, side.kind)
        yield explanation


def pointed(explanation: Explanation, place: int, side: SceneInput) -> str:
    """The kind on which the map is highest, on the benchmark's raster; "" for none; the first of equal places.

    Over a sound and over motion the moment counts, over a text the word.
    """
    attribution, raster = explanation[place], side.scene.axes[side.modality]
    kept = [axis for axis in raster if axis.name == "time"] or list(raster)
    dropped = tuple(n for n, axis in enumerate(raster) if axis not in kept)
    values = lay(attribution.grid, attribution.layout, raster, kept)
    highest = np.unravel_index(values.argmax(), values.shape)
    masks = side.scene.masks[side.modality]
    return next((kind for kind, mask in masks.items() if np.asarray(mask.any(dropped))[highest]), "")


def verdict(explanation: Explanation, place: int, side: SceneInput) -> tuple[bool, str]:
    """Whether the highest value is where the common kind is, and that in words."""
    found = pointed(explanation, place, side)
    where = f"on the {found}" if found else "on no object"
    return found == side.kind, f"{side.modality}: highest {where}"


def run(parsed: argparse.Namespace) -> None:
    """Explain every pair; write one page; print its path. Raises :class:`SettingError` for a model of less."""
    folder = path_of("out", parsed.out)
    check_folder(folder, KIND, force=parsed.force, names=("index.html",))
    name = parsed.model or _MODEL
    config = ModelConfig(name, parsed.checkpoint, parsed.device)
    takes = config.adapter.modalities
    if not set(MODALITIES) <= set(takes):
        raise SettingError(
            f"demo: --modalities needs {', '.join(MODALITIES)}; the model {name!r} takes {', '.join(takes)}"
        )
    pairs = scene_pairs(parsed.seed)
    plan = plan_for(preset=parsed.preset)
    for pair in pairs:
        plan.check_unloaded((pair.first.modality, pair.second.modality), config.adapter.spec.presets)
    model = config.load()
    explanations = list(explain(model, pairs, parsed.seed, parsed.preset))
    remarks: list[Remark] = []
    shown = {}  # by modality
    maps = {}  # by modality, and the one that it is seen from
    for number, (pair, explanation) in enumerate(zip(pairs, explanations, strict=True)):
        verdicts = [verdict(explanation, place, side) for place, side in enumerate(pair)]
        remarks.append((pair.asked, verdicts))
        if pair.first.modality == pair.second.modality:
            shown[pair.first.modality] = pair.first.outlined(explanation, 0)[0]
        for place in (1, 0):  # of two inputs of one modality the first is shown
            mine, (right, said) = pair[place], verdicts[place]
            several = len(mine.scene.kinds) > 1
            paired = PairedMap(number, mine.kind, explanation[place], right, several, said)
            maps[mine.modality, pair[1 - place].modality] = paired
    replaced = open_folder(folder, KIND, force=parsed.force).replacing(all=True)
    with progress("write the page"), replaced as written:
        write_page(
            explanations,
            written / "index.html",
            title="One scene in six modalities",
            notes=[pair.title for pair in pairs],
            remarks=remarks,
            overview=render_overview(shown, maps, pairs[0].first.scene.kinds),
        )
    say((folder / "index.html").resolve())
