"""The noise of a fit.

The noise contract: before a modality's bottleneck is fitted, a generator on the CPU is seeded; each step draws one
standard-normal tensor of (samples, *a.shape[1:]). So fits of one seed and shape see the same noise, and what was drawn
for one is kept for those that follow: it is drawn one number at a time, and takes a fiftieth of a small fit's time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from m2ib.methods.bottleneck.settings import FitSettings

BOUND = 64 * 2**20
"""Bytes of noise that are kept at most; of a fit that takes more, nothing is."""

_kept: dict[
    tuple[object, ...], list[Tensor]
] = {}  # the draws of a fit by step; the one used last is the last


def noise_of(
    settings: FitSettings,
    shape: Sequence[int],
    fits: Sequence[tuple[int, int | None]],
    dtype: torch.dtype,
    device: torch.device,
) -> Iterator[Tensor]:
    """Standard-normal noise (N, samples, *shape) for each step. It is shared: nobody may write into it.

    fits  N: a fit's seed, and how many positions its input reads; None: all. One that reads only its first has noise of
          its own for those alone, so that padding changes nothing; the rest is zero

    With ``noise="antithetic"`` half the samples, rounded up, are drawn: eps_1, -eps_1, eps_2, -eps_2, ...; with an odd
    number of samples the last draw stands alone.
    """
    antithetic = settings.noise == "antithetic"
    draws = (settings.samples + 1) // 2 if antithetic else settings.samples
    pinned, streams = device.type == "cuda", []
    for seed, read in fits:
        size = (draws, *(shape if read is None else (read, *shape[1:])))
        streams.append(_drawn(seed, settings.steps, size, dtype, pinned=pinned))
    for each in zip(*streams, strict=True):
        rows = [row.to(device, non_blocking=True) for row in each]  # (draws, *size) each
        if antithetic:
            rows = [torch.stack([row, -row], 1).flatten(0, 1)[: settings.samples] for row in rows]
        if len(rows) == 1 and rows[0].shape[1:] == tuple(shape):
            yield rows[0][None]
            continue
        noise = rows[0].new_zeros(len(rows), settings.samples, *shape)  # (N, S, *shape)
        for into, row in zip(noise, rows, strict=True):
            into[:, : row.shape[1]] = row
        yield noise


def _drawn(
    seed: int, steps: int, size: tuple[int, ...], dtype: torch.dtype, *, pinned: bool
) -> Iterator[Tensor]:
    """The draws of a fit, step by step. They are kept once all are there, also for a fit of fewer steps."""
    key = seed, size, dtype, pinned
    known = _kept.pop(key, [])
    if len(known) >= steps:
        _kept[key] = known  # as the last one used
        yield from known[:steps]
        return
    generator, draws = torch.Generator("cpu").manual_seed(seed), list[Tensor]()
    keep = steps * torch.Size(size).numel() * dtype.itemsize <= BOUND
    for step in range(steps):
        eps = torch.randn(size, generator=generator, dtype=dtype, device="cpu", pin_memory=pinned)
        if keep:
            draws.append(eps)
        if keep and step == steps - 1:
            _keep(key, draws)
        yield eps


def _keep(key: tuple[object, ...], draws: list[Tensor]) -> None:
    """And let go of those that were not used for longest, as far as memory asks for it."""
    _kept[key] = draws
    while sum(eps.nbytes for each in _kept.values() for eps in each) > BOUND:
        del _kept[next(iter(_kept))]
