"""Parts of a sound at another rate, as if the whole had been resampled by torchaudio.

A part is cut with a margin, at a place where the pattern of old and new samples repeats.
"""

from __future__ import annotations

from math import ceil, gcd, pi

import torch
from torch import Tensor

from m2ib_adapters.inputs.media import optional

_LARGEST_FILTER = 2**22  # numbers in the filters of torchaudio's resampling; 32 MiB
_ZEROS, _ROLLOFF = 6, 0.99  # torchaudio's default filter: zero crossings on each side, cutoff

Range = tuple[int, int]


def resampled_length(samples: int, rate: int, target: int) -> int:
    """Samples that torchaudio makes of ``samples``: it rounds the number itself to float32."""
    if rate == target:
        return samples
    old, new, _ = _ratio(rate, target)
    return min(int(torch.ceil(torch.tensor(new * samples / old))), (samples // old + 1) * new)


def source_range(wanted: Range, rate: int, target: int) -> Range:
    """The samples at ``rate`` that the samples ``wanted`` at ``target`` are made of."""
    if rate == target:
        return wanted
    old, new, width = _ratio(rate, target)
    first = wanted[0] // new - ceil(width / old)
    return first * old, (ceil(wanted[1] / new) + 1) * old + width


def resample(part: Tensor, wanted: Range, rate: int, target: int) -> Tensor:
    """(channels, n) float32: the samples ``wanted`` at ``target``, of ``part``, which is their source range."""
    if rate == target:
        return part
    old, new, width = _ratio(rate, target)
    if new * (old + 2 * width) > _LARGEST_FILTER:
        return _interpolate(part, wanted, old, new, width)
    ahead = wanted[0] - source_range(wanted, rate, target)[0] // old * new  # new samples of the margin
    resampled = optional("torchaudio.functional", "imagebind").resample(part, old, new)
    return resampled[:, ahead : ahead + wanted[1] - wanted[0]]


def _ratio(rate: int, target: int) -> tuple[int, int, int]:
    """Both without what they have in common, and how many old samples on each side of a new one count."""
    common = gcd(rate, target)
    old, new = rate // common, target // common
    return old, new, ceil(_ZEROS * old / (min(old, new) * _ROLLOFF))


def _interpolate(part: Tensor, wanted: Range, old: int, new: int, width: int) -> Tensor:
    """What torchaudio computes, without a filter for each of ``new`` phases: for rates with no common factor.

    y[j] = sum_i x[i] h(i / old - j / new), with h a sinc under a Hann window; its phases are float32 as there.
    """
    places = torch.arange(*wanted)  # (n,)
    phase = places % new
    nearest = phase * old // new  # old samples from the start of the pattern
    start = (places // new) * old - source_range(wanted, old, new)[0]  # in `part`
    lag = (-phase / new).double()
    cutoff = min(old, new) * _ROLLOFF
    result = torch.zeros(part.shape[0], len(places))
    for tap in range(-width, width + 2):
        at = nearest + tap
        time = ((lag + at.double() / old) * cutoff).clamp(-_ZEROS, _ZEROS)
        weight = torch.sinc(time) * torch.cos(time * pi / (2 * _ZEROS)) ** 2 * cutoff / old
        result += part[:, start + at] * weight.float()  # (channels, n)
    return result
