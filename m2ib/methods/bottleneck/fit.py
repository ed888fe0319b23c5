"""Fit bottlenecks: optimise alpha on the tail of the encoder alone, N inputs at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from m2ib.activations.capture import Recording, Tail, cut_graph
from m2ib.activations.reference import Statistics
from m2ib.contract.curve import Curve
from m2ib.contract.layout import Layout
from m2ib.contract.targets import Targets
from m2ib.errors import InputError
from m2ib.execution.half_precision import or_in_float32
from m2ib.methods.bottleneck.information import (
    ALPHA_START,
    kl_divergence,
    kl_gradient,
    mix,
    mix_gradient,
)
from m2ib.methods.bottleneck.noise import noise_of
from m2ib.methods.bottleneck.settings import FitSettings
from m2ib.methods.bottleneck.verdicts import hardly_kept, lost, unreached, unreached_warning


@dataclass(frozen=True)
class Fit:
    """The result for one input: capacity in nats per position (shape of the positions), and its curve.

    warnings  why it may not show what it should
    remarks   likewise, where it is less grave
    """

    capacity: np.ndarray
    curve: Curve
    warnings: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass
class Common:
    """What fits on one recording with the same settings have in common, filled in by those that come first.

    alone    by recorded input and seed: the embeddings (S, D) of noise alone in its place
    nowhere  what is said where positions lead nowhere
    """

    alone: dict[tuple[int, int], Tensor] = field(default_factory=dict)
    nowhere: tuple[str, ...] | None = None


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
    targets: Targets,
    settings: FitSettings,
    *,
    rows: Sequence[int],
    seeds: Sequence[int],
    common: Common,
    statistics: Statistics | None = None,
    fast: bool = True,
    advance: Callable[[], None] = lambda: None,
) -> list[Fit]:
    """Minimise ``weight * mean_j KL_j - mean s(tail(z))`` with s the similarity to the target, with Adam, N fits each on its own.

    The weight is beta where each element has a lambda of its own. Where C channels share one, it is beta / sqrt(C):
    the KL's gradients of a position's channels all have one sign and add up to C times one of them; those of the
    similarity, much of it the noise of few samples, have either sign and add up to about sqrt(C) of them.
    With this weight compression pulls as hard against the similarity as it does on a single element.

    recording  inputs run once up to the layer
    layouts    N: what the positions of each fit's input are
    targets    N: what each fit is to stay close to
    rows       N: which of the recorded inputs each fit is about; several may be about one
    seeds      N: of each fit's noise
    statistics of the layer: the bottleneck is put on the standardised activation, z mapped back before the tail
    fast       use the encoder's own tail where it has one
    advance    called after each step

    The fits do not touch each other: each has its own noise stream, its own mean over its
    own elements, and Adam works elementwise.
    """
    encoder = recording.encoder
    layer = encoder.layer(settings.layer)
    recorded = recording.of(rows)
    activation = recorded.activation.detach()  # (N, *shape)
    model_dtype = activation.dtype
    precision = torch.promote_types(model_dtype, torch.float32)
    original = activation.to(precision)
    if not (torch.isfinite(original).all() and torch.isfinite(targets.vectors).all()):
        raise InputError(
            f"{encoder.modality}: the model gives NaN or infinite values at layer {settings.layer} in "
            f"{model_dtype}; check the input{or_in_float32(model_dtype)}"
        )
    channel_axis = layer.channel_axis % original.ndim
    mean, std = (0.0, 1.0) if statistics is None else statistics.like(original, channel_axis)
    a = original if statistics is None else (original - mean) / std  # (N, *shape)
    count, shape, variance = a.shape[0], a.shape[1:], settings.variance
    mask = _read_mask(layouts, a, layer.channel_axis)
    reads = [layout.read if mask is not None else None for layout in layouts]
    elements = torch.tensor(  # (N, 1, ...) elements of each activation that are read
        [shape.numel() if read is None else read * shape[1:].numel() for read in reads],
        device=a.device,
        dtype=precision,
    ).view(-1, *[1] * len(shape))
    targets = targets.to(a.device, precision)
    streams = list(zip(seeds, reads, strict=True))  # fits of one seed and length see the same noise
    distinct = list(dict.fromkeys(streams))
    draw_of = [distinct.index(stream) for stream in streams]
    size, weight = list(a.shape), settings.beta
    shared = settings.granularity == "token"
    if shared:
        weight /= math.sqrt(size[channel_axis])
        size[channel_axis] = 1
    alpha = a.new_full(size, ALPHA_START).requires_grad_()  # (N, *shape), or with one channel
    optimizer = torch.optim.Adam([alpha], lr=settings.lr)
    history: list[Tensor] = []

    def placed(z: Tensor) -> Tensor:
        """(N, S, *shape) as the tail takes it."""
        if statistics is not None:
            z = z * std + mean
        return z if mask is None else torch.where(mask[:, None], z, original[:, None])

    def similarity(out: Tensor) -> Tensor:
        """(N,) mean over the samples of embeddings (N, S, ...)."""
        each: Tensor = targets(out.flatten(0, 1))  # (N * S,)
        return each.view(-1, settings.samples).mean(1)

    def embedded(tail: Tail, z: Tensor) -> Tensor:
        """(N, S, *shape) as the tail takes it -> (N, S, ...)."""
        out: Tensor = tail(z.flatten(0, 1)).to(precision).unflatten(0, (-1, settings.samples))
        return out

    def noise_alone(noise: Tensor) -> Tensor:
        """(N, S, ...) of noise in place of z."""
        known, everyone = common.alone, range(len(recording.embedding))
        z = placed(math.sqrt(variance) * noise.expand(count, *noise.shape[1:])).to(model_dtype)

        def missing() -> dict[tuple[int, int], int]:
            return {key: n for n, key in enumerate(zip(rows, seeds, strict=True)) if key not in known}

        if missing() and mask is None and len(everyone) > 1:  # it may be the same for all of them
            with Tail(recording.of([rows[0]]), settings.samples, fast=fast) as tail:
                for seed, n in {seed: n for (_, seed), n in missing().items()}.items():
                    out = tail.blind(z[n])
                    if out is not None:
                        known.update({(row, seed): out.to(precision) for row in everyone})
        if places := missing():
            with Tail(recording.of([row for row, _ in places]), settings.samples, fast=fast) as tail:
                found = embedded(tail, z[list(places.values())])
            known.update(zip(places, found, strict=True))
        return torch.stack([known[key] for key in zip(rows, seeds, strict=True)])

    def divergence() -> Tensor:
        """(N, *shape) nats."""
        kl = kl_divergence(a, alpha, variance)
        return kl if mask is None else kl * mask

    def gradient(z: Tensor, fit: Tensor, noise: Tensor) -> Tensor:
        """dloss/dalpha, of what went through the tail."""
        back = None
        if fit.requires_grad:
            (back,) = torch.autograd.grad(fit, z, torch.ones_like(fit), allow_unused=True)
        if back is None:
            raise cut_graph(encoder, settings.layer)
        back = back.to(precision)  # (N, S, *shape)
        if step == 0:
            nowhere.extend(unreached(back, layouts, channel_axis))
        if statistics is not None:
            back = back * std
        compression = (weight / elements) * kl_gradient(a, alpha, variance)  # (N, *shape)
        if mask is not None:
            back, compression = back * mask[:, None], compression * mask
        whole = compression - mix_gradient(back, a, alpha, noise, variance)
        return whole.sum(channel_axis, keepdim=True) if shared else whole

    nowhere, draws = list[int](), noise_of(settings, shape, distinct, precision, a.device)
    if 1 < len(distinct) < count:  # else each has its own, or all have one
        draws = (noise[draw_of] for noise in draws)  # (N, S, *shape) each
    first = next(draws)
    with torch.no_grad():
        alone = similarity(noise_alone(first))  # (N,)
    with torch.enable_grad(), Tail(recorded, settings.samples, fast=fast) as tail, torch.no_grad():
        for step, noise in enumerate(chain([first], draws)):
            z = placed(mix(a[:, None], alpha[:, None], noise, variance)).to(model_dtype)  # (N, S, *shape)
            # No one would see an update that comes after what is read out.
            moves = settings.readout == "final" or step == 0 or step < settings.steps - 1
            with torch.set_grad_enabled(moves):
                fit = similarity(embedded(tail, z.requires_grad_(moves)))  # (N,)
            kl = divergence()
            information = (kl / elements).flatten(1).sum(1)  # (N,)
            history.append(torch.stack([fit, information, weight * information - fit]).detach())  # (3, N)
            if moves:
                alpha.grad = gradient(z, fit, noise)
                optimizer.step()
            advance()
        if settings.readout == "final":
            kl = divergence()
    capacity = kl.sum(channel_axis).cpu().numpy()  # (N, *positions)
    if not np.isfinite(capacity).all():
        raise InputError(
            f"{encoder.modality}: the fit at layer {settings.layer} diverged to NaN in {model_dtype}; "
            f"lower lr ({settings.lr:g}), beta or variance{or_in_float32(model_dtype)}"
        )
    curves = torch.stack(history, -1).cpu().tolist()  # (3, N, steps)
    if nowhere and common.nowhere is None:
        common.nowhere = unreached_warning(recorded, layouts, nowhere[0])
    fits = []
    for n, (found, read, of_noise) in enumerate(zip(capacity, reads, alone.cpu().tolist(), strict=True)):
        fitted, nats, losses = (tuple(series[n]) for series in curves)
        curve = Curve(fitted, nats, losses, of_noise, targets.similarity.zero)
        said = (
            (common.nowhere or ())
            if n in nowhere
            else lost(encoder, curve, settings, targets.similarity.name)
        )
        remarks = () if said else hardly_kept(encoder, curve, targets.similarity.name)
        fits.append(Fit(found if read is None else found[:read], curve, said, remarks))
    return fits
