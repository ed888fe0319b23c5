"""Scenes in which it is known which part of every input is evidence for which object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from m2ib.contract.layout import Axis, even_axis
from m2ib.scenes import captions, motion, pictures, sounds
from m2ib.scenes.icons import KINDS
from m2ib.scenes.plan import COLOURS, SIDE, SIZES, plan

MODALITIES = ("image", "text", "audio", "depth", "thermal", "imu")
_AT_ONCE = 64  # scenes: they hold on to each other's arrays


@dataclass(frozen=True, eq=False)
class Scene:
    """One to three objects, seen, described, heard and felt.

    seed     that made it
    kinds    of the objects, in the caption's order
    colours, sizes  of the objects, in the same order
    image    (112, 112, 3) uint8
    text     the caption
    audio    (waveform (32000,) float32 in [-1, 1], 16000 samples a second)
    depth    (112, 112) float32, metres
    thermal  (112, 112) float32 in [0, 1], cold to hot
    imu      (traces (6, 200) float32: accelerometer in m/s², gyroscope in rad/s, 100 samples a second)
    masks    by modality and kind: bool arrays, True where the object is
    axes     by modality: where each cell of its masks lies, in the raw input's own terms
    filler   (words,) True for the caption's words that name no kind, colour or size
    """

    seed: int
    kinds: tuple[str, ...]
    colours: tuple[str, ...]
    sizes: tuple[str, ...]
    image: np.ndarray
    text: str
    audio: tuple[np.ndarray, int]
    depth: np.ndarray
    thermal: np.ndarray
    imu: tuple[np.ndarray, int]
    masks: Mapping[str, Mapping[str, np.ndarray]]
    axes: Mapping[str, tuple[Axis, ...]]
    filler: np.ndarray

    @property
    def inputs(self) -> dict[str, Any]:
        """By modality, what ``m2ib.explain`` takes."""
        return {name: getattr(self, name) for name in MODALITIES}

    def __repr__(self) -> str:
        return f"Scene(seed={self.seed}, {self.text!r})"


def scene(seed: int, *, kinds: Sequence[str] | None = None, count: int | None = None) -> Scene:
    """The scene of a seed: the same numbers whenever and wherever it is asked for.

    kinds  which objects, one to three of :data:`KINDS`; None: drawn
    count  how many, 1 to 3; None: drawn

    Raises :class:`InputError` and :class:`SettingError`.
    """
    return scenes([seed], kinds=kinds, count=count)[0]


def scenes(
    seeds: Sequence[int], *, kinds: Sequence[str] | None = None, count: int | None = None
) -> list[Scene]:
    """One :func:`scene` for each seed, made together."""
    parts = (seeds[start : start + _AT_ONCE] for start in range(0, len(seeds), _AT_ONCE))
    return [made for part in parts for made in _together(part, kinds, count)]


def _together(seeds: Sequence[int], kinds: Sequence[str] | None, count: int | None) -> list[Scene]:
    planned = plan(seeds, kinds=kinds, count=count)
    pixels, bands, shakes = pictures.masks(planned), sounds.masks(planned), motion.masks(planned)
    images, depths, thermals = pictures.images(planned), pictures.depths(planned), pictures.thermals(planned)
    waveforms, traces, texts = sounds.waveforms(planned), motion.traces(planned), captions.captions(planned)
    square = even_axis("row", "px", SIDE, 0, SIDE), even_axis("column", "px", SIDE, 0, SIDE)
    times, moves = sounds.axes(), motion.axes()
    made = []
    for number, seed in enumerate(planned.seeds):
        slots = range(int(planned.count[number]))
        names = tuple(KINDS[planned.kind[number, slot]] for slot in slots)
        named, words, filler = captions.masks(texts[number], names)

        seen, heard, felt = (
            {name: masks[number, slot] for slot, name in enumerate(names)}
            for masks in (pixels, bands, shakes)
        )
        made.append(
            Scene(
                seed=seed,
                kinds=names,
                colours=tuple(COLOURS[planned.colour[number, slot]] for slot in slots),
                sizes=tuple(SIZES[planned.size[number, slot]] for slot in slots),
                image=images[number],
                text=texts[number],
                audio=(waveforms[number], sounds.RATE),
                depth=depths[number],
                thermal=thermals[number],
                imu=(traces[number], motion.RATE),
                masks=dict(zip(MODALITIES, (seen, named, heard, seen, seen, felt), strict=True)),
                axes=dict(zip(MODALITIES, (square, (words,), times, square, square, moves), strict=True)),
                filler=filler,
            )
        )
    return made
