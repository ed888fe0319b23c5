"""Is what a map keeps of a sound the sound that was asked for? Scenes of two and three objects, of which each one is asked for.

    python tests/benchmarks/hearing.py [--scenes 32] [--model imagebind-tiny]

The sounds of a scene add up, and that of each object alone is known. Printed, with the standard error over the scenes:

asked, others  how loud they are in what is kept, <kept, s> / <s, s> with the sound s of the asked object or of the others: 1 is
               as loud as in the whole
correlation    of what is kept with the asked sound alone; with the others' alone
true mask      share of the energy of what is kept that lies in the time and band of the asked sound
cosine         of what is kept, heard by the model, with the words that were asked for; of what is left out

Beside the maps: the default one's heat at random cells, and the whole. No scene is one of training. Minutes.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.signal import stft

import m2ib
from m2ib.contract.attribution import Attribution
from m2ib.renderers import sound_parts
from m2ib.scenes import KINDS, query, scenes
from m2ib.scenes.plan import plan
from m2ib.scenes.sounds import RATE, waveforms


def alone(seed: int, count: int) -> list[np.ndarray]:
    """(samples,) float64 of each object of a scene: what it adds to the sound of those before it."""
    planned = plan([seed], count=count)
    sums = [waveforms(replace(planned, count=np.array([n])))[0].astype(np.float64) for n in range(count + 1)]
    return [after - before for before, after in pairwise(sums)]


def inside(wave: np.ndarray, mask: np.ndarray, axes: Any) -> float:
    """The share of the energy in the true cells (frequencies, times)."""
    hertz, moments, spectrum = stft(wave, RATE, nperseg=1024)
    cells = [
        np.searchsorted([end for _, end in axis.spans], points).clip(0, len(axis.spans) - 1)
        for axis, points in zip(axes, (hertz, moments), strict=True)
    ]
    energy = np.abs(spectrum) ** 2
    return float(energy[mask[np.ix_(*cells)]].sum() / energy.sum())


def shuffled(attribution: Attribution, seed: int) -> Attribution:
    """The same values at other cells."""
    moved = np.random.default_rng(seed).permutation(attribution.grid.ravel())
    return replace(attribution, grid=moved.reshape(attribution.grid.shape))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="imagebind-tiny")
    parser.add_argument("--scenes", type=int, default=32)
    options = parser.parse_args()
    model = m2ib.load_model(options.model)
    asked = [
        (scene, kind)
        for count in (2, 3)
        for scene in scenes(range(options.scenes // 2), count=count)
        for kind in scene.kinds
    ]
    pairs = [{"audio": scene.audio, "text": query(kind)} for scene, kind in asked]
    words = {kind: model.embed("text", model.preprocess("text", [query(kind)]))[0] for kind in KINDS}

    def cosine(wave: np.ndarray, kind: str) -> float:
        heard = model.preprocess("audio", [(wave, RATE)])
        return float(model.embed("audio", heard)[0] @ words[kind])

    rows: dict[str, list[list[float]]] = {}
    for name, more in (
        ("m2ib", {}),
        ("m2ib, preset=sharp", {"preset": "sharp"}),
        ("rise", {"method": "rise"}),
    ):
        found = m2ib.explain_many(model, pairs, batch_size=16, **more)
        for number, ((scene, kind), explanation) in enumerate(zip(asked, found, strict=True)):
            sounds = dict(zip(scene.kinds, alone(scene.seed, len(scene.kinds)), strict=True))
            target, others = sounds.pop(kind), sum(sounds.values())
            mask, axes = scene.masks["audio"][kind], scene.axes["audio"]
            whole, attribution = scene.audio[0], explanation["audio"]
            heard = {name: sound_parts(attribution)}
            if name == "m2ib":
                heard |= {"its heat at random cells": sound_parts(shuffled(attribution, number))}
                heard |= {"the whole": {"kept": whole, "left_out": np.zeros_like(whole)}}
            for label, parts in heard.items():
                kept = parts["kept"].astype(np.float64)
                rows.setdefault(label, []).append(
                    [
                        float(kept @ target / (target @ target)),
                        float(kept @ others / (others @ others)),
                        float(np.corrcoef(kept, target)[0, 1]),
                        float(np.corrcoef(kept, others)[0, 1]),
                        inside(kept, mask, axes),
                        cosine(parts["kept"], kind),
                        cosine(parts["left_out"], kind) if label != "the whole" else float("nan"),
                    ]
                )
    columns = ("asked", "others", "correlation", "with others", "true mask", "cosine", "left out")
    table = Table(f"{len(asked)} sounds", *columns)
    for label, values in rows.items():
        mean, error = np.mean(values, 0), np.std(values, 0, ddof=1) / np.sqrt(len(values))
        cells = (f"{m:.2f} ± {e:.2f}" for m, e in zip(mean, error, strict=True))
        table.add_row(label, *(cell.replace("nan ± nan", "") for cell in cells))
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
