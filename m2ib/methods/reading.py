"""Which rows and positions of attention belong to which input, and which of them the embedding is read at.

An input of several clips is as many rows of a batch; T positions are those of one clip.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from m2ib.activations.attention import Attended
from m2ib.contract.layout import Layout
from m2ib.errors import AdapterError
from m2ib.methods.base import Batch, Map


def clips(batch: Batch, attended: Attended) -> int:
    """The number of rows of one input."""
    return attended.query.shape[0] // len(batch)


def cells(batch: Batch, attended: Attended) -> Tensor:
    """(rows, T) True for the positions that are cells of the grid."""
    count, length = clips(batch, attended), attended.query.shape[2]
    mask = np.zeros((len(batch), count * length), dtype=bool)
    for row, layout in zip(mask, batch.layouts, strict=True):
        row[layout.cells((count * length,))] = True
    return torch.from_numpy(mask).view(-1, length).to(attended.query.device)  # (rows, T)


def read(batch: Batch, attended: Attended) -> Tensor:
    """(rows, T) True for the positions that the model reads, padding left out."""
    count, length = clips(batch, attended), attended.query.shape[2]
    limits = [count * length if layout.read is None else layout.read for layout in batch.layouts]
    positions = torch.arange(count * length)
    return (positions < torch.tensor(limits)[:, None]).view(-1, length).to(attended.query.device)  # (rows, T)


def pooled(batch: Batch, attended: Attended) -> Tensor:
    """(rows, T) True for the positions at which the embedding is read: one, or all cells of the grid."""
    attention = batch.encoder.attention
    if attention is None or attention.pooled is None:
        return cells(batch, attended)
    index = attention.pooled(batch.inputs).repeat_interleave(clips(batch, attended))  # (rows,)
    positions = torch.arange(attended.query.shape[2], device=index.device)
    return (positions == index[:, None]).to(attended.query.device)  # (rows, T)


def check_pooling(batch: Batch, pooling: Attended, length: int) -> None:
    """Raises :class:`AdapterError` for a pooling attention over something else than the blocks' positions."""
    if pooling.key.shape[2] != length:
        raise AdapterError(
            f"{batch.modality}: the pooling after the last block attends to {pooling.key.shape[2]} positions, and the "
            f"blocks have {length}; methods that read attention cannot tell which is which: leave out `attention` "
            "from this Encoder"
        )


def maps(layouts: Sequence[Layout], values: Tensor) -> list[Map]:
    """The grids out of ``values`` (rows, T) of all positions."""
    flat = values.double().cpu().numpy().reshape(len(layouts), -1)  # (N, clips * T)
    return [Map(layout.to_grid(row)) for layout, row in zip(layouts, flat, strict=True)]
