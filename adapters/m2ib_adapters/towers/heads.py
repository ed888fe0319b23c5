"""Attention of all tokens to each other by several heads, and its gradient, on a processor.

::

    p = softmax(s q k^T),  o = p v
    dv = p^T do,  dp = do v^T,  ds = p * (dp - sum_k p dp),  dq = s ds k,  dk = s ds^T q

The patterns p are formed whole: for the few hundred tokens of an encoder that is faster than torch's own attention,
which makes them piece by piece and twice, and whose gradient takes several times as long for halves. They are float32
for halves, too.
"""

from __future__ import annotations

import torch
from torch import Tensor

_KEPT = 2**23  # numbers of patterns that are kept for the gradient; more are formed once again
_AT_ONCE = 2**24

Mask = Tensor
"""What is added to the scores before softmax, (M or 1, heads or 1, T or 1, K): -inf or a dtype's least where none is seen."""


class Heads:
    """Queries, keys and values of M inputs by head: R = M * heads rows of (T, d).

    query, key, value  (M, T, C) each
    extra              one more key and value, (C,) each, after those of the tokens
    mask               what is added to the scores, as :data:`Mask`; not beside ``extra``
    """

    def __init__(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        heads: int,
        extra: tuple[Tensor, Tensor] | None = None,
        *,
        mask: Mask | None = None,
    ) -> None:
        self._heads, self._dtype = heads, query.dtype
        self._query = self._apart(query)  # (R, T, d)
        self._key, self._value = (
            self._apart(each, more)
            for each, more in zip((key, value), extra or (None, None), strict=True)  # (R, K, d)
        )
        self._tokens = query.shape[1]
        numbers = self._tokens * self._key.shape[1]  # of one row's pattern
        self._parts = range(0, len(self._query), max(1, _AT_ONCE // numbers))
        self._keeps = len(self._parts) == 1 and numbers * len(self._query) <= _KEPT
        self._kept: Tensor | None = None
        self._mask: Tensor | None = None  # (R or 1, T or 1, K)
        if mask is not None:
            each = mask if len(mask) == mask.shape[1] == 1 else mask.expand(len(query), heads, -1, -1)
            self._mask = each.flatten(0, 1).to(self._query.dtype)

    def mixed(self) -> Tensor:
        """(M, T, C)."""
        out = torch.empty_like(self._query)
        for rows in self._slices():
            patterns = self._patterns(rows)
            torch.bmm(patterns, self._value[rows], out=out[rows])
            if self._keeps:
                self._kept = patterns
        return self._together(out)

    def gradients(self, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """At query, key and value, (M, T, C) each, from that at :meth:`mixed`."""
        back = self._apart(gradient)  # (R, T, d)
        query, key, value = (torch.empty_like(each) for each in (self._query, self._key, self._value))
        for rows in self._slices():
            patterns = self._patterns(rows) if self._kept is None else self._kept  # (rows, T, K)
            torch.bmm(patterns.transpose(1, 2), back[rows], out=value[rows])
            scores = torch.bmm(back[rows], self._value[rows].transpose(1, 2))
            scores = torch.ops.aten._softmax_backward_data(scores, patterns, -1, scores.dtype)
            scores *= self._query.shape[-1] ** -0.5
            torch.bmm(scores, self._key[rows], out=query[rows])
            torch.bmm(scores.transpose(1, 2), self._query[rows], out=key[rows])
        return self._together(query), self._together(key), self._together(value)

    def _slices(self) -> list[slice]:
        """The rows, so many at once that their patterns are not too much for memory."""
        step = self._parts.step
        return [slice(start, start + step) for start in self._parts]

    def _patterns(self, rows: slice) -> Tensor:
        """(rows, T, K), each query's sums to 1."""
        query, key = self._query[rows], self._key[rows].transpose(1, 2)
        scale = query.shape[-1] ** -0.5
        if self._mask is None:
            return torch.baddbmm(query.new_empty(()), query, key, beta=0, alpha=scale).softmax(-1)
        mask = self._mask if len(self._mask) == 1 else self._mask[rows]
        return torch.baddbmm(mask, query, key, alpha=scale).softmax(-1)

    def _apart(self, x: Tensor, more: Tensor | None = None) -> Tensor:
        """(M, T, C) -> (R, T, d), no halves any more; with one row more for each head of ``more`` (C,)."""
        x = x.unflatten(-1, (self._heads, -1)).transpose(1, 2)  # (M, H, T, d)
        tokens = x.shape[2]
        wide = torch.promote_types(x.dtype, torch.float32)
        rows = x.new_empty(*x.shape[:2], tokens + (more is not None), x.shape[3], dtype=wide)
        rows[:, :, :tokens] = x
        if more is not None:
            rows[:, :, tokens] = more.unflatten(0, (self._heads, -1))
        return rows.flatten(0, 1)

    def _together(self, rows: Tensor) -> Tensor:
        """(R, T or more, d) -> (M, T, C)."""
        x = rows.unflatten(0, (-1, self._heads))[:, :, : self._query.shape[1]].transpose(1, 2)
        return x.to(self._dtype).flatten(2)
