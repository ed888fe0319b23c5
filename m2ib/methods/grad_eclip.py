"""``grad-eclip``: Grad-ECLIP (Zhao et al., ICML 2024, "Gradient-based Visual Explanation for Transformer-based CLIP").

In a block, with queries q, keys k and values v (heads side by side, channels c), the attention's output o before its
output projection, p the position where the embedding is read and the cosine s to the other side::

    w_c      = ds / do_pc
    lambda_i = cos(q_p, k_i), shifted and scaled to 0 .. 1 over the grid's cells     in the softmax's place
    L_i      = max(0, sum over blocks and c of w_c lambda_i v_ic)                                  (Eq. 7 and 8)

The sum is over the last ``blocks``: 1 by default, and two thirds of the blocks for texts, which are the paper's last
eight of twelve. The cosine of q and k is what the authors' code computes; the paper writes their product. They let the
blocks that they explain attend with a single head, which is another model; here the model stays as it is.

Where the embedding is read at all cells of the grid, by their mean, each of them is a p, and their w_c lambda_i v_ic add
up: the mean is in the gradients. Where one more attention pools the cells, it counts as the last of the ``blocks``, with
its own queries. Values have no unit, and are 0 or more.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import normalize

from m2ib.activations.attention import Attended, gradients, watch
from m2ib.contract.targets import Targets
from m2ib.methods.base import Batch, Map, Method, PreparedBatch, Settings, needs_attention
from m2ib.methods.reading import cells, check_pooling, maps, pooled


def prepare(batch: Batch, settings: Settings) -> PreparedBatch:
    """Nothing is kept until there are targets."""

    def make(targets: Targets, advance: Callable[[], None]) -> list[Map]:
        with torch.enable_grad():
            seen = watch(batch.encoder, batch.inputs, len(batch.encoder.blocks) - settings.blocks)
            calls = seen.calls[-settings.blocks :]
            found = gradients(targets(seen.embedding), [call.mixed for call in calls], batch.encoder)
        advance()
        with torch.no_grad():
            block = seen.blocks[0]
            grid, at = cells(batch, block), pooled(batch, block)  # (rows, T) each
            values = torch.zeros(grid.shape, dtype=block.pattern.dtype, device=grid.device)  # (rows, T)
            for call, gradient in zip(calls, found, strict=True):
                weights = _joined(gradient.to(values.dtype))  # (rows, Q, C)
                if call is seen.pooling:
                    check_pooling(batch, call, grid.shape[1])
                else:
                    weights = weights * at[..., None]  # (rows, T, C)
                values += _contributions(call, weights, grid)
        return maps(batch.layouts, values.clamp(min=0))

    return PreparedBatch(batch.embed(), make)


def _contributions(call: Attended, weights: Tensor, grid: Tensor) -> Tensor:
    """Sum over the queries p and c of w_pc lambda_pi v_ic: (rows, Q, C), cells (rows, T) -> (rows, T)."""
    length = grid.shape[1]
    # (rows, Q, C), (rows, K, C), (rows, K, C)
    query, key, value = (_joined(part.to(weights.dtype)) for part in (call.query, call.key, call.value))
    alike = normalize(query, dim=-1) @ normalize(key[:, :length], dim=-1).transpose(1, 2)  # (rows, Q, T)
    loose = _scaled(alike, grid[:, None])  # (rows, Q, T)
    return ((loose.transpose(1, 2) @ weights) * value[:, :length]).sum(-1)


def _scaled(values: Tensor, where: Tensor) -> Tensor:
    """(..., T) to 0 .. 1 between its smallest and largest ``where`` (..., T); 1 where all are the same."""
    low = values.masked_fill(~where, float("inf")).amin(-1, keepdim=True)  # (..., 1)
    high = values.masked_fill(~where, float("-inf")).amax(-1, keepdim=True)
    return torch.where(high > low, (values - low) / (high - low), 1.0)


def _joined(heads: Tensor) -> Tensor:
    """(rows, heads, T, d) -> (rows, T, heads * d)."""
    return heads.transpose(1, 2).flatten(2)


def method() -> Method:
    return Method(prepare, refuse=needs_attention, additive=False)
