"""``maxsim``: of a model of late interaction, which vector of one input is matched with which of the other.

MaxSim (Khattab and Zaharia 2020) is a mean over the query's vectors q, of each its greatest product with a vector d of the document::

    m_qd = q . d / Q   where d is the one that q is matched with; 0 elsewhere

so the matrix adds up to the similarity, but for the vectors of special tokens, and nothing is estimated.
"""

from __future__ import annotations

import numpy as np
import torch

from m2ib.contract.model import Model
from m2ib.contract.similarity import mean_maxsim, present
from m2ib.errors import InputError
from m2ib.methods.interactions.base import PairMethod, Side


def find(first: Side, second: Side) -> tuple[np.ndarray, tuple[str, ...]]:
    asks, other = (first, second) if first.leads else (second, first)
    query, document = (side.batch.embed().double()[0] for side in (asks, other))  # (Q, D), (K, D)
    there = present(query)
    products = (query @ document.T).masked_fill(~present(document), float("-inf"))  # (Q, K)
    best = torch.zeros_like(products)
    best[there, products.argmax(1)[there]] = products.amax(1)[there] / there.sum()
    found = _by_unit(asks, _by_unit(other, best.cpu()).T).T  # (units of the query, units of the document)
    return (found if first.leads else found.T).numpy(), ()


def _by_unit(side: Side, values: torch.Tensor) -> torch.Tensor:
    """(..., vectors) summed up over those of each unit: (..., units)."""
    layout, vectors = side.batch.layouts[0], values.shape[-1]
    cells = layout.cells((vectors,))
    if len(cells) != side.cells.shape[1] or max(cells, default=-1) >= vectors:
        raise InputError(
            f"interactions: {side.batch.modality} has {vectors} vectors and {side.cells.shape[1]} cells; which vector is of which "
            "cell is not told; give interactions='by-word'"
        )
    return values[..., cells] @ side.cells.T


def _refuse(model: Model) -> str | None:
    if model.similarity.of is mean_maxsim:
        return None
    return f"it is read off a MaxSim, and this model compares by {model.similarity.name}"


def method() -> PairMethod:
    return PairMethod(find, _refuse)
