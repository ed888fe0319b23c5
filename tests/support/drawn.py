"""Attributions made by hand, one for each renderer of a measured input, without any model."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import m2ib
from m2ib.contract.attribution import Attribution
from m2ib.contract.curve import Curve
from m2ib.contract.layout import Axis, Layout, Token
from m2ib.renderers import (
    Box,
    EmbeddingRenderer,
    EmbeddingView,
    FieldRenderer,
    FieldView,
    FilmRenderer,
    FilmView,
    ImageRenderer,
    ImageView,
    Renderer,
    SoundRenderer,
    SoundView,
    TextRenderer,
    TracesRenderer,
    TracesView,
    ValuesRenderer,
)


def attribution(renderer: Renderer, view: Any, grid: np.ndarray, **more: Any) -> Attribution:
    """By hand; ``more``: axes, against."""
    layout = Layout(grid.shape, axes=more.pop("axes", ()))
    curve = Curve((0.1, 0.2), (1.0, 0.5), (0.0, -0.1))
    return Attribution(
        "thing", "m2ib", grid, grid.ravel(), layout, curve, {"layer": 1}, view, renderer, **more
    )


def grid_of(*shape: int, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).random(shape) * 9 + 0.5).astype(np.float32)


def image_view() -> ImageView:
    pixels = np.random.default_rng(1).integers(0, 255, (30, 50, 3), dtype=np.uint8)
    return ImageView(
        pixels, (10, 0, 40, 30), (12, 12), (0.5, 0.25), (Box(20, 40, 30, 60, "a nodule"), Box(0, 0, 10, 10))
    )


def field_view(**more: Any) -> FieldView:
    values = np.linspace(0.5, 8, 20 * 30, dtype=np.float32).reshape(20, 30)
    values[3:7, 4:12] = np.nan
    view = FieldView(values, "depth", "m", "viridis", (5, 0, 25, 20), (16, 16), (0.5, 0.5))
    return dataclasses.replace(view, **more)


BANDS, FRAMES = 16, 24
HERTZ = 200 + 100.0 * np.arange(BANDS)


def sound_view(**more: Any) -> SoundView:
    """Two overlapping clips of a sound of 3 s; the last 4 frames of a clip are padding."""
    rng = np.random.default_rng(2)
    energy = rng.normal(-5, 2, (2, BANDS, FRAMES)).astype(np.float32)
    energy[:, :, 20:] = 0
    view = SoundView(
        spectrogram=energy,
        hertz=HERTZ,
        clips=((0.0, 2.0), (1.0, 3.0)),
        step=0.1,
        frames=(20, 20),
        length=3.0,
        envelope=np.stack([-rng.random(40), rng.random(40)]).astype(np.float32),
        waveform=(np.sin(np.arange(2400) / 7) * 0.8).astype(np.float32),
        rate=800,
        played=((0.0, 3.0),),
    )
    return dataclasses.replace(view, **more)


def sound_axes(*, first: float = 0.0) -> tuple[Axis, ...]:
    """Three rows of 6 bands and five columns of 8 frames that overlap: at bands 0, 5, 10, at frames 0, 4, ..."""
    hertz = tuple((150.0 + 100 * n, 750.0 + 100 * n) for n in (0, 5, 10))
    seconds = tuple((first + n * 0.1, first + (n + 8) * 0.1) for n in (0, 4, 8, 12, 16))
    return Axis("frequency", "Hz", hertz), Axis("time", "s", seconds)


def traces_view(**more: Any) -> TracesView:
    times = np.arange(400) / 100
    samples = np.stack([np.sin(times * (n + 1)) + 10 * (n == 2) for n in range(4)]).astype(np.float32)
    view = TracesView(
        samples, times, ("push x", "push y", "push z", "turn"), ("m/s²",) * 3 + ("rad/s",), (0.5, 3.5), 60
    )
    return dataclasses.replace(view, **more)


def film_view() -> FilmView:
    frames = np.random.default_rng(3).integers(0, 255, (3, 2, 12, 20, 3), dtype=np.uint8)
    parts = tuple((m, (left, 0.0, left + 12.0, 12.0)) for m in range(3) for left in (0.0, 4.0))
    return FilmView(frames, np.arange(6.0).reshape(3, 2) / 4, parts, (10, 10))


KINDS: dict[str, Callable[..., Attribution]] = {
    "image": lambda **more: attribution(ImageRenderer(), image_view(), grid_of(3, 4), **more),
    "field": lambda **more: attribution(FieldRenderer(), field_view(), grid_of(3, 4), **more),
    "sound": lambda **more: attribution(
        SoundRenderer(),
        sound_view(),
        grid_of(2, 3, 5),
        axes=(Axis("clip", "s", ((0.0, 2.0), (1.0, 3.0))), *sound_axes()),
        **more,
    ),
    "traces": lambda **more: attribution(TracesRenderer(), traces_view(), grid_of(15), **more),
    "film": lambda **more: attribution(FilmRenderer(), film_view(), grid_of(6, 3, 4), **more),
}


def contrast(kind: str) -> Attribution:
    grid = KINDS[kind]().grid
    return KINDS[kind](against=grid_of(*grid.shape, seed=7))


def explanations() -> dict[str, m2ib.Explanation]:
    """Every renderer that comes with m2ib, with regions, boxes and contrasts."""
    text, words = "a bell <b>beside</b> a train", ((0, 1), (2, 6), (7, 20), (21, 22), (23, 28))
    tokens = (Token("[CLS]", 0, 0, True), *(Token(text[i:j], i, j) for i, j in words))
    grid = grid_of(6)
    said = Attribution(
        "text", "m2ib", grid, np.append(grid, [0.0, 0.0]), Layout((6,), tuple(range(6)), 7, tokens),
        Curve((0.3, 0.25), (2.0, 1.0), (0.1, 0.0), 0.02), {"layer": 9, "beta": 0.1, "shifts": [1, 2]}, {"text": text},
        TextRenderer(), {"source": text, "rather_than": ["a dog"], "warnings": ["text: beware"]}, grid / 2, warnings=("text: beware",),
        full=22.0,
    )  # fmt: skip
    photo = KINDS["image"]()
    photo = dataclasses.replace(
        photo, origin={"source": "/a/cat.png", "sha256": "0", "ensemble": ["/a/cat.png", "b.png"]}
    )
    given = Attribution(
        "audio",
        "m2ib",
        np.zeros(0),
        None,
        Layout((0,)),
        None,
        {},
        EmbeddingView(np.arange(4.0)),
        EmbeddingRenderer(),
    )
    plain = Attribution(
        "wave",
        "rise",
        grid_of(2, 3, 4),
        None,
        Layout(),
        None,
        {},
        {"a": [1]},
        ValuesRenderer(),
        unit="",
        additive=False,
    )
    usual = {"usual": {"text": {"inputs": 64, "below": 0.9, "median": 0.1, "greatest": 0.3}}, "m2ib": "0.1"}
    found = {
        "photo-text": m2ib.Explanation((photo, said), 0.25, usual),
        "field-film": m2ib.Explanation((KINDS["field"](), contrast("film")), -0.5),
        "sound-traces": m2ib.Explanation((contrast("sound"), KINDS["traces"]()), 0.5),
        "given-plain": m2ib.Explanation((given, plain), 1.0, {"checkpoint": None}),
    }
    mask = np.zeros((4, 5), bool)
    mask[1:3, 2:4] = True
    rows = Axis("row", "px", tuple((20.0 * n, 20.0 * n + 20) for n in range(4)))
    columns = Axis("column", "px", tuple((15.0 * n, 15.0 * n + 15) for n in range(5)))
    found["photo-text"] = found["photo-text"].with_regions(
        {"bell": mask, "<i>": ~mask}, (rows, columns), at=0
    )
    word = Axis("word", "characters", ((2.0, 6.0), (23.0, 28.0)))
    found["photo-text"] = found["photo-text"].with_regions({"bell": np.array([True, False])}, (word,), at=1)
    return found


def listed_again(folder: Path) -> Path:
    """A saved explanation whose manifest knows its files as they are now."""
    path = folder / "manifest.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["files"] = {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in content["files"]
    }
    path.write_text(json.dumps(content), encoding="utf-8")
    return folder
