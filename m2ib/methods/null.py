"""The same maps against other inputs than a pair's partner: what of a map any of them would have brought."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from m2ib.contract.inputs import repeat_inputs
from m2ib.contract.null import Null
from m2ib.contract.targets import Targets
from m2ib.errors import InputError
from m2ib.methods.base import Batch, PreparedBatch
from m2ib.notices import ignored_warnings

_SAME = 1e-4  # as far apart, at most, unit embeddings of one input are


def others_than(partners: Tensor, usual: Sequence[Tensor], count: int, modality: str) -> list[list[Tensor]]:
    """For each of N partners (N, ...) so many of the usual embeddings (...) that are not its own: as many for each.

    Raises :class:`InputError` where fewer than two are left.
    """
    found = []
    for partner in partners:
        flat = partner.flatten()
        found.append(
            [each for each in usual if each.numel() != flat.numel() or not _same(each.flatten(), flat)]
        )
    least = min(count, *map(len, found))
    if least < 2:
        raise InputError(
            f"null for {modality}: of {len(usual)} reference inputs {least} are not the pair's own; give others, as in "
            f"reference={{{modality!r}: [first, second, ...]}}"
        )
    return [each[:least] for each in found]


def _same(one: Tensor, other: Tensor) -> bool:
    return bool((one.to(other) - other).norm() <= _SAME * other.norm())


def nulls(
    batch: Batch, prepare: Callable[[Batch], PreparedBatch], own: Targets, targets: Targets
) -> list[Null]:
    """For each input of a batch its maps against others, all as one batch in which an input is recorded once.

    own      (N) what the inputs are explained against
    targets  (N * k) of the others, those of an input in a row
    """
    count, copies = len(batch), len(targets) // len(batch)
    items = [item for item in batch.items for _ in range(copies)]
    with ignored_warnings():  # of maps that nobody looks at one by one
        prepared = prepare(replace(batch, items=items, inputs=repeat_inputs(batch.inputs, copies)))
        grids = [each.grid for each in prepared.maps(targets, lambda: None)]
    with torch.no_grad():
        others = targets(prepared.embedding).view(count, copies).tolist()
        mine = own(prepared.embedding[::copies]).tolist()
    return [
        Null.of(np.stack(grids[n * copies : (n + 1) * copies]), tuple(others[n]), mine[n])
        for n in range(count)
    ]
