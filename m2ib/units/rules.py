"""Segments that are made of the input itself: superpixels, what lies between onsets, words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np

from m2ib.contract.attribution import Renderer
from m2ib.contract.inputs import Item
from m2ib.contract.layout import Axis
from m2ib.contract.segments import MOST_SEGMENTS, Segments
from m2ib.contract.words import word_spans
from m2ib.errors import InputError
from m2ib.renderers import SoundView
from m2ib.renderers.pixels import PixelRenderer
from m2ib.units.rasters import checked
from m2ib.units.texts import of_spans

_APART = 0.05  # s: of two onsets that are nearer one is left
_RISE = 1.5  # standard deviations of the spectral flux above its median, from which on it is an onset


@dataclass(frozen=True)
class UnitRule:
    """How segments are made of an input.

    name  as on the command line
    make  (item, renderer, who asks) -> the segments
    """

    name: str
    make: Callable[[Item, Renderer, str], Segments]


def superpixels(count: int = 50, *, compactness: float = 10.0) -> UnitRule:
    """Units of a picture: about ``count`` superpixels, by scikit-image's SLIC (Achanta et al. 2012).

    ``explain(model, image=x, text=y, units={"image": superpixels(50)})``. They are made of the picture as it is shown, of
    1,024 pixels at most along its longer side. Needs scikit-image.

    compactness  how much nearness counts beside likeness: of higher ones they are squarer

    Raises :class:`InputError`.
    """
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count < MOST_SEGMENTS:
        raise InputError(
            f"superpixels: {count!r:.40} is not possible; give a whole number from 1 to {MOST_SEGMENTS - 1:,}"
        )
    return UnitRule(f"slic:{count}", partial(_slic, count=count, compactness=compactness))


def onsets() -> UnitRule:
    """Units of a sound: what lies between its onsets, the moments at which notes begin.

    ``explain(model, audio=x, text=y, units={"audio": onsets()})``. With S(b, t) the log energy of band b in frame t of the
    model's own spectrogram, the spectral flux is the mean over the bands of max(0, S(b, t) - S(b, t - 1)) (Bello et al. 2005,
    Section III). An onset is a peak of it that lies 1.5 standard deviations above its median, and 50 ms from a higher one.
    """
    return UnitRule("onsets", _between_onsets)


def words() -> UnitRule:
    """Units of a text: its words. Phrases are given as they are: ``units={"text": ["a tabby cat", "green eyes"]}``."""
    return UnitRule("words", _words)


RULES: Mapping[str, Callable[..., UnitRule]] = {"slic": superpixels, "onsets": onsets, "words": words}


def rule_of(text: str, who: str) -> UnitRule | None:
    """``slic:50``, ``onsets``, ``words``; None for what begins with none of these names. Raises :class:`InputError`."""
    name, colon, count = text.partition(":")
    if name not in RULES:
        return None
    if not colon:
        return RULES[name]()
    if name != "slic" or not count.isdecimal():
        raise InputError(f"{who}: {text!r:.60} is no rule; there are slic:50, onsets and words")
    return superpixels(int(count))


def _slic(item: Item, renderer: Renderer, who: str, *, count: int, compactness: float) -> Segments:
    if not isinstance(renderer, PixelRenderer):
        raise InputError(f"{who}: superpixels are made of pictures, and this is none")
    try:
        from skimage.segmentation import slic
    except ImportError:
        raise InputError(f"{who}: superpixels need scikit-image: pip install scikit-image") from None
    found = slic(renderer.pixels(item.view), count, compactness=compactness, start_label=1, channel_axis=-1)
    numbers, inverse = np.unique(found, return_inverse=True)
    return checked(
        [str(number) for number in range(1, len(numbers) + 1)], inverse.reshape(found.shape) + 1, (), who
    )


def _words(item: Item, renderer: Renderer, who: str) -> Segments:
    if not item.layout.tokens:
        raise InputError(f"{who}: words are in texts, and this is none")
    text = str(item.view["text"])
    return of_spans(word_spans(text), text, who)


def _between_onsets(item: Item, renderer: Renderer, who: str) -> Segments:
    view = item.view
    if not isinstance(view, SoundView):
        raise InputError(f"{who}: onsets are those of sounds, and this is none")
    heard = zip(view.clips, view.frames, strict=True)
    last = max(start + held * view.step for (start, _), held in heard)
    moments = onset_times(view)
    spans = tuple(pairwise([min(start for start, _ in view.clips), *moments, last]))
    names = [f"{start:.2f}–{end:.2f} s" for start, end in spans]
    return checked(names, np.arange(1, len(spans) + 1), (Axis("time", "s", spans),), who)


def onset_times(view: SoundView) -> list[float]:
    """Seconds of the sound at which something begins, each once however many clips hold it: see :func:`onsets`."""
    from scipy.signal import find_peaks

    found: list[float] = []
    for bands, (start, _), held in zip(view.spectrogram, view.clips, view.frames, strict=True):
        flux = np.diff(bands[:, :held].astype(np.float64), axis=1).clip(0).mean(0)  # (held - 1,)
        if flux.any():
            least = np.median(flux) + _RISE * flux.std()
            peaks, _ = find_peaks(flux, height=least, distance=max(1, round(_APART / view.step)))
            found += (start + (peaks + 1) * view.step).tolist()
    kept = [min(start for start, _ in view.clips)]
    for moment in sorted(found):
        if moment - kept[-1] >= _APART:
            kept.append(moment)
    return kept[1:]
