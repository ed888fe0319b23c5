"""The method once more, slower and simpler: the textbook loop over the full model.

Written from the paper's equations alone. Nothing here uses m2ib: the caller gives a function that embeds
with one module's output (or input) replaced.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

Embed = Callable[[], Tensor]


def read_layer(
    embed: Embed, module: nn.Module, *, at: str = "output", sequence_first: bool = False
) -> Tensor:
    """The activation (1, ...) that passes at ``module`` when ``embed()`` runs."""
    seen: list[Tensor] = []

    def keep(value: object) -> None:
        tensor = value[0] if isinstance(value, tuple) else value
        assert isinstance(tensor, Tensor)
        seen.append(tensor.transpose(0, 1) if sequence_first else tensor)

    if at == "output":
        handle = module.register_forward_hook(lambda m, args, out: keep(out))
    else:
        handle = module.register_forward_pre_hook(lambda m, args: keep(args[0]))
    with torch.no_grad():
        embed()
    handle.remove()
    (activation,) = seen
    return activation


def embed_with(
    embed: Embed, module: nn.Module, value: Tensor, *, at: str = "output", sequence_first: bool = False
) -> Tensor:
    """Run the full model with what passes at ``module`` replaced by ``value`` (1, ...)."""
    value = value.transpose(0, 1) if sequence_first else value

    def swap(old: object) -> object:
        return (value, *old[1:]) if isinstance(old, tuple) else value

    if at == "output":
        handle = module.register_forward_hook(lambda m, args, out: swap(out))
    else:
        handle = module.register_forward_pre_hook(lambda m, args: (value, *args[1:]))
    try:
        return embed()
    finally:
        handle.remove()


def capacity(
    embed: Embed,
    module: nn.Module,
    target: Tensor,
    *,
    beta: float,
    variance: float,
    steps: int = 10,
    samples: int = 10,
    lr: float = 1.0,
    seed: int = 0,
    at: str = "output",
    sequence_first: bool = False,
    channel_axis: int = -1,
    read: int | None = None,
    readout: str = "last",
) -> Tensor:
    """Per-position KL in nats of one input: ``embed()`` gives its embedding (1, D), ``target`` is (1, D).

    Sample by sample through the full encoder; KL from the density of Eq. 8; Adam written out.
    ``read``: only this many leading positions are read; noise, KL and map leave out the rest.
    """
    full = read_layer(embed, module, at=at, sequence_first=sequence_first)
    a = full if read is None else full[:, :read]
    sigma = math.sqrt(variance)
    alpha = torch.full_like(a, 5.0)
    first, second = torch.zeros_like(a), torch.zeros_like(a)
    torch.manual_seed(seed)
    kl = torch.zeros_like(a)
    for step in range(1, steps + 1):
        noise = torch.empty(samples, *a.shape[1:], dtype=a.dtype).normal_()
        alpha = alpha.detach().requires_grad_()
        lam = 1 / (1 + torch.exp(-alpha))
        cosines = []
        for eps in noise:
            z = lam * a + sigma * (1 - lam) * eps[None]
            if read is not None:
                z = torch.cat([z, full[:, read:]], 1)
            out = embed_with(embed, module, z, at=at, sequence_first=sequence_first)
            cosines.append((out * target).sum() / (out.norm() * target.norm()))
        spread = (sigma * (1 - lam)) ** 2
        kl = 0.5 * (spread + (lam * a) ** 2 - 1 - torch.log(spread))
        loss = beta * kl.mean() - torch.stack(cosines).mean()
        (grad,) = torch.autograd.grad(loss, alpha)
        first = 0.9 * first + 0.1 * grad
        second = 0.999 * second + 0.001 * grad**2
        update = first / (1 - 0.9**step) / ((second / (1 - 0.999**step)).sqrt() + 1e-8)
        alpha = alpha.detach() - lr * update
    if readout == "final":
        lam = 1 / (1 + torch.exp(-alpha))
        spread = (sigma * (1 - lam)) ** 2
        kl = 0.5 * (spread + (lam * a) ** 2 - 1 - torch.log(spread))
    return kl.detach().sum(channel_axis)[0]
