"""Checks of what an encoder may say besides: that its blocks attend, and how parts of its inputs are taken out."""

from __future__ import annotations

import torch
from torch import Tensor

from m2ib.activations.attention import watch
from m2ib.contract.inputs import Inputs
from m2ib.errors import M2IBError
from m2ib.methods.base import Batch, degradation_of
from m2ib.testing.findings import Absent, Broken, difference, require, shape_of
from m2ib.testing.subject import Subject


def check_attention(subject: Subject) -> None:
    """Watched, the encoder gives the embedding that it gives otherwise, and is read where it says."""
    encoder = subject.encoder
    if encoder.attention is None:
        raise Absent
    inputs = subject.batch(subject.items[0])
    with torch.no_grad():
        plain = encoder.embed(inputs)  # (1, D)
        try:
            seen = watch(encoder, inputs)
        except M2IBError as error:
            raise Broken(str(error)) from None
    off = difference(seen.embedding, plain)
    require(
        off <= subject.tolerance,
        f"with attention computed step by step the embedding is another one (relative error {off:.1e})",
    )
    if encoder.attention.pooled is None:
        return
    at = encoder.attention.pooled(inputs)
    length = seen.blocks[0].query.shape[2]
    require(
        isinstance(at, Tensor) and at.shape == (1,) and not at.is_floating_point(),
        f"attention.pooled gives {shape_of(at)} for one input; it must be (1,) whole numbers",
    )
    require(
        0 <= int(at[0]) < length,
        f"attention.pooled gives the position {int(at[0])} of {length}",
    )


def check_degradation(subject: Subject) -> None:
    """All kept is the input itself, parts taken out move the embedding, and rows are one for each way."""
    encoder, item = subject.encoder, subject.items[0]
    inputs = subject.batch(item)
    ids = not isinstance(inputs, Tensor) or not inputs.is_floating_point()
    if encoder.degradation is None and ids:
        raise Absent  # nothing is said, and there is no default for it: such inputs are not hidden
    degradation = degradation_of(encoder)
    (grid,) = Batch(subject.model, encoder.modality, [item], inputs).grids(encoder.default_layer)
    try:
        positions = degradation.positions(inputs, grid)
    except M2IBError as error:
        raise Broken(str(error)) from None
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
        degraded: Inputs = degradation.apply(inputs, keep.to(subject.model.device), item.layout)
        out = encoder.embed(degraded)  # (3, D)
        plain = encoder.embed(inputs)  # (1, D)
    require(len(out) == 3, f"degradation.apply gives {len(out)} inputs for 3 ways to hide; it must be 3")
    for row in (0, 2):
        off = difference(out[row], plain[0])
        require(
            off <= subject.tolerance,
            f"degradation.apply changes an input of which everything is kept (relative error {off:.1e})",
        )
    require(
        difference(out[1], plain[0]) > 1e-6,
        "degradation.apply takes out everything, and the embedding is the same: what `keep` says is not used, or what the "
        "embedding is read from goes with the rest (are all special tokens marked as special?)",
    )
