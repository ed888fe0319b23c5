"""Fit bottlenecks: optimise alpha on the tail of the encoder alone, N inputs at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from m2ib.bottleneck import ALPHA_START, draw_noise, kl_divergence, mix
from m2ib.capture import Recording, Tail
from m2ib.contract import Layout
from m2ib.errors import InputError
from m2ib.notices import warn
from m2ib.settings import FitSettings


@dataclass(frozen=True)
class Curve:
    """How one fit went, a value per forward pass.

    fit          mean cosine over the noise samples (Eq. 15)
    information  mean KL over the elements of the activation, nats
    loss         beta * information - fit
    """

    fit: tuple[float, ...]
    information: tuple[float, ...]
    loss: tuple[float, ...]


@dataclass(frozen=True)
class Fit:
    """The result for one input: capacity in nats per position (shape of the positions), and its curve."""

    capacity: np.ndarray
    curve: Curve


def _read_mask(layouts: Sequence[Layout], activation: Tensor, channel_axis: int) -> Tensor | None:
    """1 where a position is read, (N, T, 1); None when all are."""
    length = activation.shape[1]
    reads = [length if layout.read is None else layout.read for layout in layouts]
    if all(read == length for read in reads):
        return None
    if activation.ndim != 3 or channel_axis not in (-1, 2):
        raise InputError(
            f"layout: `read` needs an activation (N, T, C), not one of shape {tuple(activation.shape)}"
        )
    ends = torch.tensor(reads, device=activation.device)  # (N,)
    return (torch.arange(length, device=activation.device) < ends[:, None])[..., None]  # (N, T, 1)


def fit_bottlenecks(
    recording: Recording,
    layouts: Sequence[Layout],
    targets: Tensor,
    settings: FitSettings,
    *,
    fast: bool = True,
    advance: Callable[[], None] = lambda: None,
) -> list[Fit]:
    """Minimise ``beta * mean_j KL_j - mean cos(target, tail(z))`` with Adam, for each input on its own.

    recording  N inputs run once up to the layer
    layouts    what their positions are
    targets    (N, D) the other side's embeddings; any length, only their direction matters
    fast       use the encoder's own tail where it has one
    advance    called after each step

    The inputs of a batch do not touch each other: each has its own noise stream, its own mean over its
    own elements, and Adam works elementwise.
    """
    encoder = recording.encoder
    layer = encoder.layer(settings.layer)
    activation = recording.activation.detach()  # (N, *shape)
    precision = activation.dtype if activation.dtype == torch.float64 else torch.float32
    model_dtype = activation.dtype
    a = activation.to(precision)
    if not (torch.isfinite(a).all() and torch.isfinite(targets).all()):
        raise InputError(
            f"{encoder.modality}: the model gives NaN or infinite values at layer {settings.layer} in "
            f"{model_dtype}; check the input, or load the model with dtype='float32'"
        )
    count, shape = a.shape[0], a.shape[1:]
    channel_axis = layer.channel_axis % a.ndim
    mask = _read_mask(layouts, a, layer.channel_axis)
    reads = [layout.read if mask is not None else None for layout in layouts]
    elements = torch.tensor(  # (N,) elements of each activation that are read
        [shape.numel() if read is None else read * shape[1:].numel() for read in reads],
        device=a.device,
        dtype=precision,
    )
    targets = targets.to(device=a.device, dtype=precision)[:, None]  # (N, 1, D)
    generators = [torch.Generator("cpu").manual_seed(settings.seed) for _ in range(count)]
    alpha = torch.full_like(a, ALPHA_START).requires_grad_()  # (N, *shape)
    optimizer = torch.optim.Adam([alpha], lr=settings.lr)
    history: list[Tensor] = []
    kl = torch.zeros_like(a)

    with torch.enable_grad(), Tail(recording, settings.samples, fast=fast) as tail:
        for step in range(settings.steps):
            last = step == settings.steps - 1
            noise = draw_noise(generators, settings.samples, shape, reads, precision).to(a.device)
            z = mix(a[:, None], alpha[:, None], noise, settings.variance)  # (N, S, *shape)
            if mask is not None:
                z = torch.where(mask[:, None], z, a[:, None])
            if step == 0:
                z.register_hook(lambda grad: _warn_if_deaf(grad, recording, layouts, settings, channel_axis))
            out = tail(z.flatten(0, 1).to(model_dtype))  # (N * S, D)
            out = out.to(precision).unflatten(0, (count, settings.samples))  # (N, S, D)
            fit = cosine_similarity(out, targets, dim=-1).mean(1)  # (N,)
            kl = kl_divergence(a, alpha, settings.variance)  # (N, *shape)
            if mask is not None:
                kl = kl * mask
            information = kl.flatten(1).sum(1) / elements  # (N,)
            loss = settings.beta * information - fit  # (N,)
            history.append(torch.stack([fit, information, loss]).detach())  # (3, N)
            if not (last and settings.readout == "last" and step > 0):  # no one would see that update
                (alpha.grad,) = torch.autograd.grad(loss.sum(), alpha)
                optimizer.step()
            advance()
        if settings.readout == "final":
            kl = kl_divergence(a, alpha, settings.variance)
            if mask is not None:
                kl = kl * mask
    capacity = kl.detach().sum(channel_axis).cpu().numpy()  # (N, *positions)
    if not np.isfinite(capacity).all():
        raise InputError(
            f"{encoder.modality}: the fit at layer {settings.layer} diverged to NaN in {model_dtype}; "
            "lower lr, or load the model with dtype='float32'"
        )
    curves = torch.stack(history, -1).cpu().tolist()  # (3, N, steps)
    return [
        Fit(rows if read is None else rows[:read], Curve(*(tuple(series[n]) for series in curves)))
        for n, (rows, read) in enumerate(zip(capacity, reads, strict=True))
    ]


def _warn_if_deaf(
    grad: Tensor, recording: Recording, layouts: Sequence[Layout], settings: FitSettings, channel_axis: int
) -> None:
    """Warn when no cell of a grid has any way to the embedding.

    ``grad`` (N, S, *shape) is the fit's gradient at z, free of the compression term. The last block of an
    encoder that reads one pooled token is the common case: there only the activation's size is left.
    """
    moved = (grad != 0).any(1).any(channel_axis).cpu().numpy()  # (N, *positions)
    for row, layout in zip(moved, layouts, strict=True):
        reached = layout.to_grid(row)
        special = [token.special for token in layout.tokens]
        if special and not all(special):
            reached = reached[~np.array(special)]
        if not reached.any():
            modality, layer = recording.encoder.modality, settings.layer
            warn(
                f"{modality}: no position at layer {layer} ({recording.encoder.layer(layer).name}) reaches the "
                f"embedding, only a pooled token does; the map shows the size of the activations, not evidence. "
                f"Use layer {max(layer - 1, -1)} or an earlier one",
                stacklevel=2,
            )
            return
