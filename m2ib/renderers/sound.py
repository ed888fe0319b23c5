"""Sounds: spectrogram with heat, waveform shaded under it, and the sound itself."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from m2ib.contract.regions import check_axes
from m2ib.contract.schema import require
from m2ib.renderers.base import OutliningRenderer, check_places, scale
from m2ib.renderers.drawing import blended, draw_heat
from m2ib.renderers.interpolation import resample
from m2ib.renderers.outlines import draw_outlines
from m2ib.renderers.panels import Panel, heat_figure, sketch_tag
from m2ib.renderers.sound_panels import (
    bands_of,
    clip_outlines,
    frames_of,
    moment_text,
    pitches,
    sound_panels,
    spectrogram_pixels,
)
from m2ib.renderers.sound_player import player, player_with_parts
from m2ib.renderers.sound_view import SoundView

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from m2ib.contract.attribution import Attribution


class SoundRenderer(OutliningRenderer):
    """A grid (clips, frequency, time) over a :class:`SoundView`, or (frequency, time) for one clip.

    parts  whether a page plays, beside the whole, what the map keeps and what it leaves out: see :func:`sound_parts`
    """

    name = kind = "sound"
    region_axes = (("frequency", "Hz"), ("time", "s"))
    view_type = SoundView
    parts: bool = True

    def check_attribution(self, attribution: Attribution) -> None:
        view: SoundView = attribution.view
        check_axes(view.regions, self.region_axes, attribution.modality)
        who, shape, clips = f"{attribution.modality}, sound", attribution.grid.shape, len(view.clips)
        fits = len(shape) in (2, 3) and math.prod(shape[:-2]) == clips
        require(fits, f"{who}: the grid's shape", shape, f"(frequencies, times) for each of {clips} clips")
        cells = tuple(len(axis.spans) for axis in attribution.axes)
        require(cells in ((), shape), f"{who}: the cells of its axes", cells, f"{shape}, as the grid has")
        check_places(who, (bands_of(attribution), frames_of(attribution)), view.spectrogram.shape[1:], clips)

    def scores(self, grid: np.ndarray, attribution: Attribution) -> np.ndarray:
        """(clips, bands, frames), or (bands, frames): linear between the cells' centres, min-max over all."""
        view: SoundView = attribution.view
        y, x = bands_of(attribution), frames_of(attribution)
        size = view.spectrogram.shape[1:]
        if grid.ndim == 2:
            return scale(resample(grid, y, x, size))
        return scale(np.stack([resample(clip, y, x, size) for clip in grid]))

    def fragment(self, attribution: Attribution, ident: str) -> str:
        view: SoundView = attribution.view
        audible = view.waveform.size > 0
        under, told = (
            player_with_parts(attribution, ident, parts=self.parts) if audible else (Markup(""), None)
        )
        return heat_figure(
            attribution,
            ident,
            self.panels(attribution, ident),
            kind="sound audible" if audible else "sound",
            label="heatmap over the sound",
            under=under,
            sound=told,
        )

    def sketch(self, attribution: Attribution, longest: int) -> Markup:
        """The clips' spectrograms side by side, without the waveform."""
        view: SoundView = attribution.view
        y, x, size = bands_of(attribution), frames_of(attribution), view.spectrogram.shape[1:]
        grids = attribution.balance.reshape(-1, *attribution.grid.shape[-2:])
        clips = []
        for clip, read in enumerate(view.frames):
            heat = resample(grids[clip], y, x, size)[::-1]  # lowest band below
            seen = np.broadcast_to(np.arange(size[1]) < read, size)
            clips.append(blended(attribution, spectrogram_pixels(view, clip), heat, seen))
        return sketch_tag(attribution, np.concatenate(clips, 1), longest)

    def panels(self, attribution: Attribution, ident: str) -> list[Panel]:
        return sound_panels(attribution)

    def below(self, view: SoundView) -> Markup:
        return player(view) if view.waveform.size else Markup("")

    def places(self, attribution: Attribution) -> np.ndarray:
        clips, bands, frames = attribution.view.spectrogram.shape
        x, y = frames_of(attribution), bands - bands_of(attribution)  # lowest band below
        one = np.stack([*np.meshgrid(x, y)], -1).reshape(-1, 2) - 0.5
        lefts = np.arange(clips)[:, None] * [frames + frames // 12, 0]  # (clips, 2)
        return np.asarray(one + lefts[:, None]).reshape(-1, 2)

    def draw(self, attribution: Attribution, axes: Axes) -> None:
        """The clips side by side, times of the source under them."""
        view: SoundView = attribution.view
        clips, bands, frames = view.spectrogram.shape
        gap = frames // 12
        pixels = np.full((bands, clips * (frames + gap) - gap, 3), 255, np.uint8)
        heat = np.full(pixels.shape[:2], np.nan)
        grids = attribution.balance
        y, x = bands_of(attribution), frames_of(attribution)
        places: list[int] = []
        texts: list[str] = []
        for clip, grid in enumerate(grids.reshape(-1, *grids.shape[-2:])):
            left = clip * (frames + gap)
            pixels[:, left : left + frames] = spectrogram_pixels(view, clip)
            heat[:, left : left + frames] = resample(grid, y, x, (bands, frames))[::-1]  # lowest band below
            places += [left, left + view.frames[clip]]
            texts += [moment_text(view, moment).removesuffix(" s") for moment in view.clips[clip]]
        axes.imshow(pixels, aspect="auto")
        draw_heat(axes, heat, attribution, aspect="auto")
        for clip in range(clips):
            offset = (clip * (frames + gap) - 0.5, -0.5)
            draw_outlines(axes, clip_outlines(attribution, clip), (frames, bands), offset=offset)
        axes.set_xticks(places, texts, fontsize=8)
        for n, label in enumerate(axes.get_xticklabels()):  # each clip's start and end
            label.set_horizontalalignment("right" if n % 2 else "left")
        padded = min(view.frames) < frames
        unit = "seconds" if view.length < 60 else "time"
        axes.set_xlabel(
            f"{unit} of {view.shown.replace('the whole sound', 'the sound')}"
            + ("; striped: padding" if padded else "")
        )
        marks = pitches(view)
        axes.set_yticks([place - 0.5 for place, _ in marks], [text for _, text in marks], fontsize=8)
