"""Which part of a module is to blame, and what to write instead."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils import _pytree as pytree

from m2ib.adapting.shapes import shape_text
from m2ib.contract.inputs import Inputs
from m2ib.execution.context import hook
from m2ib.promises import kept_promises

_DROPOUT = (
    "; give dropout training=self.training, and scaled_dot_product_attention a dropout_p of 0 where self.training is False "
    "(m2ib runs a module in evaluation mode)"
)


def random_part(module: nn.Module, embed: Callable[[], Any]) -> str:
    """How a message goes on: where two passes over the same inputs first differ."""
    first, second = (_passed(module, embed) for _ in range(2))
    for one, other in zip_longest(first, second):
        if one != other:
            name, kind, *_ = one or other
            mine = one is not None and other is not None and one[2] == other[2]
            return (
                f". The first that differs is {'' if mine else 'what is given to '}{name} ({kind}){_DROPOUT}"
            )
    return f". No part of the module differs: it is what embed does after the last of them{_DROPOUT}"


def _passed(module: nn.Module, embed: Callable[[], Any]) -> list[tuple[str, str, list[float], list[float]]]:
    """(name, class, sums of what it was given, of what it gave) of each part, the inner ones before the outer ones."""
    seen: list[tuple[str, str, list[float], list[float]]] = []

    def see(name: str, part: nn.Module, given: Any, output: Any) -> None:
        seen.append((name or "the module", type(part).__name__, _sums(given), _sums(output)))

    with kept_promises(), torch.no_grad():
        for name, part in module.named_modules():
            hook(part, partial(see, name), before=False)
        embed()
    return seen


def _sums(values: Any) -> list[float]:
    return [
        float(leaf.double().nan_to_num().sum())
        for leaf in pytree.tree_leaves(values)
        if isinstance(leaf, Tensor)
    ]


def mixed_batch(module: nn.Module, inputs: Sequence[Inputs]) -> str:
    """How a message goes on: why these inputs have other embeddings in a batch than alone."""
    if len(set(map(shape_text, inputs))) > 1:
        return (
            ": collate pads with something that the model reads. Mask it in the blocks and in the pooling, as in a mean over "
            "the tokens that are there alone; or leave `collate` out, and inputs of different lengths run apart"
        )
    return (
        ": embed mixes the rows of the batch; nothing may be computed over axis 0, by which inputs are told apart"
        + batch_statistics(module)
    )


def batch_statistics(module: nn.Module) -> str:
    """How a message goes on, where parts normalise over the batch that they get."""
    parts = [
        f"{name or 'the module'} ({type(part).__name__})"
        for name, part in module.named_modules()
        if isinstance(part, _BatchNorm) and (part.training or part.running_mean is None)
    ]
    if not parts:
        return ""
    return (
        f". {parts[0]} normalises by the batch's own mean and variance: use running ones (track_running_stats=True), and let "
        "embed leave it in evaluation mode"
    )
