"""Checks of what an adapter says of positions: that it fits what passes at the layers, and what changing the input shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import permutations, product
from typing import Any

import numpy as np
from torch import Tensor

from m2ib.activations.capture import record
from m2ib.adapting.layouts import Proof
from m2ib.adapting.shapes import keeps_proportions, shape_text
from m2ib.contract.encoder import Encoder
from m2ib.contract.inputs import Inputs, Item
from m2ib.contract.layout import Layout
from m2ib.errors import InputError
from m2ib.testing.context import CheckContext
from m2ib.testing.results import CheckFailed, require, shape_of


def check_layout(context: CheckContext) -> None:
    """The layout fits the activation of every layer, and is that of the input."""
    encoder = context.encoder
    for number, item in enumerate(context.items):
        layout = item.layout
        require(isinstance(layout, Layout), f"example {number}: the layout is a {type(layout).__name__}")
        inputs, last = context.batch(item), len(encoder.blocks) - 1
        outputs = record(encoder, inputs, -1).outputs | record(encoder, inputs, last).outputs
        for depth, output in outputs.items():
            where = f"example {number}, {context.named(depth)}"
            _check_channels(where, encoder, depth, output, inputs)
            _check_fits(where, layout, encoder, depth, output)
        _check_tokens(f"example {number}", item)
    _check_shown(context, context.items[0])


def _check_channels(where: str, encoder: Encoder, depth: int, output: Any, inputs: Inputs) -> None:
    """A map is not read with its channels for rows or columns."""
    a, axis = encoder.layer(depth).read(output), encoder.layer(depth).channel_axis
    if a.ndim != 4 or not isinstance(inputs, Tensor) or not inputs.is_floating_point():
        return
    shape, sizes = tuple(a.shape), tuple(inputs.shape[1:])
    first, last = keeps_proportions(shape[2:], sizes), keeps_proportions(shape[1:3], sizes)
    seen = f"{where}: a map {shape} of an input {shape_text(inputs)}"
    require(
        axis % 4 != 3 or last or not first,
        f"{seen} looks like (N, C, rows, columns), and is read as (N, rows, columns, C); give m2ib.Layer(module, name, "
        "channel_axis=1), or m2ib.adapt an example, which shows it",
    )
    require(
        axis % 4 != 1 or first or not last,
        f"{seen} looks like (N, rows, columns, C), and is read as (N, C, rows, columns); leave channel_axis out, or give "
        "channel_axis=-1",
    )


def _check_fits(where: str, layout: Layout, encoder: Encoder, depth: int, output: Any) -> None:
    a = encoder.layer(depth).read(output)
    axis = encoder.layer(depth).channel_axis
    positions = np.zeros([size for place, size in enumerate(a.shape) if place not in (0, axis % a.ndim)])
    hint = f"(channel_axis {axis} of {shape_of(a)})"
    if layout.index is not None:
        places = layout.index
        require(len(set(places)) == len(places), f"{where}: index repeats positions")
        require(
            all(0 <= place < positions.size for place in places),
            f"{where}: index reaches from {min(places, default=0)} to {max(places, default=0)}, "
            f"outside the activation's {positions.size} positions {hint}",
        )
    if layout.read is not None:
        require(
            0 < layout.read <= a.shape[1], f"{where}: read is {layout.read} of {a.shape[1]} positions {hint}"
        )
    try:
        layout.to_grid(positions)
    except InputError as error:
        raise CheckFailed(f"{where}: {error} {hint}") from None


def _check_tokens(where: str, item: Item) -> None:
    tokens = item.layout.tokens
    if not tokens:
        return
    size = int(np.prod(item.layout.grid or (0,)))
    require(len(tokens) == size, f"{where}: {len(tokens)} tokens for a grid of {item.layout.grid}")
    require(not all(token.special for token in tokens), f"{where}: every token is special")
    text = item.view.get("text") if isinstance(item.view, Mapping) else None
    require(
        isinstance(text, str), f"{where}: the layout has tokens, so the view must be a dict with the 'text'"
    )
    for token in tokens:
        require(
            0 <= token.start <= token.end <= len(text or ""),
            f"{where}: the token {token.text!r} reaches from {token.start} to {token.end} in a text of {len(text or '')}",
        )


def _check_shown(context: CheckContext, item: Item) -> None:
    """Where changing patches of the input shows which position is which, that is what the layout says."""
    if item.layout.tokens or item.layout.grid is None:
        return
    shown = Proof(context.model, context.encoder, looked_at=True).shown(item.inputs)
    places = context.places(item, -1)
    if shown is None or shown.grid is None or places.ndim > 1:
        return
    told, seen = item.layout.to_grid(places), shown.to_grid(places)
    require(
        told.size != seen.size
        or any(np.array_equal(told.squeeze(), each) for each in _turned(seen.squeeze())),
        f"example 0: changing parts of the input shows other positions than the layout tells: the grid is {shown.grid}, its cells "
        f"the positions {_run(seen)}, not {item.layout.grid} of {_run(told)}; give Layout(grid={shown.grid}"
        f"{'' if shown.index is None else f', index={_index(shown.index)}'})",
    )


def _turned(grid: np.ndarray) -> Iterator[np.ndarray]:
    """A grid with its axes in any order, each from either end: frequencies may be told from below, and before the time."""
    for order in permutations(range(grid.ndim)):
        for steps in product((1, -1), repeat=grid.ndim):
            yield grid.transpose(order)[tuple(slice(None, None, step) for step in steps)]


def _run(places: np.ndarray) -> str:
    return f"{places.min()} to {places.max()}"


def _index(places: tuple[int, ...]) -> str:
    whole = range(places[0], places[0] + len(places))
    return f"tuple(range({whole.start}, {whole.stop}))" if places == tuple(whole) else f"{places!s:.80}"
