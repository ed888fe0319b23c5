"""The bottleneck's arithmetic (Wang et al. 2023, Section 3.3; Schulz et al. 2020).

With lambda = sigmoid(alpha), a the activation and eps ~ N(0, I)::

    z    = lambda * a + sigma * (1 - lambda) * eps                                      (Eq. 4, 5)
    KL_j = KL( N(lambda a, sigma^2 (1 - lambda)^2) || N(0, 1) )
         = 1/2 * ( sigma^2 (1 - lambda)^2 + (lambda a)^2 - 1 - ln(sigma^2 (1 - lambda)^2) )   (Eq. 8)

KL is in nats. ``1 - lambda`` is ``sigmoid(-alpha)`` and its logarithm ``logsigmoid(-alpha)``: finite
however far alpha runs.

With dlambda/dalpha = lambda (1 - lambda) the derivatives are::

    dz/dalpha    = lambda (1 - lambda) * (a - sigma * eps)
    dKL_j/dalpha = lambda (1 - lambda) * (lambda a^2 - sigma^2 (1 - lambda) + 1 / (1 - lambda))
                 = lambda (1 - lambda) * (lambda a^2 - sigma^2 (1 - lambda)) + lambda

so that only the way from z to the embedding needs autograd.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

ALPHA_START = 5.0


def mix(activation: Tensor, alpha: Tensor, noise: Tensor, variance: float) -> Tensor:
    """z of Eq. 5: all three tensors broadcast against each other; variance is sigma^2."""
    return torch.addcmul(
        torch.sigmoid(alpha) * activation, math.sqrt(variance) * torch.sigmoid(-alpha), noise
    )


def mix_gradient(
    gradient: Tensor, activation: Tensor, alpha: Tensor, noise: Tensor, variance: float
) -> Tensor:
    """dL/dalpha through z, of dL/dz ``gradient`` (N, S, *shape): the sum over the samples, (N, *shape).

    activation (N, *shape), alpha (N, *shape) or with one channel, noise (N, S, *shape) or one for all N
    """
    slope = torch.sigmoid(alpha) * torch.sigmoid(-alpha)
    moved = activation * gradient.sum(1) - math.sqrt(variance) * (gradient * noise).sum(1)
    return slope * moved


def kl_divergence(activation: Tensor, alpha: Tensor, variance: float) -> Tensor:
    """KL_j of Eq. 8 in nats, elementwise; the shape of ``activation``."""
    spread = variance * torch.sigmoid(-alpha).square()
    mean = torch.sigmoid(alpha) * activation
    log_spread = math.log(variance) + 2 * logsigmoid(-alpha)
    return 0.5 * (spread + mean.square() - 1 - log_spread)


def kl_gradient(activation: Tensor, alpha: Tensor, variance: float) -> Tensor:
    """dKL_j/dalpha, elementwise."""
    share, rest = torch.sigmoid(alpha), torch.sigmoid(-alpha)
    return share * rest * (share * activation.square() - variance * rest) + share
