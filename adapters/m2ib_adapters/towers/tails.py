"""The way from a layer to the embedding, of an encoder whose blocks are known by their parts.

The encoder runs as it is: its masks, places, pooling and projection are its own. But the blocks up to the layer compute
nothing, those after it run by their parts, and what comes before the first one runs once for all calls with the same inputs.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from m2ib.activations.capture import Stem, give, replace_forward, replace_value
from m2ib.contract.encoder import Layer, read_first, read_sequence_first
from m2ib.contract.inputs import Inputs
from m2ib.execution.products import once
from m2ib.promises import kept_promises
from m2ib_adapters.towers.blocks import Block, run_whole
from m2ib_adapters.towers.heads import Mask
from m2ib_adapters.towers.pooled import Pooler, is_plain, plain_parts, run_one

Tail = Callable[[Tensor, int, Inputs], Tensor]
PartsOf = Callable[[Any], Block | None]
_MASKS = ("attention_mask", "attn_mask", "position_bias")


def tail_of(
    embed: Callable[[Any], Tensor],
    layers: Sequence[Layer],
    parts_of: PartsOf,
    pooled: Callable[[Any], Tensor] | None = None,
    pooler: Pooler | None = None,
) -> Tail | None:
    """What :attr:`m2ib.Encoder.tail` is, for an encoder without a stem of its own; None where a block is not known.

    embed     of the encoder
    layers    its blocks, whose tensors are (N, T, C) once they are read
    parts_of  a block by its parts; None for one that it does not know every part of
    pooled    inputs -> (N,) the one position of the last block's output that is read; None: it may be any
    pooler    what pools after the blocks, and how the embedding is found with less work. After the last layer it runs as
              it is, for who looks at how it attends
    """
    if any(each.read not in (read_first, read_sequence_first) for each in layers):
        return None  # what is read may be several rows of the block's, one after the other
    known = [parts for each in layers if (parts := parts_of(each.module)) is not None]
    if not known or len(known) < len(layers):
        return None
    tupled = [parts.tupled for parts in known]

    def tail(z: Tensor, layer: int, inputs: Inputs) -> Tensor:
        index = None if pooled is None else pooled(inputs)  # (M,)
        # with the inputs themselves, so that no others come to lie there
        stem, _ = once(("stem", layer, id(inputs), layers[0].module), lambda: (Stem(), inputs))

        def current() -> Tensor:
            stem.passed()
            return z

        after = [(each, plain_parts(each.module, parts_of)) for each in layers[layer + 1 :]]
        with kept_promises():
            if layer == -1:
                first = replace(layers[0], at="input")
                replace_value(first, lambda given: first.write(given, current()))
            for each, in_tuple in zip(layers[: layer + 1], tupled, strict=False):
                give(each, partial(_given, each, in_tuple, current))
            for each, parts in after:
                if parts is not None:
                    read = index if each is layers[-1] else None
                    run = partial(_run, each, parts, read, each.module.forward)
                    replace_forward(each.module, run)
            if pooler is not None and layer < len(layers) - 1 and is_plain(pooler[0]):
                replace_forward(*pooler)
            return stem.run(lambda: embed(inputs))

    return tail


def _given(layer: Layer, tupled: bool, z: Callable[[], Tensor]) -> Any:
    """z as the block gives it."""
    output = layer.write(None, z())
    return (output,) if tupled else output


def _run(
    layer: Layer,
    block: Block,
    index: Tensor | None,
    own: Callable[..., Any],
    *args: Any,
    **kwargs: Any,
) -> Any:
    """The block's forward by its parts; its ``own`` where it is called with what is not known here.

    index  the one position that is read; every other one is given what stands there
    """
    names = once(("names", type(layer.module)), lambda: tuple(inspect.signature(own).parameters))
    given = dict(zip(names, args, strict=False)) | kwargs
    x = layer.read(given.pop(names[0]))  # (M, T, C)
    places, causal = given.pop("rope", None), given.pop("is_causal", False)
    masks = [given.pop(name) for name in _MASKS if given.get(name) is not None]
    if causal and not masks:
        masks = [x.new_full((x.shape[1], x.shape[1]), float("-inf")).triu(1)]
    added = [each for mask in masks if (each := _added(mask, x, block.heads)) is not None]
    unknown = any(value is not None and value is not False for value in given.values())
    # On other devices torch's own attention is as good, and needs less memory.
    if unknown or len(added) < len(masks) or (index is None and x.device.type != "cpu"):
        return own(*args, **kwargs)
    mask = sum(added[1:], added[0]) if added else None
    if index is None:
        z = run_whole(block, x, mask, places)
    else:
        z = run_one(block, x, index, mask, places)[:, None].expand_as(x)
    return _given(layer, block.tupled, lambda: z)


def _added(mask: Any, x: Tensor, heads: int) -> Mask | None:
    """A mask as what is added to the scores; None for one of another kind."""
    if not isinstance(mask, Tensor):
        return None
    if mask.dtype is torch.bool:  # where it is true, a token is seen
        mask = x.new_zeros(mask.shape).masked_fill_(~mask, float("-inf"))
    if mask.ndim == 3 and len(mask) == len(x) * heads:
        return mask.unflatten(0, (-1, heads))
    if mask.ndim == 2 and mask.shape[0] == mask.shape[1] == x.shape[1]:
        return mask[None, None]
    return mask if mask.ndim == 4 else None
