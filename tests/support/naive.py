"""The method once more, slower and simpler: the textbook loop over the full model.

Written from the paper's equations alone. Nothing here uses m2ib: the caller gives a function that embeds
with one module's output (or input) replaced.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction

import torch
from torch import Tensor, nn

Embed = Callable[[], Tensor]


def read_layer(
    embed: Embed, module: nn.Module, *, at: str = "output", sequence_first: bool = False, clips: int = 1
) -> Tensor:
    """The activation (1, ...) that passes at ``module`` when ``embed()`` runs; of several clips (1, clips * T, C)."""
    seen: list[Tensor] = []

    def keep(value: object) -> None:
        tensor = value[0] if isinstance(value, tuple) else value
        assert isinstance(tensor, Tensor)
        tensor = tensor if clips == 1 else tensor.flatten(0, 1)[None]
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
    embed: Embed,
    module: nn.Module,
    value: Tensor,
    *,
    at: str = "output",
    sequence_first: bool = False,
    clips: int = 1,
) -> Tensor:
    """Run the full model with what passes at ``module`` replaced by ``value`` (1, ...)."""
    value = value if clips == 1 else value[0].unflatten(0, (clips, -1))
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


def cosine(out: Tensor, target: Tensor) -> Tensor:
    return (out * target).sum() / (out.norm() * target.norm())


def maxsim(queries: Tensor, documents: Tensor) -> Tensor:
    """Of vectors (Q, D) and (K, D): each query's greatest product, and of these the mean."""
    return sum(max(query @ document for document in documents) for query in queries) / len(queries)


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
    granularity: str = "element",
    statistics: tuple[Tensor, Tensor] | None = None,
    antithetic: bool = False,
    similarity: Callable[[Tensor, Tensor], Tensor] = cosine,
    clips: int = 1,
) -> Tensor:
    """Per-position KL in nats of one input: ``embed()`` gives its embedding (1, D), ``target`` is (1, D).

    Sample by sample through the full encoder; KL from the density of Eq. 8; Adam written out.
    ``read``: only this many leading positions are read; noise, KL and map leave out the rest.
    ``granularity="token"``: one alpha for each position, the same for all its channels; information weighs
    beta / sqrt(channels).
    ``statistics``: mean and std, (C,) each; the bottleneck is put on (a - mean) / std.
    ``antithetic``: noise in pairs eps, -eps.
    ``clips``: rows of the activation that one input has.
    """
    full = read_layer(embed, module, at=at, sequence_first=sequence_first, clips=clips)
    a = full if read is None else full[:, :read]
    if statistics is not None:
        mean, std = (value if channel_axis == -1 else value[:, None, None] for value in statistics)
        a = (a - mean) / std
    sigma = math.sqrt(variance)
    alpha = torch.full_like(a, 5.0)
    if granularity == "token":
        alpha = alpha.mean(channel_axis, keepdim=True)
        beta = beta / math.sqrt(a.shape[channel_axis])
    first, second = torch.zeros_like(alpha), torch.zeros_like(alpha)
    torch.manual_seed(seed)
    kl = torch.zeros_like(a)
    for step in range(1, steps + 1):
        noise = torch.empty(
            -(-samples // 2) if antithetic else samples, *a.shape[1:], dtype=a.dtype
        ).normal_()
        if antithetic:
            noise = torch.stack([sign * eps for eps in noise for sign in (1, -1)][:samples])
        alpha = alpha.detach().requires_grad_()
        lam = 1 / (1 + torch.exp(-alpha))
        close = []
        for eps in noise:
            z = lam * a + sigma * (1 - lam) * eps[None]
            if statistics is not None:
                z = z * std + mean
            if read is not None:
                z = torch.cat([z, full[:, read:]], 1)
            out = embed_with(embed, module, z, at=at, sequence_first=sequence_first, clips=clips)
            close.append(similarity(out, target))
        spread = (sigma * (1 - lam)) ** 2
        kl = 0.5 * (spread + (lam * a) ** 2 - 1 - torch.log(spread))
        loss = beta * kl.mean() - torch.stack(close).mean()
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


def usual(activations: Sequence[Tensor], channel_axis: int = -1) -> tuple[Tensor, Tensor]:
    """Mean and std (C,) by channel over several activations (1, ...), all their positions in one heap."""
    heap = torch.cat([a.movedim(channel_axis, -1).reshape(-1, a.shape[channel_axis]) for a in activations])
    mean = heap.sum(0) / len(heap)
    std = (((heap - mean) ** 2).sum(0) / len(heap)).sqrt()
    return mean, torch.where(std < 0.01, torch.tensor(0.01, dtype=std.dtype), std)


def offsets(step: int, count: int) -> list[int]:
    """By how many samples each of ``count`` shifts moves the content along an axis with cells ``step`` apart."""
    return sorted(round(i * step / count) for i in range(-count, count) if -count < 2 * i <= count)


def moved(tensor: Tensor, axis: int, offset: int) -> Tensor:
    """``tensor`` with its content ``offset`` samples further on, what is missing filled with the edge."""
    slices = list(tensor.unbind(axis))
    count = len(slices)
    return torch.stack([slices[min(max(n - offset, 0), count - 1)] for n in range(count)], axis)


def fine_cell(
    maps: dict[tuple[int, int], Tensor], cell: tuple[int, int], counts: tuple[int, int], step: tuple[int, int]
) -> float:
    """The value of one fine cell: the mean over the shifts of the whole cell its centre lies in then.

    maps  (rows, columns) nats by the (down, right) offsets of the content
    """
    centre = [Fraction(2 * cell[axis] + 1, 2 * counts[axis]) * step[axis] for axis in (0, 1)]
    values = []
    for offset, grid in maps.items():
        places = [(centre[axis] + offset[axis]) / step[axis] for axis in (0, 1)]
        if all(0 <= places[axis] < grid.shape[axis] for axis in (0, 1)):
            values.append(float(grid[int(places[0]), int(places[1])]))
    return sum(values) / len(values) / (counts[0] * counts[1])


def smoothed(line: list[float], sigma: float) -> list[float]:
    """A Gaussian mean, cell by cell, over a line that is mirrored at its ends, out to 4 sigma."""
    reach, count = int(4 * sigma + 0.5), len(line)
    weights = {offset: math.exp(-0.5 * (offset / sigma) ** 2) for offset in range(-reach, reach + 1)}
    mirrored = [*line, *reversed(line)]  # goes on for ever, in both directions
    return [
        sum(weight * mirrored[(n + offset) % (2 * count)] for offset, weight in weights.items())
        / sum(weights.values())
        for n in range(count)
    ]
