"""Gradients of the similarity to the other side."""

from __future__ import annotations

import torch
from torch import Tensor

from m2ib.activations.capture import Recording, Tail, check_differentiable, cut_graph
from m2ib.contract.encoder import Encoder
from m2ib.contract.targets import Targets


def gradient_at(
    recording: Recording, activation: Tensor, targets: Targets, *, fast: bool = True
) -> tuple[Tensor, Tensor]:
    """The gradient, and the similarity (N,), where the recorded layer's output is ``activation`` (N, ...)."""
    with torch.enable_grad(), Tail(recording, 1, fast=fast) as tail:
        z = activation.detach().requires_grad_()
        similarity = targets(tail(z))  # (N,)
        return gradient_of(similarity, z, recording.encoder, recording.layer), similarity.detach()


def gradient_of(values: Tensor, at: Tensor, encoder: Encoder, layer: int) -> Tensor:
    """d values.sum() / d at, where ``at`` is what passed at a layer, or before it.

    Raises :class:`AdapterError` where no graph leads back to it.
    """
    check_differentiable(encoder, layer)
    gradient = None
    if values.requires_grad:
        (gradient,) = torch.autograd.grad(values.sum(), at, allow_unused=True)
    if gradient is None:
        raise cut_graph(encoder, layer)
    return gradient
