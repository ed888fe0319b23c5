"""``chefer``: attention relevance (Chefer, Gur and Wolf, ICCV 2021, "Generic Attention-model Explainability").

The rule for self-attention, as its authors apply it to each encoder of CLIP. With the patterns A (heads h, queries i,
keys j) of the blocks ``first`` .. last and the cosine s to the other side::

    C_ij = mean over h of max(0, ds / dA_hij * A_hij)                                            (Eq. 5)
    R    = 1,  then block after block  R <- R + C R                                               (Eq. 6)

The map is the row of R at the position where the embedding is read. Where it is read at all cells of the grid, by their
mean, it is the mean of their rows; where one more attention pools them, the sum of its queries' rows of C R. A cell that
the embedding is read at, such as a text's end token, holds its own share of the initial 1.

The paper begins with the first block, and so does the default here. Its authors' notebook for CLIP takes the last block
alone (``first=11`` of 12), and differentiates the logit, which is 100 times the cosine: for one block this is but a
factor. Keys that are no tokens (learned ones) are left out. Values have no unit, and are 0 or more.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from m2ib.activations.attention import Attended, gradients, watch
from m2ib.contract.targets import Targets
from m2ib.methods.base import Batch, Map, Method, PreparedBatch, Settings, needs_attention
from m2ib.methods.reading import check_pooling, maps, pooled


def prepare(batch: Batch, settings: Settings) -> PreparedBatch:
    """Nothing is kept until there are targets."""

    def make(targets: Targets, advance: Callable[[], None]) -> list[Map]:
        with torch.enable_grad():
            seen = watch(batch.encoder, batch.inputs, settings.first)
            found = gradients(targets(seen.embedding), [call.pattern for call in seen.calls], batch.encoder)
        advance()
        length = seen.blocks[0].query.shape[2]
        with torch.no_grad():
            kept = [_kept(call, gradient, length) for call, gradient in zip(seen.calls, found, strict=True)]
            relevance = torch.eye(length, dtype=kept[0].dtype, device=kept[0].device)  # (T, T)
            for each in kept[: len(seen.blocks)]:  # (rows, T, T)
                relevance = relevance + each @ relevance  # (rows, T, T)
            if seen.pooling is not None:
                check_pooling(batch, seen.pooling, length)
                values = (kept[-1] @ relevance).sum(1)  # (rows, Q, T) -> (rows, T)
            else:
                at = pooled(batch, seen.blocks[0]).to(relevance.dtype)  # (rows, T)
                values = (at[:, None] @ relevance)[:, 0] / at.sum(1, keepdim=True)  # (rows, T)
        return maps(batch.layouts, values)

    return PreparedBatch(batch.embed(), make)


def _kept(call: Attended, gradient: Tensor, length: int) -> Tensor:
    """C of one block, for the keys that are tokens: (rows, Q, T)."""
    return (gradient * call.pattern).clamp(min=0).mean(1)[..., :length]


def method() -> Method:
    return Method(prepare, refuse=needs_attention, additive=False)
