"""The bottleneck's arithmetic (Wang et al. 2023, Section 3.3; Schulz et al. 2020).

With lambda = sigmoid(alpha), a the activation and eps ~ N(0, I)::

    z    = lambda * a + sigma * (1 - lambda) * eps                                      (Eq. 4, 5)
    KL_j = KL( N(lambda a, sigma^2 (1 - lambda)^2) || N(0, 1) )
         = 1/2 * ( sigma^2 (1 - lambda)^2 + (lambda a)^2 - 1 - ln(sigma^2 (1 - lambda)^2) )   (Eq. 8)

KL is in nats. ``1 - lambda`` is ``sigmoid(-alpha)`` and its logarithm ``logsigmoid(-alpha)``: finite
however far alpha runs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

ALPHA_START = 5.0


def mix(activation: Tensor, alpha: Tensor, noise: Tensor, variance: float) -> Tensor:
    """z of Eq. 5: all three tensors broadcast against each other; variance is sigma^2."""
    return torch.sigmoid(alpha) * activation + math.sqrt(variance) * torch.sigmoid(-alpha) * noise


def kl_divergence(activation: Tensor, alpha: Tensor, variance: float) -> Tensor:
    """KL_j of Eq. 8 in nats, elementwise; the shape of ``activation``."""
    spread = variance * torch.sigmoid(-alpha).square()
    mean = torch.sigmoid(alpha) * activation
    log_spread = math.log(variance) + 2 * logsigmoid(-alpha)
    return 0.5 * (spread + mean.square() - 1 - log_spread)


def draw_noise(
    generators: Sequence[torch.Generator],
    samples: int,
    shape: Sequence[int],
    reads: Sequence[int | None],
    dtype: torch.dtype,
    *,
    antithetic: bool = False,
) -> Tensor:
    """Standard-normal noise (N, samples, *shape), each item from its own CPU generator.

    The noise contract: one draw of (samples, *a.shape[1:]) per step. An item that reads only its first
    ``reads[i]`` positions draws for those alone, so that padding changes nothing; the rest is zero.

    antithetic  one draw of (half the samples, rounded up, *a.shape[1:]): eps_1, -eps_1, eps_2, -eps_2, ...;
                with an odd number of samples the last draw stands alone
    """
    draws = (samples + 1) // 2 if antithetic else samples
    noise = torch.zeros(len(generators), samples, *shape, dtype=dtype, device="cpu")  # (N, S, *shape)
    for row, generator, read in zip(noise, generators, reads, strict=True):
        drawn = shape if read is None else (read, *shape[1:])
        eps = torch.randn(draws, *drawn, generator=generator, dtype=dtype, device="cpu")  # (draws, *drawn)
        if antithetic:
            eps = torch.stack([eps, -eps], 1).flatten(0, 1)[:samples]  # (S, *drawn)
        row[:, : drawn[0]] = eps
    return noise
