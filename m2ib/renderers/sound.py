"""Sounds: spectrogram with heat, waveform shaded under it, and the sound itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from m2ib.contract import Axis
from m2ib.renderers.arrays import restore_arrays, store_arrays
from m2ib.renderers.base import scale
from m2ib.renderers.drawing import draw_heat, shown_grid
from m2ib.renderers.outlines import Outline, draw_outlines
from m2ib.renderers.panels import (
    Panel,
    Part,
    Ruler,
    heat_figure,
    heat_script,
    image_tag,
    maps_of,
    picture_figure,
)
from m2ib.renderers.pictures import band, hatch, png_url
from m2ib.renderers.place import clock, even, follow, hertz_text, middles, moments, spread
from m2ib.renderers.regions import Region, check_axes, outlines, restore_regions, store_regions
from m2ib.renderers.wav import wav_url

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from m2ib.attribution import Attribution


@dataclass(frozen=True, eq=False)
class SoundView:
    """What is shown of a sound, and heard.

    spectrogram  (clips, bands, frames) float32: natural log of the energy, as the model reads it before it
                 is normalised; the lowest band first
    hertz        (bands,) centre frequency of each band
    clips        (start, end) in seconds of the sound, one for each clip; clips may overlap or be equal
    step         seconds from one frame of the spectrogram to the next
    frames       for each clip, how many of its frames hold sound; the others are padding
    length       seconds of the whole sound
    envelope     (2, columns) float32 in [-1, 1]: lowest and highest sample in each of equally long parts of
                 the whole sound; (2, 0) where only a spectrogram was given
    waveform     (samples,) float32 in [-1, 1], one channel: what is played; (0,) where there is none
    rate         samples a second of ``waveform``
    played       (start, end) in seconds of the sound, the parts that ``waveform`` joins: the whole sound, or
                 the clips of a long one
    regions      outlined: which frequencies, and when in the sound
    """

    spectrogram: np.ndarray
    hertz: np.ndarray
    clips: tuple[tuple[float, float], ...]
    step: float
    frames: tuple[int, ...]
    length: float
    envelope: np.ndarray
    waveform: np.ndarray
    rate: int
    played: tuple[tuple[float, float], ...]
    regions: tuple[Region, ...] = ()


class SoundRenderer:
    """A grid (clips, frequency, time) over a :class:`SoundView`, or (frequency, time) for one clip."""

    name = "sound"

    @property
    def script(self) -> str:
        return heat_script()

    def scores(self, grid: np.ndarray, attribution: Attribution) -> np.ndarray:
        """(clips, bands, frames), or (bands, frames): linear between the cells' centres, min-max over all."""
        view: SoundView = attribution.view
        y, x = _bands(attribution), _frames(attribution)
        size = view.spectrogram.shape[1:]
        if grid.ndim == 2:
            return scale(spread(grid, y, x, size))
        return scale(np.stack([spread(clip, y, x, size) for clip in grid]))

    def fragment(self, attribution: Attribution, ident: str) -> str:
        view: SoundView = attribution.view
        audible = view.waveform.size > 0
        return heat_figure(
            attribution,
            ident,
            _panels(attribution),
            kind="sound audible" if audible else "sound",
            label="heatmap over the sound",
            under=_audio_tag(view) if audible else Markup(""),
            sound={"played": [list(part) for part in view.played]} if audible else None,
        )

    def outlined(self, view: SoundView, regions: Sequence[Region], modality: str) -> SoundView:
        return replace(view, regions=check_axes(regions, (("frequency", "Hz"), ("time", "s")), modality))

    def picture(self, attribution: Attribution, ident: str) -> Markup:
        view: SoundView = attribution.view
        under = _player(view) if view.waveform.size else ""
        return picture_figure(_panels(attribution), kind="sound", label="the sound", under=under)

    def draw(self, attribution: Attribution, axes: Axes) -> None:
        """The clips side by side, times of the source under them."""
        view: SoundView = attribution.view
        clips, bands, frames = view.spectrogram.shape
        gap = frames // 12
        pixels = np.full((bands, clips * (frames + gap) - gap, 3), 255, np.uint8)
        heat = np.full(pixels.shape[:2], np.nan)
        grids = shown_grid(attribution)
        y, x = _bands(attribution), _frames(attribution)
        places: list[int] = []
        texts: list[str] = []
        for clip, grid in enumerate(grids.reshape(-1, *grids.shape[-2:])):
            left = clip * (frames + gap)
            pixels[:, left : left + frames] = _pixels(view, clip)
            heat[:, left : left + frames] = spread(grid, y, x, (bands, frames))[::-1]  # lowest band below
            places += [left, left + view.frames[clip]]
            texts += [_moment(view, moment).removesuffix(" s") for moment in view.clips[clip]]
        axes.imshow(pixels, aspect="auto")
        draw_heat(axes, heat, contrast=attribution.against is not None, aspect="auto")
        for clip in range(clips):
            offset = (clip * (frames + gap) - 0.5, -0.5)
            draw_outlines(axes, _outlines(view, clip), (frames, bands), offset=offset)
        axes.set_xticks(places, texts, fontsize=8)
        for n, label in enumerate(axes.get_xticklabels()):  # each clip's start and end
            label.set_horizontalalignment("right" if n % 2 else "left")
        padded = min(view.frames) < frames
        unit = "seconds" if view.length < 60 else "time"
        axes.set_xlabel(f"{unit} of the sound" + ("; striped: padding" if padded else ""))
        marks = _pitches(view)
        axes.set_yticks([place - 0.5 for place, _ in marks], [text for _, text in marks], fontsize=8)

    def store(self, view: SoundView, folder: Path, stem: str) -> Mapping[str, Any]:
        return {
            "arrays": store_arrays(folder, stem, {name: getattr(view, name) for name in _ARRAYS}),
            "clips": [list(clip) for clip in view.clips],
            "step": view.step,
            "frames": list(view.frames),
            "length": view.length,
            "rate": view.rate,
            "played": [list(part) for part in view.played],
            "regions": store_regions(view.regions, folder, stem),
        }

    def restore(self, stored: Mapping[str, Any], folder: Path) -> SoundView:
        spectrogram, hertz, envelope, waveform = restore_arrays(folder, stored["arrays"], _ARRAYS)
        return SoundView(
            spectrogram,
            hertz,
            tuple((start, end) for start, end in stored["clips"]),
            stored["step"],
            tuple(stored["frames"]),
            stored["length"],
            envelope,
            waveform,
            stored["rate"],
            tuple((start, end) for start, end in stored["played"]),
            restore_regions(stored.get("regions"), folder),
        )


_ARRAYS = ("spectrogram", "hertz", "envelope", "waveform")


def _bands(attribution: Attribution) -> np.ndarray:
    """(frequencies,) centres of the grid's rows, in bands: band n lies between n and n + 1."""
    view: SoundView = attribution.view
    count = attribution.grid.shape[-2]
    if not attribution.axes:
        return even(count, 0, view.spectrogram.shape[1])
    low, high = np.array(attribution.axes[-2].spans).T  # (frequencies,) Hz
    centres: np.ndarray = (_band_of(view, low) + _band_of(view, high)) / 2
    return centres


def _band_of(view: SoundView, hertz: np.ndarray) -> np.ndarray:
    return follow(hertz, view.hertz.astype(np.float64), np.arange(len(view.hertz)) + 0.5)


def _frames(attribution: Attribution) -> np.ndarray:
    """(times,) centres of the grid's columns, in frames of a clip.

    In a grid of clips the axis is in seconds from the start of the clip, otherwise of the sound.
    """
    view: SoundView = attribution.view
    if not attribution.axes:
        return even(attribution.grid.shape[-1], 0, view.spectrogram.shape[2])
    start = 0.0 if attribution.grid.ndim == 3 else view.clips[0][0]
    return np.array([(moment - start) / view.step for moment in middles(attribution.axes[-1])])


def _pixels(view: SoundView, clip: int) -> np.ndarray:
    """(bands, frames, 3) uint8, lowest band below: grey on one scale for all clips, stripes for padding."""
    heard = np.concatenate(
        [rows[:, :end].ravel() for rows, end in zip(view.spectrogram, view.frames, strict=True)]
    )
    low, high = np.percentile(heard, [2, 99.8]) if heard.size else (0.0, 1.0)
    levels = np.clip((view.spectrogram[clip] - low) / ((high - low) or 1.0), 0, 1)
    pixels = np.repeat((_DARKEST + levels**1.6 * (_BRIGHTEST - _DARKEST)).astype(np.uint8)[..., None], 3, -1)
    bands, frames = levels.shape
    end = view.frames[clip]
    pixels[:, end:] = hatch(bands, frames - end, 6)
    return pixels[::-1]


_DARKEST, _BRIGHTEST = 12, 225  # grey levels; heat must still be seen on the brightest


def _pitches(view: SoundView) -> list[tuple[float, str]]:
    """Round frequencies and where they are, counted in bands from the top."""
    top = len(view.hertz)
    found = [hertz for hertz in _ROUND if view.hertz[0] <= hertz <= view.hertz[-1]]
    places = top - _band_of(view, np.array(found))
    marks: list[tuple[float, str]] = []
    for place, hertz in zip(places, found, strict=True):
        if not marks or marks[-1][0] - place >= top / 6:  # room for the text
            marks.append((float(place), hertz_text(hertz)))
    return marks


_ROUND = (50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0, 16000.0)


def _panels(attribution: Attribution) -> list[Panel]:
    """A spectrogram for each clip, and the waveform where there is one."""
    view: SoundView = attribution.view
    panels = [_spectrogram_panel(attribution, clip) for clip in range(len(view.clips))]
    return [*panels, _waveform_panel(attribution)] if view.envelope.shape[1] else panels


def _outlines(view: SoundView, clip: int) -> list[Outline]:
    """Over a clip's spectrogram: in bands from the top and frames."""
    _, bands, frames = view.spectrogram.shape
    start = view.clips[clip][0]
    return outlines(
        view.regions,
        lambda hertz: (bands - _band_of(view, hertz)).clip(0, bands),
        lambda times: ((times - start) / view.step).clip(0, frames),
    )


def _moments_outlined(view: SoundView) -> list[Outline]:
    """Over the waveform: in seconds, from top to bottom; named over the spectrograms already."""
    whole = Axis("all", "", ((0.0, 1.0),))
    spans = [
        Region("", region.along("time").mask[None], (whole, region.axes[1]), region.main)
        for region in view.regions
    ]
    return outlines(spans, lambda all_: all_, lambda times: times.clip(0, view.length))


def _spectrogram_panel(attribution: Attribution, clip: int) -> Panel:
    view: SoundView = attribution.view
    clips, bands, frames = view.spectrogram.shape
    start, end = view.clips[clip]
    padding = view.frames[clip] if view.frames[clip] < frames else None
    caption = _span(view, start, end)
    if clips > 1:
        caption = f"clip {clip + 1} of {clips}, {caption}"
    heard = view.frames[clip] * view.step  # seconds
    alike = [other + 1 for other in range(clips) if other != clip and view.clips[other] == view.clips[clip]]
    if alike:
        caption += f", the same sound as clip{'s' if len(alike) > 1 else ''} {' and '.join(map(str, alike))}"
    if padding is not None:
        caption += "; striped: padding, no sound" + _padded_share(attribution, clip)
    return Panel(
        picture=image_tag(png_url(_pixels(view, clip)), f"spectrogram, {caption}", frames, bands),
        width=frames,
        height=bands,
        shape=2.6,
        parts=[Part(clip, (0, 0, frames, bands), bands - _bands(attribution), _frames(attribution))],
        x=Ruler([0, frames], [start, start + frames * view.step], "s"),
        y=Ruler(bands - np.arange(bands) - 0.5, view.hertz, "Hz"),
        padding=padding,
        xticks=[
            ((moment - start) / view.step, _moment(view, moment))
            for moment in moments(start, start + heard, max(1, round(5 * view.frames[clip] / frames)))
        ],
        yticks=_pitches(view),
        caption=caption,
        outlines=_outlines(view, clip),
    )


def _span(view: SoundView, start: float, end: float) -> str:
    """A part of the sound, as people read it."""
    if view.length < 60:
        return f"{start:.2f}–{end:.2f} s"
    return f"{clock(start, view.length, 2)}–{clock(end, view.length, 2)}"


def _moment(view: SoundView, moment: float) -> str:
    """As a tick has it, to a hundredth at most."""
    rounded = round(moment, 2)
    digits = 0 if rounded == int(rounded) else 1 if round(rounded, 1) == rounded else 2
    return clock(rounded, view.length, digits)


def _padded_share(attribution: Attribution, clip: int) -> str:
    """How much of a clip is padding, and how much of its map lies there; "" for next to nothing."""
    view: SoundView = attribution.view
    grid = attribution.grid.reshape(-1, *attribution.grid.shape[-2:])[clip]
    filled = view.frames[clip]
    padding = 1 - filled / view.spectrogram.shape[2]
    if padding < 0.05:
        return ""
    nats = grid[:, _frames(attribution) >= filled].sum() / (grid.sum() or 1.0)
    return f": {100 * padding:.0f} % of the clip, {100 * nats:.0f} % of its nats"


def _waveform_panel(attribution: Attribution) -> Panel:
    """The whole sound, shaded by the sum over the frequencies: the mean of the clips that hold a moment."""
    view: SoundView = attribution.view
    columns = view.envelope.shape[1]
    frames = _frames(attribution)
    maps = {
        side: grid.reshape(-1, *grid.shape[-2:]).sum(1, keepdims=True)  # (clips, 1, times)
        for side, grid in maps_of(attribution).items()
    }
    middle = np.array([0.5])
    places = sorted(set(view.clips))
    names = [
        (start, end, " ".join(str(n) for n, clip in enumerate(view.clips, 1) if clip == (start, end)))
        for start, end in places
    ]
    overlap = any(later[0] < earlier[1] for earlier, later in pairwise(places))
    caption = "the whole sound; the numbered bars are the clips that the model hears, "
    caption += "shaded by the sum over all frequencies" + (
        ", the mean where clips overlap" if overlap else ""
    )
    return Panel(
        picture=Markup(
            '<svg viewBox="0 0 {} 2" preserveAspectRatio="none" role="img" aria-label="waveform of the whole sound">'
            '<path d="{}"/></svg>'
        ).format(columns, band(view.envelope)),
        width=view.length,
        height=1,
        shape=6,
        lines=True,
        parts=[
            Part(clip, (start, 0, end, 1), middle, start + frames * view.step)
            for clip, (start, end) in enumerate(view.clips)
        ],
        x=Ruler([0, view.length], [0, view.length], "s"),
        xticks=[
            (moment, _moment(view, moment))
            for moment in moments(0, view.length, 6 if view.length < 3600 else 4)
        ],
        bars=names if len(view.clips) > 1 else (),
        caption=caption if len(view.clips) > 1 else "the whole sound, shaded by the sum over all frequencies",
        outlines=_moments_outlined(view),
        maps=maps,
        measure="nats over all frequencies",
    )


def _audio_tag(view: SoundView) -> Markup:
    held = sum(end - start for start, end in view.played)
    note = "a click on a map or on the waveform plays from there"
    if held < view.length - 0.05:
        note += "; of this long sound only the clips can be heard"
    return _player(view) + Markup('<p class="hint">{}</p>').format(note)


def _player(view: SoundView) -> Markup:
    source = wav_url(view.waveform, view.rate)
    return Markup('<audio controls preload="auto" src="{}"></audio>').format(source)
