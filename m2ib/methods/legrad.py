"""``legrad``: LeGrad (Bousselham et al., ICCV 2025; arXiv 2404.03214).

Each block l from ``first`` on is asked on its own. Let z_t be its output at the T positions that are read, g what comes
after the last block (final norm, pooling, projection), e the other side's embedding and A (heads h, queries i, keys j)
the block's pattern::

    s = cos(e, g(1/T sum over t of z_t))                                     the mean in place of every position
    E_j = 1 / (heads * T) * sum over h and i of max(0, ds / dA_hij)          the gradient alone: not times A

and the map is the mean of E over the blocks. The mean z is over all that is read, class token included, as in the paper
and its public code; class and other special positions then drop out of an image's map. Where one more attention pools
the positions (SigLIP, CoCa), it is applied to every block's output as it is, and A is its pattern, over its queries.
What a mask hides from a query has no gradient here: a text that is read causally cannot attend to what comes later.

The paper sums up all blocks, and so does the default here; it finds that small models do best with a few of the last,
and its public code takes the last two (``first=10`` of 12). Values have no unit, and are 0 or more.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from m2ib.activations.attention import Attended, Watched, gradients, watch, watch_run
from m2ib.activations.capture import Recording, Tail, record
from m2ib.contract.targets import Targets
from m2ib.methods.base import Batch, Map, Method, PreparedBatch, Settings, needs_attention
from m2ib.methods.reading import check_pooling, clips, maps, read


def prepare(batch: Batch, settings: Settings) -> PreparedBatch:
    """One forward pass, for what comes after the last block."""
    recording = record(batch.encoder, batch.inputs, len(batch.encoder.blocks) - 1)

    def make(targets: Targets, advance: Callable[[], None]) -> list[Map]:
        with torch.enable_grad():
            seen = watch(batch.encoder, batch.inputs, settings.first)
            find = _by_blocks if seen.pooling is None else _by_pooling
            found = [find(batch, recording, seen, number, targets) for number in range(len(seen.blocks))]
        advance()
        return maps(batch.layouts, torch.stack(found).mean(0))  # (rows, T)

    return PreparedBatch(recording.embedding, make)


def _by_blocks(batch: Batch, recording: Recording, seen: Watched, number: int, targets: Targets) -> Tensor:
    """E of one block: (rows, T)."""
    call = seen.blocks[number]
    here = read(batch, call)  # (rows, T)
    length, count = here.shape[1], here.sum(1, keepdim=True)  # (rows, 1)
    z = seen.outputs[number]  # (N, clips * T, C)
    each = z.unflatten(1, (clips(batch, call), length)).flatten(0, 1)  # (rows, T, C)
    each = each.to(call.pattern.dtype).masked_fill(~here[..., None], 0)
    mean = (each.sum(1) / count).to(z.dtype)  # (rows, C)
    with Tail(recording, 1, fast=batch.fast) as tail:
        everywhere = mean[:, None].expand_as(each).reshape(z.shape)  # (N, clips * T, C)
        similarity = targets(tail(everywhere))  # (N,)
    (gradient,) = gradients(similarity, [call.pattern], batch.encoder)  # (rows, heads, T, K)
    return _positive(call, gradient).mean(1).sum(1)[:, :length] / count  # (rows, T)


def _by_pooling(batch: Batch, recording: Recording, seen: Watched, number: int, targets: Targets) -> Tensor:
    """E of the pooling attention, applied to one block's output: (rows, T)."""
    with Tail(recording, 1, fast=batch.fast) as tail:
        z = seen.outputs[number].detach()  # (N, positions, C)
        pooling = watch_run(batch.encoder, lambda: tail(z), len(batch.encoder.blocks))
    assert pooling.pooling is not None
    check_pooling(batch, pooling.pooling, seen.blocks[0].query.shape[2])
    similarity = targets(pooling.embedding)  # (N,)
    (gradient,) = gradients(similarity, [pooling.pooling.pattern], batch.encoder)  # (rows, heads, Q, T)
    return _positive(pooling.pooling, gradient).mean((1, 2))


def _positive(call: Attended, gradient: Tensor) -> Tensor:
    """What raises the cosine, where a query can attend at all."""
    return gradient.clamp(min=0).masked_fill(call.pattern == 0, 0)


def method() -> Method:
    return Method(prepare, refuse=needs_attention, additive=False)
