"""How close two embeddings are: the number that is explained.

An embedding is one vector (D,), or a set of vectors (K, D), as models of late interaction give one for each token or patch.
In a batch, sets are filled up to one length with vectors of zeros: those are not there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, pad

from m2ib.errors import AdapterError


@dataclass(frozen=True)
class Similarity:
    """A model's own, of two embeddings.

    name        of the number, as tables have it
    of          embeddings of N pairs, (N, D) or sets (N, K, D) each -> (N,); differentiable. Settings and thresholds are made
                for numbers of at most 1
    title       of the number, as pages have it; "": its name
    sets        whether an embedding is a set of vectors
    directions  whether only an embedding's direction matters: then ensembles and contrasts are means and differences of
                unit vectors. Otherwise they are means and differences of similarities
    first       modalities that come first in ``of``, on whichever side of a pair they are; where both of a pair's or
                neither are such, the pair's own order holds
    zero        of two inputs that have nothing in common; None: there is no such number, as of distances
    mean        whether ``of`` is a mean over the first one's vectors, as others sum them: the sum is told beside it
    """

    name: str
    of: Callable[[Tensor, Tensor], Tensor]
    title: str = ""
    sets: bool = False
    directions: bool = False
    first: tuple[str, ...] = ()
    zero: float | None = 0.0
    mean: bool = False

    def leads(self, modalities: Sequence[str], place: int) -> bool:
        """Whether the input at this place of a pair comes first."""
        mine, other = (modalities[each] in self.first for each in (place, 1 - place))
        return place == 0 if mine == other else mine

    def __call__(self, first: Tensor, second: Tensor) -> Tensor:
        """``of`` N pairs, (N,). Raises :class:`AdapterError` where it gives anything else."""
        found: Any = self.of(first, second)
        if not isinstance(found, Tensor) or found.shape != first.shape[:1]:
            given = tuple(found.shape) if isinstance(found, Tensor) else f"a {type(found).__name__}"
            raise AdapterError(
                f"similarity {self.name!r}: `of` gives {given} for {len(first)} pairs of embeddings {tuple(first.shape[1:])}; it must be "
                f"a tensor ({len(first)},)"
            )
        return found

    def table(self, first: Tensor, second: Tensor) -> Tensor:
        """(N, M) of the embeddings of N inputs, which come first, and of M others."""
        shape = len(first), len(second)
        one = first[:, None].expand(*shape, *first.shape[1:]).flatten(0, 1)
        other = second[None].expand(*shape, *second.shape[1:]).flatten(0, 1)
        return self(one, other).view(shape)


def mean_maxsim(queries: Tensor, documents: Tensor) -> Tensor:
    """For each vector of a query its greatest product with one of the document's; of these the mean.

    (N, Q, D), (N, K, D) -> (N,); 0 where one of the two has no vectors. ColBERT's MaxSim (Khattab and Zaharia, SIGIR 2020) is
    the sum.
    """
    asked, there = present(queries), present(documents)  # (N, Q), (N, K)
    products = queries @ documents.transpose(-1, -2)  # (N, Q, K)
    best = products.masked_fill(~there[:, None], float("-inf")).amax(-1)  # (N, Q)
    counts = asked & there.any(-1, keepdim=True)  # (N, Q)
    return best.masked_fill(~counts, 0).sum(-1) / asked.sum(-1).clamp_min(1)


def present(sets: Tensor) -> Tensor:
    """(..., K, D) -> (..., K) which of the vectors are there."""
    return (sets.detach() != 0).any(-1)


def joined(embeddings: Sequence[Tensor]) -> Tensor:
    """Embeddings (N, D), or sets (N, K, D) filled up to one length, of all batches in one."""
    if embeddings[0].ndim == 2:
        return torch.cat(list(embeddings))
    longest = max(each.shape[1] for each in embeddings)
    return torch.cat([pad(each, (0, 0, 0, longest - each.shape[1])) for each in embeddings])


def cosine(one: Tensor, other: Tensor) -> Tensor:
    """(N, D), (N, D) -> (N,)."""
    return cosine_similarity(one, other, dim=-1)


COSINE = Similarity("cosine", cosine, directions=True)
MAXSIM = Similarity("maxsim", mean_maxsim, "MaxSim (mean over the query's vectors)", sets=True, mean=True)
