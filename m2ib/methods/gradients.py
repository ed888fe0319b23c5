"""Gradients of the cosine to the other side."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from m2ib.activations.capture import Recording, Tail


def cosine(embeddings: Tensor, targets: Tensor) -> Tensor:
    """(N,) of embeddings (N, D) and targets (N or 1, D), in the targets' precision."""
    return cosine_similarity(embeddings.to(targets.dtype), targets.to(embeddings.device), dim=-1)


def gradient_at(
    recording: Recording, activation: Tensor, targets: Tensor, *, fast: bool = True
) -> tuple[Tensor, Tensor]:
    """The gradient, and the cosine (N,), where the recorded layer's output is ``activation`` (N, ...)."""
    with torch.enable_grad(), Tail(recording, 1, fast=fast) as tail:
        z = activation.detach().requires_grad_()
        similarity = cosine(tail(z), targets)  # (N,)
        (gradient,) = torch.autograd.grad(similarity.sum(), z)
    return gradient, similarity.detach()
