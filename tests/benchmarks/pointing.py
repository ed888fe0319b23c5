"""Pointing game on scikit-image's photographs: is the map's maximum inside the hand-drawn box?

    python tests/benchmarks/pointing.py [--model photo] [--layer N] [--beta B] [--verbose]

``examples/photographs.json`` lists (photo, phrase, box); phrases and boxes were fixed before any map was seen.
Printed beside m2ib: a blob in the centre of every photo, and chance (the mean share that boxes take).
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
from rich.console import Console
from rich.table import Table

import m2ib

TRIPLES = Path(__file__).parents[2] / "examples" / "photographs.json"


def photograph(name: str) -> np.ndarray:
    """A photograph of ``skimage.data``; the left one of a stereo pair."""
    photo = getattr(skimage.data, name)()
    return np.asarray(photo[0] if isinstance(photo, tuple) else photo)


def peak(attribution: m2ib.Attribution) -> tuple[float, float]:
    """Where the map is highest: (x, y) as shares of the photo's width and height."""
    scores, view = attribution.scores, attribution.view
    row, column = np.unravel_index(scores.argmax(), scores.shape)
    left, top, right, bottom = view.region
    x = left + (float(column) + 0.5) / scores.shape[1] * (right - left)
    y = top + (float(row) + 0.5) / scores.shape[0] * (bottom - top)
    return x / view.pixels.shape[1], y / view.pixels.shape[0]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="photo")
    parser.add_argument("--checkpoint")
    parser.add_argument("--layer", type=int)
    parser.add_argument("--beta", type=float)
    parser.add_argument("--variance", type=float)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    console = Console()
    triples = json.loads(TRIPLES.read_text(encoding="utf-8"))
    model = m2ib.load_model(options.model, checkpoint=options.checkpoint)
    settings: dict[str, Any] = {
        name: {"image": value}
        for name in ("layer", "beta", "variance")
        if (value := getattr(options, name)) is not None
    }
    pairs = [{"image": photograph(row["photo"]), "text": row["phrase"]} for row in triples]
    hits, blob, shares = [], [], []
    explanations = m2ib.explain_many(model, pairs, batch_size=4, seed=options.seed, **settings)
    for row, pair, explanation in zip(triples, pairs, explanations, strict=True):
        height, width = pair["image"].shape[:2]
        left, top, right, bottom = row["box"]
        x, y = peak(explanation["image"])
        inside = left <= x * width < right and top <= y * height < bottom
        hits.append(inside)
        blob.append(left <= width / 2 < right and top <= height / 2 < bottom)
        shares.append((right - left) * (bottom - top) / (width * height))
        if options.verbose:
            console.print(
                f"{'hit ' if inside else 'miss'} {row['photo']}: {row['phrase']} ({x:.2f}, {y:.2f})"
            )
    table = Table(f"{len(triples)} triples", "maximum inside the box", "standard error")
    for name, values in (("m2ib", hits), ("centred blob", blob)):
        share = float(np.mean(values))
        table.add_row(name, f"{share:.2f}", f"{math.sqrt(share * (1 - share) / len(values)):.2f}")
    table.add_row("chance (mean box share)", f"{np.mean(shares):.2f}", "")
    console.print(table)


if __name__ == "__main__":
    main()
