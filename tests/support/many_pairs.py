"""A small run of each kind of pair: files and arrays, pictures, texts and sounds, and rows that fail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import m2ib
from m2ib.scenes import scene

FAST = {"steps": 2, "samples": 2}


def pictures(folder: Path) -> list[Path]:
    """Three scenes as PNG files: as drawn, wide, and tall; of the last two the model crops the middle."""
    folder.mkdir(exist_ok=True)
    paths = []
    for number, size in enumerate([(112, 112), (180, 120), (64, 96)]):
        path = folder / f"{number}.png"
        Image.fromarray(scene(seed=number).image).resize(size).save(path)
        paths.append(path)
    return paths


def pairs(folder: Path) -> list[Any]:
    """In order of their numbers; ``gone`` and ``word`` cannot be explained."""
    square, wide, tall = map(str, pictures(folder / "pictures"))
    drawn = scene(seed=3)
    return [
        {"id": "square", "image": square, "text": "a photo of a bell"},
        {"id": "wide", "image": wide, "text": "a frog beside a bell"},
        {"id": "tall", "image": tall, "text": "a photo of a train"},
        {"id": "gone", "image": str(folder / "pictures" / "gone.png"), "text": "a bell"},
        {"id": "array", "image": drawn.image, "text": "a clock and a cat"},
        {"id": "sound", "audio": drawn.audio, "text": "a bell"},
        {"id": "depth", "depth": drawn.depth, "text": "a drum"},
        {"id": "word", "image": square, "text": "a photo of a zebra"},
    ]


def run(folder: Path, **options: Any) -> m2ib.results.ResultTable:
    """Of the pairs above, into ``folder``/results."""
    model = m2ib.load_model("imagebind-tiny", device="cpu")
    return m2ib.run(model, pairs(folder), folder / "results", show_progress=False, **{**FAST, **options})


def raw_pixels(path: Path) -> np.ndarray:
    """(rows, columns, 3)"""
    return np.asarray(Image.open(path).convert("RGB"))
