"""Contrastive loss that knows which negatives are false, and the auxiliary losses that fade."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, normalize


def contrastive(texts: Tensor, others: Tensor, true: Tensor, scale: Tensor | float) -> Tensor:
    """InfoNCE both ways (van den Oord et al. 2018) between rows of equal number.

    texts, others  (N, D)
    true           (N, N) bool: text i is true of input j. Such a pair is no negative, unless i = j, where it is
                   the positive
    """
    logits = scale * normalize(texts, dim=-1) @ normalize(others, dim=-1).T  # (N, N)
    same = torch.eye(len(logits), dtype=torch.bool, device=logits.device)
    logits = logits.masked_fill(true.to(logits.device) & ~same, float("-inf"))
    labels = torch.arange(len(logits), device=logits.device)
    return (cross_entropy(logits, labels) + cross_entropy(logits.T, labels)) / 2


class KindHeads(nn.Module):
    """Which kinds does a position show, and which the whole? Only for training: dropped with their loss."""

    def __init__(self, width: int, kinds: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.position = nn.Linear(width, kinds)
        self.pooled = nn.Linear(width, kinds)

    def forward(self, tokens: Tensor, shares: Tensor, held: Tensor) -> tuple[Tensor, Tensor]:
        """(position loss, pooled loss), each summed over the kinds.

        tokens  (N, 1 + T, C) the trunk's output, class token first
        shares  (N, kinds, T) how much of a position each kind takes
        held    (N, kinds) which kinds are there
        """
        tokens = self.norm(tokens)
        target = (shares > _SHOWN).to(tokens.dtype).transpose(1, 2)  # (N, T, kinds)
        weight = torch.where(target > 0, _RARE, 1.0)
        position = binary_cross_entropy_with_logits(self.position(tokens[:, 1:]), target, weight)
        pooled = binary_cross_entropy_with_logits(self.pooled(tokens[:, 0]), held)
        return position * held.shape[1], pooled * held.shape[1]


_SHOWN = 0.25  # share of a position from which on it shows a kind
_RARE = 4.0  # how much more a shown kind weighs
