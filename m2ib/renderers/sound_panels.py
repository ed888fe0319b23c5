"""How a sound is laid out: its spectrograms clip by clip, and its waveform; for pages and figures."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from m2ib.contract.layout import Axis
from m2ib.contract.regions import Region
from m2ib.renderers.formatting import format_hertz, format_time, time_ticks
from m2ib.renderers.interpolation import axis_centres, cell_centres, interpolate
from m2ib.renderers.media import envelope_path, hatch, image_tag, png_url
from m2ib.renderers.names import input_name
from m2ib.renderers.outlines import Outline, outlines_of
from m2ib.renderers.panels import Panel, Part, Ruler, mapped
from m2ib.renderers.sound_view import SoundView
from m2ib.renderers.units import outlines_over

if TYPE_CHECKING:
    from m2ib.contract.attribution import Attribution


def bands_of(attribution: Attribution) -> np.ndarray:
    """(frequencies,) centres of the grid's rows, in bands: band n lies between n and n + 1."""
    view: SoundView = attribution.view
    count = attribution.grid.shape[-2]
    if not attribution.axes:
        return cell_centres(count, 0, view.spectrogram.shape[1])
    low, high = np.array(attribution.axes[-2].spans).T  # (frequencies,) Hz
    centres: np.ndarray = (band_of(view, low) + band_of(view, high)) / 2
    return centres


def band_of(view: SoundView, hertz: np.ndarray) -> np.ndarray:
    """Where frequencies lie among the bands: band n between n and n + 1, its centre in the middle."""
    return interpolate(hertz, view.hertz.astype(np.float64), np.arange(len(view.hertz)) + 0.5)


def frames_of(attribution: Attribution) -> np.ndarray:
    """(times,) centres of the grid's columns, in frames of a clip.

    In a grid of clips the axis is in seconds from the start of the clip, otherwise of the sound.
    """
    view: SoundView = attribution.view
    if not attribution.axes:
        return cell_centres(attribution.grid.shape[-1], 0, view.spectrogram.shape[2])
    start = 0.0 if attribution.grid.ndim == 3 else view.clips[0][0]
    return np.array([(moment - start) / view.step for moment in axis_centres(attribution.axes[-1])])


def spectrogram_pixels(view: SoundView, clip: int) -> np.ndarray:
    """(bands, frames, 3) uint8, lowest band below: grey on one scale for all clips, stripes for padding."""
    clips = zip(view.spectrogram, view.frames, strict=True)
    heard = np.concatenate([rows[:, :end].ravel() for rows, end in clips])
    low, high = np.percentile(heard, [2, 99.8]) if heard.size else (0.0, 1.0)
    levels = np.clip((view.spectrogram[clip] - low) / ((high - low) or 1.0), 0, 1)
    pixels = np.repeat((_DARKEST + levels**1.6 * (_BRIGHTEST - _DARKEST)).astype(np.uint8)[..., None], 3, -1)
    bands, frames = levels.shape
    end = view.frames[clip]
    pixels[:, end:] = hatch(bands, frames - end, 6)
    return pixels[::-1]


_DARKEST, _BRIGHTEST = 12, 225  # grey levels; heat must still be seen on the brightest


def pitches(view: SoundView) -> list[tuple[float, str]]:
    """Round frequencies and where they are, counted in bands from the top."""
    top = len(view.hertz)
    found = [hertz for hertz in _ROUND if view.hertz[0] <= hertz <= view.hertz[-1]]
    places = top - band_of(view, np.array(found))
    marks: list[tuple[float, str]] = []
    for place, hertz in zip(places, found, strict=True):
        if not marks or marks[-1][0] - place >= top / 6:  # room for the text
            marks.append((float(place), format_hertz(hertz)))
    return marks


_ROUND = (50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0, 16000.0)


def sound_panels(attribution: Attribution) -> list[Panel]:
    """A spectrogram for each clip, and the waveform where there is one."""
    view: SoundView = attribution.view
    found = [_spectrogram_panel(attribution, clip) for clip in range(len(view.clips))]
    return [*found, _waveform_panel(attribution)] if view.envelope.shape[1] else found


def clip_outlines(attribution: Attribution, clip: int) -> list[Outline]:
    """Over a clip's spectrogram: in bands from the top and frames."""
    view: SoundView = attribution.view
    _, bands, frames = view.spectrogram.shape
    start = view.clips[clip][0]

    return outlines_over(
        attribution,
        view.regions,
        (("frequency", 0, 2 * float(view.hertz[-1])), ("time", start, start + frames * view.step)),
        lambda hertz: (bands - band_of(view, hertz)).clip(0, bands),
        lambda times: ((times - start) / view.step).clip(0, frames),
    )


def _moments_outlined(view: SoundView) -> list[Outline]:
    """Over the waveform: in seconds, from top to bottom; named over the spectrograms already."""
    whole = Axis("all", "", ((0.0, 1.0),))
    spans = [
        Region("", region.along("time").mask[None], (whole, region.axes[1]), region.main)
        for region in view.regions
    ]
    return outlines_of(spans, lambda all_: all_, lambda times: times.clip(0, view.length))


def _spectrogram_panel(attribution: Attribution, clip: int) -> Panel:
    view: SoundView = attribution.view
    clips, bands, frames = view.spectrogram.shape
    start, end = view.clips[clip]
    padding = view.frames[clip] if view.frames[clip] < frames else None
    caption = span_text(view, start, end)
    if clips > 1:
        caption = f"clip {clip + 1} of {clips}, {caption}"
    heard = view.frames[clip] * view.step  # seconds
    alike = [other + 1 for other in range(clips) if other != clip and view.clips[other] == view.clips[clip]]
    if alike:
        caption += f", the same sound as clip{'s' if len(alike) > 1 else ''} {' and '.join(map(str, alike))}"
    if padding is not None:
        caption += "; striped: padding, no sound" + _padded_share(attribution, clip)
    moments = time_ticks(start, start + heard, max(1, round(5 * view.frames[clip] / frames)))
    return Panel(
        picture=image_tag(
            png_url(spectrogram_pixels(view, clip)),
            f"{input_name(attribution)}: spectrogram, {caption}",
            frames,
            bands,
        ),
        width=frames,
        height=bands,
        shape=2.6,
        parts=[Part(clip, (0, 0, frames, bands), bands - bands_of(attribution), frames_of(attribution))],
        x=Ruler([0, frames], [start, start + frames * view.step], "s"),
        y=Ruler(bands - np.arange(bands) - 0.5, view.hertz, "Hz"),
        padding=padding,
        xticks=[((moment - start) / view.step, moment_text(view, moment)) for moment in moments],
        yticks=pitches(view),
        caption=caption,
        outlines=clip_outlines(attribution, clip),
    )


def span_text(view: SoundView, start: float, end: float) -> str:
    """A part of the sound, as people read it."""
    if view.length < 60:
        return f"{start:.2f}–{end:.2f} s"
    return f"{format_time(start, view.length, 2)}–{format_time(end, view.length, 2)}"


def moment_text(view: SoundView, moment: float) -> str:
    """As a tick has it, to a hundredth at most."""
    rounded = round(moment, 2)
    digits = 0 if rounded == int(rounded) else 1 if round(rounded, 1) == rounded else 2
    return format_time(rounded, view.length, digits)


def _padded_share(attribution: Attribution, clip: int) -> str:
    """How much of a clip is padding, and how much of its map lies there; "" for next to nothing."""
    view: SoundView = attribution.view
    grid = np.abs(attribution.grid.reshape(-1, *attribution.grid.shape[-2:])[clip])
    filled = view.frames[clip]
    padding = 1 - filled / view.spectrogram.shape[2]
    if padding < 0.05:
        return ""
    there = grid[:, frames_of(attribution) >= filled].sum() / (grid.sum() or 1.0)
    return f": {100 * padding:.0f} % of the clip, {100 * there:.0f} % of its {attribution.unit or 'map'}"


def _waveform_panel(attribution: Attribution) -> Panel:
    """What is shown of the sound, shaded by the sum over the frequencies: the mean of the clips that hold a moment."""
    view: SoundView = attribution.view
    columns = view.envelope.shape[1]
    frames = frames_of(attribution)
    # (clips, 1, times)
    maps = mapped(attribution, lambda grid: grid.reshape(-1, *grid.shape[-2:]).sum(1, keepdims=True))
    middle = np.array([0.5])
    moments = time_ticks(0, view.length, 6 if view.length < 3600 else 4)
    places = sorted(set(view.clips))
    names = [
        (start, end, " ".join(str(n) for n, clip in enumerate(view.clips, 1) if clip == (start, end)))
        for start, end in places
    ]
    overlap = any(later[0] < earlier[1] for earlier, later in pairwise(places))
    shaded = "shaded by the sum over all frequencies"
    mean = ", the mean where clips overlap" if overlap else ""
    several = f"{view.shown}; the numbered bars are the clips that the model hears, {shaded}{mean}"
    return Panel(
        picture=Markup(
            '<svg viewBox="0 0 {} 2" preserveAspectRatio="none" role="img" aria-label="{}: waveform of {}">'
            '<path d="{}"/></svg>'
        ).format(columns, input_name(attribution), view.shown, envelope_path(view.envelope)),
        width=view.length,
        height=1,
        shape=6,
        lines=True,
        parts=[
            Part(clip, (start, 0, end, 1), middle, start + frames * view.step)
            for clip, (start, end) in enumerate(view.clips)
        ],
        x=Ruler([0, view.length], [0, view.length], "s"),
        xticks=[(moment, moment_text(view, moment)) for moment in moments],
        bars=names if len(view.clips) > 1 else (),
        caption=several if len(view.clips) > 1 else f"{view.shown}, {shaded}",
        outlines=_moments_outlined(view),
        maps=maps,
        measure=" over all frequencies",
    )
