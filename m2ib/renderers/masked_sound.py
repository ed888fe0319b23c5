"""What a map keeps of its sound and what it leaves out, as sounds: the spectrogram times the map, the phase kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from m2ib.errors import InputError
from m2ib.renderers.base import heat_of
from m2ib.renderers.interpolation import weights_at
from m2ib.renderers.sound_panels import band_of, bands_of, frames_of
from m2ib.renderers.sound_view import SoundView

if TYPE_CHECKING:
    from m2ib.contract.attribution import Attribution

_WINDOW = 0.05  # seconds, about: finer than the cells of the models' grids in time and in frequency


def sound_parts(attribution: Attribution) -> Mapping[str, np.ndarray]:
    """What the map keeps of a sound, and what it leaves out.

    Each is (samples,) as ``view.waveform`` is, at ``view.rate``, and as loud as it is in there; they add up to it.

    "kept"      x_kept = ISTFT(G STFT(x)) with the waveform x and the gain G(f, t) in [0, 1]: the heat of the map as a
                page shows it, linear between the cells' centres, the mean where clips overlap. With G real the phase
                stays. 0 in bands and at moments that the model does not hear
    "against"   of a signed map alone: what speaks against, of a contrast for the other side. The gains are then the map's
                values above 0, of a contrast the lead of each map over the other one, and below 0; the largest has 1
    "left_out"  x less the others

    Raises :class:`InputError` for what is no sound, and for a sound of which only the spectrogram was given.
    """
    view = attribution.view
    if not isinstance(view, SoundView):
        raise InputError(
            f"sound_parts: an input of modality {attribution.modality!r} whose view is {type(view).__name__} is no sound; "
            "only one with a SoundView can be heard"
        )
    if not view.waveform.size:
        raise InputError(
            f"sound_parts: of this {attribution.modality} there is a spectrogram alone, without the phase that a sound "
            "needs; explain the sound itself, a file or (waveform, rate)"
        )
    signs = {"kept": 1, "against": -1} if attribution.signed else {"kept": 1}
    found: dict[str, list[np.ndarray]] = {name: [] for name in signs}
    ends = np.cumsum([end - start for start, end in view.played])  # seconds of what is played
    waves = np.split(view.waveform, np.rint(ends[:-1] * view.rate).astype(int))
    for span, wave in zip(view.played, waves, strict=True):
        for name, part in _weighed(attribution, span, wave, signs).items():
            found[name].append(part)
    parts = {name: np.concatenate(each).astype(view.waveform.dtype) for name, each in found.items()}
    return parts | {"left_out": view.waveform - sum(parts.values())}


def _weighed(
    attribution: Attribution, span: tuple[float, float], wave: np.ndarray, signs: Mapping[str, int]
) -> dict[str, np.ndarray]:
    """(samples,) for each sign: ``wave``, the sound from ``span[0]`` on, where the gain has this sign, times the gain."""
    from scipy.signal import istft, stft

    rate, (start, end) = attribution.view.rate, span
    size = 2 ** round(np.log2(max(8, min(_WINDOW * rate, len(wave)))))
    windows = {"fs": rate, "nperseg": size, "noverlap": size - size // 4}  # of Hann
    # (hertz, moments); silence behind it, so that a short one fills a window
    hertz, moments, spectrum = stft(np.pad(wave, (0, size)), **windows)
    gain = _gain(attribution, hertz, np.minimum(start + moments, end))
    return {
        name: istft(spectrum * np.maximum(sign * gain, 0), **windows)[1][: len(wave)]
        for name, sign in signs.items()
    }


def _gain(attribution: Attribution, hertz: np.ndarray, moments: np.ndarray) -> np.ndarray:
    """(hertz, moments) in [0, 1], moments in seconds of the sound; of a signed map in [-1, 1], below 0 for what speaks against."""
    view, grid = attribution.view, attribution.balance.astype(np.float64)
    levels = heat_of(attribution, grid)
    if attribution.signed:
        levels = 2 * levels - 1
    bands = band_of(view, hertz)
    heard = (bands >= -1) & (
        bands <= len(view.hertz) + 1
    )  # an outer band reaches as far as its neighbour's centre
    rows = weights_at(bands_of(attribution), bands) * heard[:, None]  # (hertz, frequencies)
    total, clips = np.zeros((len(hertz), len(moments))), np.zeros(len(moments))
    for level, (start, end) in zip(levels.reshape(-1, *grid.shape[-2:]), view.clips, strict=True):
        there = (moments >= start) & (moments <= end)
        columns = weights_at(frames_of(attribution), (moments[there] - start) / view.step)
        total[:, there] += rows @ level @ columns.T
        clips += there
    return np.asarray(total / np.maximum(clips, 1))
