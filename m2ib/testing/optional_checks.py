"""Checks of what an encoder may say besides: that its blocks attend, and how parts of its inputs are taken out."""

from __future__ import annotations

import torch
from torch import Tensor

from m2ib.activations.attention import watch
from m2ib.contract.inputs import Inputs
from m2ib.errors import M2IBError
from m2ib.methods.base import Batch, degradation_of
from m2ib.testing.context import CheckContext
from m2ib.testing.results import CheckFailed, NotApplicable, difference, require, shape_of


def check_attention(context: CheckContext) -> None:
    """Watched, the encoder gives the embedding that it gives otherwise, and is read where it says."""
    encoder, attention = context.encoder, context.declared("attention")
    inputs = context.batch(context.items[0])
    with torch.no_grad():
        plain = encoder.embed(inputs)  # (1, D)
        try:
            seen = watch(encoder, inputs)
        except M2IBError as error:
            raise CheckFailed(str(error)) from None
    told = "with attention computed step by step the embedding is another one"
    context.require_close(seen.embedding, plain, told)
    if attention.pooled is None:
        return
    at = attention.pooled(inputs)
    length = seen.blocks[0].query.shape[2]
    require(
        isinstance(at, Tensor) and at.shape == (1,) and not at.is_floating_point(),
        f"attention.pooled gives {shape_of(at)} for one input; it must be (1,) whole numbers",
    )
    require(0 <= int(at[0]) < length, f"attention.pooled gives the position {int(at[0])} of {length}")


def check_degradation(context: CheckContext) -> None:
    """All kept is the input itself, parts taken out move the embedding, and rows are one for each way."""
    encoder, item = context.encoder, context.items[0]
    inputs = context.batch(item)
    ids = not isinstance(inputs, Tensor) or not inputs.is_floating_point()
    if encoder.degradation is None and ids:
        raise NotApplicable  # nothing is said, and there is no default for it: such inputs are not hidden
    degradation = degradation_of(encoder)
    (grid,) = Batch(context.model, encoder.modality, [item], inputs).grids(encoder.default_layer)
    try:
        positions = degradation.positions(inputs, grid)
    except M2IBError as error:
        raise CheckFailed(str(error)) from None
    require(
        len(positions) == len(grid),
        f"degradation.positions gives {positions} for a map of shape {grid}: one axis for each of the map's is needed",
    )
    hideable = degradation.hideable(item.layout, grid)
    require(
        tuple(hideable.shape) == grid and hideable.dtype == torch.bool and bool(hideable.any()),
        f"degradation.hideable gives {shape_of(hideable)}; it must be bool of the map's shape {grid}, some of it True",
    )
    keep = torch.ones(3, *positions)
    keep[1] = 0
    with torch.no_grad():
        degraded: Inputs = degradation.apply(inputs, keep.to(context.model.device), item.layout)
        out = encoder.embed(degraded)  # (3, D)
        plain = encoder.embed(inputs)  # (1, D)
    require(len(out) == 3, f"degradation.apply gives {len(out)} inputs for 3 ways to hide; it must be 3")
    for row in (0, 2):
        told = "degradation.apply changes an input of which everything is kept"
        context.require_close(out[row], plain[0], told)
    require(
        difference(out[1], plain[0]) > 1e-6,
        "degradation.apply takes out everything, and the embedding is the same: what `keep` says is not used, or what the "
        "embedding is read from goes with the rest (are all special tokens marked as special?)",
    )
