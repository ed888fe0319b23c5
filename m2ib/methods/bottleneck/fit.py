"""Fit bottlenecks: optimise alpha on the tail of the encoder alone, N inputs at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from m2ib.activations.capture import Recording, Tail, cut_graph
from m2ib.activations.reach import content_reached, nearest, reaching_layers
from m2ib.activations.reference import Statistics
from m2ib.contract.attribution import Curve
from m2ib.contract.encoder import Encoder
from m2ib.contract.inputs import row
from m2ib.contract.layout import Layout
from m2ib.errors import InputError
from m2ib.execution.half_precision import or_in_float32
from m2ib.methods.bottleneck.information import ALPHA_START, draw_noise, kl_divergence, mix
from m2ib.methods.bottleneck.settings import FitSettings


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
    statistics: Statistics | None = None,
    fast: bool = True,
    advance: Callable[[], None] = lambda: None,
) -> list[Fit]:
    """Minimise ``weight * mean_j KL_j - mean cos(target, tail(z))`` with Adam, for each input on its own.

    The weight is beta where each element has a lambda of its own. Where C channels share one, it is beta / sqrt(C):
    the KL's gradients of a position's channels all have one sign and add up to C times one of them; those of the
    cosine, much of it the noise of few samples, have either sign and add up to about sqrt(C) of them.
    With this weight compression pulls as hard against the cosine as it does on a single element.

    recording  N inputs run once up to the layer
    layouts    what their positions are
    targets    (N, D) the other side's embeddings; any length, only their direction matters
    statistics of the layer: the bottleneck is put on the standardised activation, z mapped back before the tail
    fast       use the encoder's own tail where it has one
    advance    called after each step

    The inputs of a batch do not touch each other: each has its own noise stream, its own mean over its
    own elements, and Adam works elementwise.
    """
    encoder = recording.encoder
    layer = encoder.layer(settings.layer)
    activation = recording.activation.detach()  # (N, *shape)
    model_dtype = activation.dtype
    precision = torch.promote_types(model_dtype, torch.float32)
    original = activation.to(precision)
    if not (torch.isfinite(original).all() and torch.isfinite(targets).all()):
        raise InputError(
            f"{encoder.modality}: the model gives NaN or infinite values at layer {settings.layer} in "
            f"{model_dtype}; check the input{or_in_float32(model_dtype)}"
        )
    channel_axis = layer.channel_axis % original.ndim
    mean, std = (0.0, 1.0) if statistics is None else statistics.like(original, channel_axis)
    a = original if statistics is None else (original - mean) / std  # (N, *shape)
    count, shape = a.shape[0], a.shape[1:]
    mask = _read_mask(layouts, a, layer.channel_axis)
    reads = [layout.read if mask is not None else None for layout in layouts]
    elements = torch.tensor(  # (N,) elements of each activation that are read
        [shape.numel() if read is None else read * shape[1:].numel() for read in reads],
        device=a.device,
        dtype=precision,
    )
    targets = targets.to(device=a.device, dtype=precision)[:, None]  # (N, 1, D)
    lengths = list(dict.fromkeys(reads))  # inputs of one length see the same noise: it is drawn once
    generators = [torch.Generator("cpu").manual_seed(settings.seed) for _ in lengths]
    draw_of = [lengths.index(read) for read in reads]
    antithetic = settings.noise == "antithetic"
    size, weight = list(a.shape), settings.beta
    if settings.granularity == "token":
        weight /= math.sqrt(size[channel_axis])
        size[channel_axis] = 1
    alpha = a.new_full(size, ALPHA_START).requires_grad_()  # (N, *shape), or with one channel
    optimizer = torch.optim.Adam([alpha], lr=settings.lr)
    history: list[Tensor] = []
    kl = torch.zeros_like(a)
    arrived, unreached = list[bool](), list[int]()

    def first_gradient(grad: Tensor | None) -> None:
        if grad is None:
            return
        arrived.append(True)
        unreached.extend(_unreached(grad, layouts, channel_axis))

    def placed(z: Tensor) -> Tensor:
        """(N, S, *shape) as the tail takes it."""
        if statistics is not None:
            z = z * std + mean
        return z if mask is None else torch.where(mask[:, None], z, original[:, None])

    def cosine(z: Tensor) -> Tensor:
        """(N,) mean over the samples of z (N, S, *shape)."""
        out = tail(z.flatten(0, 1).to(model_dtype))  # (N * S, D)
        out = out.to(precision).unflatten(0, (count, settings.samples))  # (N, S, D)
        return cosine_similarity(out, targets, dim=-1).mean(1)

    with torch.enable_grad(), Tail(recording, settings.samples, fast=fast) as tail:
        for step in range(settings.steps):
            last = step == settings.steps - 1
            noise = draw_noise(generators, settings.samples, shape, lengths, precision, antithetic=antithetic)
            noise = noise.to(a.device)  # (lengths, S, *shape)
            if len(lengths) > 1:
                noise = noise[draw_of]  # (N, S, *shape)
            z = placed(mix(a[:, None], alpha[:, None], noise, settings.variance))  # (N, S, *shape)
            if step == 0:
                z.register_hook(first_gradient)
                with torch.no_grad():
                    alone = cosine(placed(math.sqrt(settings.variance) * noise.expand_as(z)))  # (N,)
            fit = cosine(z)  # (N,)
            kl = kl_divergence(a, alpha, settings.variance)  # (N, *shape)
            if mask is not None:
                kl = kl * mask
            information = kl.flatten(1).sum(1) / elements  # (N,)
            loss = weight * information - fit  # (N,)
            history.append(torch.stack([fit, information, loss]).detach())  # (3, N)
            if not (last and settings.readout == "last" and step > 0):  # no one would see that update
                (alpha.grad,) = torch.autograd.grad(loss.sum(), alpha)
                if not arrived:
                    raise cut_graph(encoder, settings.layer)
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
            f"lower lr ({settings.lr:g}), beta or variance{or_in_float32(model_dtype)}"
        )
    curves = torch.stack(history, -1).cpu().tolist()  # (3, N, steps)
    nowhere = _unreached_warning(recording, layouts, unreached[0]) if unreached else ()
    fits = []
    for n, (rows, read, noise_alone) in enumerate(zip(capacity, reads, alone.cpu().tolist(), strict=True)):
        cosines, nats, losses = (tuple(series[n]) for series in curves)
        curve = Curve(cosines, nats, losses, noise_alone)
        said = nowhere if n in unreached else _lost(encoder, curve, settings)
        remarks = () if said else _hardly_kept(encoder, curve)
        fits.append(Fit(rows if read is None else rows[:read], curve, said, remarks))
    return fits


_LITTLE, _HALF = 0.1, 0.5  # of the similarity


def _lost(encoder: Encoder, curve: Curve, settings: FitSettings) -> tuple[str, ...]:
    """Whether a fit gave up the similarity that it is about."""
    if curve.kept is None or curve.kept >= _LITTLE:
        return ()
    return (
        f"{encoder.modality}: the fit lost the similarity: its mean cosine went from {curve.fit[0]:.3f} to {curve.fit[-1]:.3f}, "
        f"and noise alone has {curve.noise:.3f}; the map shows what is thrown away last, not what is needed; give a beta "
        f"below {settings.beta:g}",
    )


def _hardly_kept(encoder: Encoder, curve: Curve) -> tuple[str, ...]:
    """What is no fault of the fit's, or not yet one."""
    if curve.kept is None:
        return (
            f"{encoder.modality}: there was no similarity to keep: at the fit's start the mean cosine is {curve.fit[0]:.3f}, and noise "
            f"alone has {curve.noise:.3f}; the map shows what would bring the two closer, not what they have in common",
        )
    if curve.kept < _HALF:
        return (
            f"{encoder.modality}: the fit kept {max(0.0, curve.kept):.0%} of the similarity: its mean cosine went from "
            f"{curve.fit[0]:.3f} to {curve.fit[-1]:.3f}, and noise alone has {curve.noise:.3f}",
        )
    return ()


def _unreached(grad: Tensor, layouts: Sequence[Layout], channel_axis: int) -> list[int]:
    """The inputs of a batch none of whose cells has any way to the embedding.

    ``grad`` (N, S, *shape) is the fit's gradient at z, free of the compression term.
    """
    moved = (grad != 0).any(1).any(channel_axis).cpu().numpy()  # (N, *positions)
    return [n for n, layout in enumerate(layouts) if not content_reached(layout, moved[n])]


def _unreached_warning(recording: Recording, layouts: Sequence[Layout], number: int) -> tuple[str, ...]:
    """The last block of an encoder that reads one pooled token is the common case; see ``reach.py``."""
    encoder, layer = recording.encoder, recording.layer
    good = nearest(layer, reaching_layers(encoder, row(recording.inputs, number), layouts[number]))
    if good == layer:  # positions do reach the embedding; it is the cosine that does not move
        return (
            f"{encoder.modality}: no position at layer {layer} ({encoder.layer(layer).name}) moves the similarity, so the "
            "map shows the size of the activations, not evidence",
        )
    way_out = (
        "no layer of this encoder does better" if good is None else f"use layer {good}, the nearest that does"
    )
    return (
        f"{encoder.modality}: no position at layer {layer} ({encoder.layer(layer).name}) reaches the embedding, only "
        f"a pooled token does, so the map shows the size of the activations, not evidence; {way_out}",
    )
