"""Pairs out of a torch DataLoader, whose batches are taken apart again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader, default_collate

from m2ib.errors import InputError

_WAY = "let its items be dicts by modality, as in {'image': pixels, 'text': caption}"


def loaded_pairs(loader: DataLoader[Any]) -> Iterator[Any]:
    """Each pair of each batch, as the data set's items were, or as a ``collate_fn`` put them together.

    A batch is a dict of tensors, arrays, lists or dicts by name, all of one length. Raises :class:`InputError`.
    """
    collated = loader.collate_fn is default_collate
    for batch in loader:
        if loader.batch_sampler is None:  # items come one by one
            pairs: Sequence[Any] = [batch]
        else:
            pairs = batch if isinstance(batch, list) and not collated else _rows(batch, collated)
        for pair in pairs:
            sides = list(pair.items()) if isinstance(pair, Mapping) else pair
            if not isinstance(sides, (list, tuple)) or not all(map(_is_side, sides)):
                raise InputError(f"explain_many: the DataLoader's batches do not name modalities; {_WAY}")
            yield [(modality, raw) for modality, raw in sides]


def _is_side(given: Any) -> bool:
    return isinstance(given, (list, tuple)) and len(given) == 2 and isinstance(given[0], str)


def _rows(batch: Any, collated: bool) -> Sequence[Any]:
    """What was put together, one by one; ``collated`` by torch's own, which makes of tuples a tuple of batches."""
    if isinstance(batch, (Tensor, np.ndarray)) and batch.ndim:
        return batch.tolist() if batch.ndim == 1 and not isinstance(batch, np.ndarray) else list(batch)
    if isinstance(batch, Mapping) and batch:
        columns = [_rows(value, collated) for value in batch.values()]
        return [dict(zip(batch, row, strict=True)) for row in _together(columns)]
    if isinstance(batch, (list, tuple)):
        if not collated or all(isinstance(each, (str, bytes)) for each in batch):
            return batch
        return _together([_rows(each, collated) for each in batch])
    raise InputError(f"explain_many: a DataLoader's batch holds a {type(batch).__name__}; {_WAY}")


def _together(columns: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
    if len({len(column) for column in columns}) > 1:
        raise InputError(
            f"explain_many: the parts of a DataLoader's batch have different lengths, {', '.join(str(len(c)) for c in columns)}"
        )
    return list(zip(*columns, strict=True))
