"""Pointing on photographs: does the map's maximum lie in what the phrase names?

    python tests/benchmarks/pointing.py [--model photo] [--layer N] [--beta B] [--masks 2048] [--verbose]
    python tests/benchmarks/pointing.py --annotations instances.json --images images/ [--kept scores.json] ...

Without annotations: ``examples/photographs.json``, (photo, phrase, box) over scikit-image's photographs; phrases and
boxes were fixed before any map was seen. The maximum is to lie in the box.

With COCO's annotations of instances: "a <category>" for at most two categories a photo, the largest ones that cover
1 to 50 % of it, people and tables left out. The maximum is to lie in the category's mask, or at most 15 pixels from it
(the pointing game's margin, Zhang et al. 2018); it is wrong in another category's mask.

Printed for m2ib, its preset ``sharp``, Grad-CAM, with ``--masks`` RISE; a blob in the centre of every photo, and chance
(the mean share of where the maximum is to lie). RISE with 2,048 masks takes hours: with ``--kept`` each score is written down,
and a run that was cut off goes on where it was. "mass over area": how much more of the map's mass than of the photo lies in
the mask (the box). Standard errors are over phrases. Last, how well a photo with its phrase is told from one with another
photo's by ``specificity``: an AUC.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
from rich.console import Console
from rich.table import Table
from scipy.ndimage import distance_transform_edt

import m2ib
from m2ib.data import Pair, open_pairs
from m2ib.metrics import auc, mass_over_area

TRIPLES = Path(__file__).parents[2] / "examples" / "photographs.json"
LEFT_OUT = ("person", "dining table")
LEAST, MOST, PER_PHOTO = 0.01, 0.5, 2
MARGIN = 15  # pixels
OTHERS = 16  # reference inputs that a pair is compared with


@dataclass(frozen=True)
class Case:
    """A photo and a phrase.

    mask    (rows, columns) bool: what the phrase names
    near    likewise: where the maximum may lie
    others  likewise: what else is there
    true    every phrase that is known to be about the photo
    """

    name: str
    image: Any
    phrase: str
    mask: np.ndarray
    near: np.ndarray
    others: np.ndarray
    true: frozenset[str]


def photograph(name: str) -> np.ndarray:
    """A photograph of ``skimage.data``; the left one of a stereo pair."""
    photo = getattr(skimage.data, name)()
    return np.asarray(photo[0] if isinstance(photo, tuple) else photo)


def of_boxes() -> Iterator[Case]:
    rows = json.loads(TRIPLES.read_text(encoding="utf-8"))
    for row in rows:
        image = photograph(row["photo"])
        box = np.zeros(image.shape[:2], bool)
        left, top, right, bottom = row["box"]
        box[top:bottom, left:right] = True
        true = frozenset(other["phrase"] for other in rows if other["photo"] == row["photo"])
        yield Case(row["photo"], image, row["phrase"], box, box, np.zeros_like(box), true)


def of_coco(annotations: str, images: str) -> Iterator[Case]:
    def category(pair: Pair) -> str:
        return pair.regions[0].name

    def share(pair: Pair) -> float:
        return float(pair.regions[0].mask.mean())

    pairs = [
        pair for pair in open_pairs("coco", annotations=annotations, images=images) if isinstance(pair, Pair)
    ]
    for photo, grouped in groupby(pairs, key=lambda pair: pair.id.removesuffix(f"-{category(pair)}")):
        every = list(grouped)
        true = frozenset(str(raw) for pair in every for modality, raw in pair.inputs if modality == "text")
        asked = [pair for pair in every if category(pair) not in LEFT_OUT and LEAST <= share(pair) <= MOST]
        for pair in sorted(asked, key=share, reverse=True)[:PER_PHOTO]:
            mask, (image, text) = pair.regions[0].mask, (raw for _, raw in pair.inputs)
            others = [region.mask for region in pair.others[0]]
            elsewhere = np.any([np.zeros_like(mask), *others], axis=0)
            near = distance_transform_edt(~mask) <= MARGIN
            yield Case(photo, image, text, mask, near, elsewhere, true)


def scores(case: Case, values: np.ndarray, row: int, column: int) -> tuple[bool, bool, float]:
    """Of a map (rows, columns) of the photo and its maximum's place: hit, wrong object, mass over area."""
    hit = bool(case.near[row, column])
    return hit, not hit and bool(case.others[row, column]), mass_over_area(np.nan_to_num(values), case.mask)


def of_map(case: Case, attribution: m2ib.Attribution) -> tuple[bool, bool, float]:
    """The maximum is that of the map as it is looked at, between the cells' centres."""
    shown, view = attribution.scores, attribution.view
    height, width = case.mask.shape
    row, column = np.unravel_index(shown.argmax(), shown.shape)
    left, top, right, bottom = view.region
    x = (left + (float(column) + 0.5) / shown.shape[1] * (right - left)) / view.pixels.shape[1]
    y = (top + (float(row) + 0.5) / shown.shape[0] * (bottom - top)) / view.pixels.shape[0]
    return scores(case, attribution.at_input_size(), int(y * height), int(x * width))


def of_centre(case: Case) -> tuple[bool, bool, float]:
    height, width = case.mask.shape
    return scores(case, np.ones((height, width)), height // 2, width // 2)


def told_apart(model: m2ib.Model, cases: Sequence[Case]) -> float:
    """The AUC of the specificity of each photo with its phrase against that with the next phrase that is not about it."""
    pairs = [{"image": case.image, "text": case.phrase} for case in cases]
    for number, case in enumerate(cases):
        following = (*cases[number + 1 :], *cases[:number])
        another = next(each.phrase for each in following if each.phrase not in case.true)
        pairs.append({"image": case.image, "text": another})
    # whatever the method, it is the similarities that are compared
    found = m2ib.explain_many(model, pairs, method="uniform", null=OTHERS)
    scores = [explanation.specificity for explanation in found]
    return auc(np.array(scores, float), np.arange(len(scores)) < len(cases))


def added(table: Table, name: str, found: Sequence[tuple[bool, bool, float]]) -> None:
    columns = [np.array(column, float) for column in zip(*found, strict=True)]
    cells = [f"{values.mean():.2f} ± {values.std() / math.sqrt(len(values)):.2f}" for values in columns]
    table.add_row(name, *cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--annotations", help="COCO's JSON of instances; default: the 27 triples")
    parser.add_argument("--images", help="the folder of its images")
    parser.add_argument("--model", default="photo")
    parser.add_argument("--checkpoint")
    parser.add_argument("--layer", type=int)
    parser.add_argument("--beta", type=float)
    parser.add_argument("--variance", type=float)
    parser.add_argument("--masks", type=int, default=0, help="RISE's; 0: without RISE")
    parser.add_argument("--kept", type=Path, help="a JSON of scores by method, that later runs go on with")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    if (options.annotations is None) != (options.images is None):
        parser.error("give --annotations and --images, or none of them")
    cases = list(of_boxes() if options.annotations is None else of_coco(options.annotations, options.images))
    model = m2ib.load_model(options.model, checkpoint=options.checkpoint)
    given: dict[str, Any] = {
        name: {"image": value}
        for name in ("layer", "beta", "variance")
        if (value := getattr(options, name)) is not None
    }
    methods: dict[str, dict[str, Any]] = {
        "m2ib": given,
        "m2ib, sharp": {"preset": "sharp"} | given,
        "gradcam": {"method": "gradcam"},
    }
    if options.masks:
        methods[f"rise, {options.masks} masks"] = {"method": "rise", "masks": options.masks}
    console = Console()
    table = Table(f"{len(cases)} phrases", "pointing", "wrong object", "mass over area")
    kept: dict[str, list[Any]] = {}
    if options.kept is not None and options.kept.is_file():
        kept = json.loads(options.kept.read_text(encoding="utf-8"))
    for name, settings in methods.items():
        found = kept.setdefault(name, [])
        left = cases[len(found) :]
        pairs = [{"image": case.image, "text": case.phrase} for case in left]
        explanations = m2ib.explain_many(model, pairs, batch_size=4, seed=options.seed, **settings)
        for case, explanation in zip(left, explanations, strict=True):
            found.append(of_map(case, explanation["image"]))
            if options.kept is not None:
                options.kept.write_text(json.dumps(kept), encoding="utf-8")
            if options.verbose:
                hit, wrong, _ = found[-1]
                console.print(
                    f"{name}: {'hit ' if hit else 'wrong' if wrong else 'miss'} {case.name}: {case.phrase}"
                )
        added(table, name, found)
    added(table, "centred blob", [of_centre(case) for case in cases])
    table.add_row("chance", f"{np.mean([case.near.mean() for case in cases]):.2f}", "", "1.00")
    console.print(table)
    console.print(
        f"phrases told from those of other photos, AUC of z against {OTHERS}: {told_apart(model, cases):.3f}"
    )


if __name__ == "__main__":
    main()
