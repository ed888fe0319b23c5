"""The noise of a fit: the stream that the contract names, drawn once, whoever asks for it and however it ends."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import pytest
import torch
from torch import Tensor

from m2ib.methods.bottleneck import noise as noise_module
from m2ib.methods.bottleneck.noise import noise_of
from m2ib.methods.bottleneck.settings import FitSettings

CPU = torch.device("cpu")
SHAPE = (5, 4)


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise_module, "_kept", {})


def settings(**given: object) -> FitSettings:
    return FitSettings(layer=0, **{"steps": 3, "samples": 3, "seed": 7, **given})  # type: ignore[arg-type]


def noise(
    given: FitSettings, reads: list[int | None] | None = None, dtype: torch.dtype = torch.float32
) -> Iterator[Tensor]:
    fits = [(given.seed, read) for read in reads or [None]]
    return noise_of(given, SHAPE, fits, dtype, CPU)


def contract(steps: int, samples: int, *shape: int, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    torch.manual_seed(7)
    return [torch.empty(samples, *shape, dtype=dtype).normal_() for _ in range(steps)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kept", [False, True])
def test_it_is_the_contract_s(monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, kept: bool) -> None:
    if not kept:
        monkeypatch.setattr(noise_module, "BOUND", 10)
    expected = contract(3, 3, *SHAPE, dtype=dtype)
    for _ in range(2):
        found = list(noise(settings(), dtype=dtype))
        assert [each.shape for each in found] == [(1, 3, *SHAPE)] * 3
        assert all(torch.equal(a[0], b) for a, b in zip(found, expected, strict=True))
    assert len(noise_module._kept) == kept


def test_what_is_read_alone_is_drawn_and_padding_is_zero() -> None:
    streams = [contract(3, 3, 2, 4), contract(3, 3, 5, 4)]
    for _ in range(2):
        for step, found in enumerate(noise(settings(), [2, 5])):
            assert torch.equal(found[0, :, :2], streams[0][step])
            assert not found[0, :, 2:].any()
            assert torch.equal(found[1], streams[1][step])


def test_antithetic_noise_is_half_the_draws() -> None:
    drawn = contract(3, 2, *SHAPE)
    for step, found in enumerate(noise(settings(noise="antithetic"))):
        assert torch.equal(found[0], torch.stack([drawn[step][0], -drawn[step][0], drawn[step][1]]))


def test_settings_do_not_get_each_other_s_noise() -> None:
    for steps, samples in ((3, 3), (5, 3), (2, 3), (3, 4)):
        found = list(noise(settings(steps=steps, samples=samples)))
        assert all(torch.equal(a[0], b) for a, b in zip(found, contract(steps, samples, *SHAPE), strict=True))
    assert not torch.equal(next(noise(settings(seed=8))), next(noise(settings())))


def test_what_was_not_drawn_to_the_end_is_not_kept() -> None:
    expected = [each.clone() for each in noise(settings(seed=3))]
    noise_module._kept.clear()
    for drawn in (0, 1, 2):
        stopped = noise(settings(seed=3))
        list(islice(stopped, drawn))
        del stopped
        assert not noise_module._kept
    for drawn in (1, 3, 3):  # of those that are kept, too, one may stop early
        found = list(islice(noise(settings(seed=3)), drawn))
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=False))


def test_no_more_is_kept_than_the_bound_and_that_which_was_used_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise_module, "BOUND", 2 * 3 * 3 * 20 * 4)  # of two fits
    for seed in (1, 2, 1, 3):
        list(noise(settings(seed=seed)))
    assert [key[0] for key in noise_module._kept] == [1, 3]
    list(noise(settings(samples=9)))  # more than all that may be kept
    assert [key[0] for key in noise_module._kept] == [1, 3]
