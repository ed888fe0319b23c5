"""What the blocks of a transformer attend to, whichever library they come from.

While an encoder runs, every call of ``torch.nn.functional.scaled_dot_product_attention`` inside a block is computed
step by step, so that its pattern is there, and in the graph where there is one::

    A = softmax(scale q k^T + mask)        o = A v

``nn.MultiheadAttention`` gets there too: with functions seen one by one it does not take its shortcut.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import multi_head_attention_forward, scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

from m2ib.activations.capture import check_differentiable, cut_graph
from m2ib.contract.encoder import Encoder
from m2ib.contract.inputs import Inputs
from m2ib.errors import AdapterError
from m2ib.execution.context import hook, this_thread
from m2ib.promises import kept_promises

_ONE_CALL = "torch.nn.functional.scaled_dot_product_attention"


@dataclass(frozen=True)
class Attended:
    """One call of attention. There are N * clips rows; mask and scale are in the pattern.

    query    (rows, heads, Q, d)
    key      (rows, heads, K, d)
    value    (rows, heads, K, e)
    pattern  (rows, heads, Q, K), each query's sums to 1, or is 0 where everything is masked; float32 or wider
    mixed    (rows, heads, Q, e) pattern times value
    """

    query: Tensor
    key: Tensor
    value: Tensor
    pattern: Tensor
    mixed: Tensor


@dataclass(frozen=True)
class Watched:
    """One run of an encoder.

    embedding  (N, D), unnormalised
    blocks     what each block from the first watched one on attended to
    outputs    what these blocks gave, as their layers read it: (N, positions, channels)
    pooling    what was attended to after the last block, to make one embedding of all positions; None: nothing
    """

    embedding: Tensor
    blocks: tuple[Attended, ...]
    outputs: tuple[Tensor, ...]
    pooling: Attended | None

    @property
    def calls(self) -> tuple[Attended, ...]:
        """All there are, in order."""
        return self.blocks if self.pooling is None else (*self.blocks, self.pooling)


def watch(encoder: Encoder, inputs: Inputs, first: int = 0) -> Watched:
    """Embed ``inputs`` (N, ...) once and see the blocks from ``first`` on.

    With gradients enabled, everything from the first pattern on is in the graph, although weights and inputs need no
    gradient. Raises :class:`AdapterError` for a block that does not attend by exactly one call.
    """
    return watch_run(encoder, lambda: encoder.embed(inputs), first)


def watch_run(encoder: Encoder, run: Callable[[], Tensor], first: int) -> Watched:
    """:func:`watch` for any way to the embedding; with ``first`` = the number of blocks, for one that runs none."""
    if encoder.attention is None:
        raise AdapterError(f"{encoder.modality}: the encoder has no `attention` to watch")
    if torch.is_grad_enabled():
        check_differentiable(encoder, first - 1)
    watcher, by_sdpa = _Watcher(encoder, first), encoder.attention.by_sdpa
    with nullcontext() if by_sdpa is None else by_sdpa(), kept_promises():
        for number in range(first, len(encoder.blocks)):
            watcher.follow(number)
        with watcher:
            embedding = run()  # (N, D)
    return watcher.seen(embedding)


class _Watcher(TorchFunctionMode):
    """Keeps what is attended to, block by block. Works in this thread alone."""

    def __init__(self, encoder: Encoder, first: int) -> None:
        super().__init__()
        self._encoder = encoder
        self._first = first
        self._inside: int | None = None  # the block that is running
        self._over = first == len(encoder.blocks)  # the last block has run
        self._calls: dict[int, list[Attended]] = {n: [] for n in range(first, len(encoder.blocks))}
        self._pooling: list[Attended] = []
        self._outputs: dict[int, Tensor] = {}

    def follow(self, number: int) -> None:
        """Know when this block begins and ends, until the promise is kept."""
        layer, ours = self._encoder.blocks[number], this_thread()

        def begin(module: nn.Module, args: Any) -> Any:
            if not ours():
                return None
            self._inside = number
            if number == self._first and args:  # what comes before has no part in any gradient
                return args[0].detach(), *args[1:]
            return None

        def end(module: nn.Module, args: Any, output: Any) -> None:
            if not ours():
                return
            self._inside = None
            self._outputs[number] = layer.read(output)
            self._over = number == len(self._encoder.blocks) - 1

        hook(layer.module, begin, before=True)
        hook(layer.module, end, before=False)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self._inside is None and not self._over:
            return func(*args, **kwargs)
        if func is scaled_dot_product_attention:
            return self._attend(*args, **kwargs)
        if func is multi_head_attention_forward:  # functions inside it are not seen, so it runs with ours
            return _calling(self._attend)(*args, **kwargs)
        return func(*args, **kwargs)

    def _attend(self, *args: Any, **kwargs: Any) -> Tensor:
        attended = attend(*args, **kwargs)
        if attended.pattern.ndim != 4:
            raise AdapterError(
                f"{self._where()} attends with a pattern of shape {tuple(attended.pattern.shape)}; methods that read "
                "attention take (N, heads, queries, keys): leave out `attention` from this Encoder"
            )
        (self._pooling if self._inside is None else self._calls[self._inside]).append(attended)
        return attended.mixed

    def _where(self) -> str:
        if self._inside is None:
            return f"{self._encoder.modality}: the pooling after the last block"
        return f"{self._encoder.modality}: layer {self._inside} ({self._encoder.blocks[self._inside].name})"

    def seen(self, embedding: Tensor) -> Watched:
        for number, calls in self._calls.items():
            self._inside = number
            if len(calls) != 1:
                raise AdapterError(
                    f"{self._where()} called {_ONE_CALL} {len(calls)} times, not once; methods that read attention "
                    "see nothing else: let the block attend by it (`Attention.by_sdpa`), or leave out `attention` "
                    "from this Encoder"
                )
        self._inside = None
        if len(self._pooling) > 1:
            raise AdapterError(
                f"{self._where()} called {_ONE_CALL} {len(self._pooling)} times; methods that read attention are "
                "defined for one: leave out `attention` from this Encoder"
            )
        numbers = sorted(self._calls)
        return Watched(
            embedding,
            tuple(self._calls[n][0] for n in numbers),
            tuple(self._outputs[n] for n in numbers),
            self._pooling[0] if self._pooling else None,
        )


def _calling(attention: Callable[..., Tensor]) -> Callable[..., Any]:
    """torch's multi-head attention as it is, but for the function it attends by."""
    forward: Any = multi_head_attention_forward
    names = {**forward.__globals__, "scaled_dot_product_attention": attention}
    own = FunctionType(forward.__code__, names, forward.__name__, forward.__defaults__, forward.__closure__)
    own.__kwdefaults__ = forward.__kwdefaults__
    return own


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Attended:
    """``scaled_dot_product_attention`` step by step, in float32 or wider; there is no dropout.

    query (..., heads, Q, d), key (..., heads, K, d), value (..., heads, K, e); ``enable_gqa``: those of fewer heads.
    Where gradients are enabled the pattern has one.
    """
    if enable_gqa:
        copies = query.shape[-3] // key.shape[-3]
        key, value = key.repeat_interleave(copies, -3), value.repeat_interleave(copies, -3)
    wide = torch.promote_types(query.dtype, torch.float32)
    factor = query.shape[-1] ** -0.5 if scale is None else scale
    scores = (query.to(wide) * factor) @ key.to(wide).transpose(-2, -1)  # (..., heads, Q, K)
    if is_causal:
        before = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()  # (Q, K)
        scores = scores.masked_fill(~before, float("-inf"))
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        scores = scores.masked_fill(~attn_mask, float("-inf"))
    elif attn_mask is not None:
        scores = scores + attn_mask.to(wide)
    blind = (scores == float("-inf")).all(-1, keepdim=True)  # (..., Q, 1) queries that see nothing
    pattern = scores.masked_fill(blind, 0).softmax(-1).masked_fill(blind, 0)  # (..., heads, Q, K)
    if torch.is_grad_enabled() and not pattern.requires_grad:
        pattern.requires_grad_()
    mixed = (pattern @ value.to(wide)).to(query.dtype)  # (..., heads, Q, e)
    return Attended(query, key, value, pattern, mixed)


def gradients(similarity: Tensor, at: Sequence[Tensor], encoder: Encoder) -> tuple[Tensor, ...]:
    """d similarity_n / d tensor for each row n of (N,); 0 where it does not depend on it. The graph is freed.

    Raises :class:`AdapterError` where it depends on none of them.
    """
    found: Sequence[Tensor | None] = ()
    if similarity.requires_grad:
        found = torch.autograd.grad(similarity.sum(), at, allow_unused=True)
    if all(gradient is None for gradient in found):
        raise cut_graph(encoder, len(encoder.blocks) - 1)
    return tuple(
        torch.zeros_like(tensor) if gradient is None else gradient
        for tensor, gradient in zip(at, found, strict=True)
    )
