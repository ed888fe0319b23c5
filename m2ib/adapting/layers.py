"""Which parts of a module are the blocks of an encoder, and where their activations have the batch and the channels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from m2ib.activations.capture import replace_value
from m2ib.adapting.shapes import keeps_proportions, shape_text
from m2ib.contract.encoder import (
    Encoder,
    Layer,
    Layers,
    read_first,
    read_sequence_first,
    write_first,
    write_sequence_first,
)
from m2ib.contract.inputs import Inputs, repeat_inputs
from m2ib.contract.model import Model
from m2ib.errors import AdapterError, M2IBError, did_you_mean
from m2ib.execution.context import hook
from m2ib.promises import kept_promises

_LISTS = (nn.ModuleList, nn.Sequential)
_WAY_OUT = (
    "give an m2ib.Layer(module, name, channel_axis=..., read=..., write=...) that says where they are: channel_axis=1 for "
    "(N, C, rows, columns), -1 for (N, rows, columns, C); for (T, N, C) read=m2ib.read_sequence_first and "
    "write=m2ib.write_sequence_first"
)


def find_layers(module: nn.Module, layers: Layers, ran: Sequence[str] | None, who: str) -> tuple[Layer, ...]:
    """The blocks, by name or by the rule of :func:`m2ib.adapt`.

    ran  the names of the parts that ran once, in order; None where there is no example

    Raises :class:`AdapterError`.
    """
    if isinstance(layers, str):
        part = _part(module, layers, who)
        if not isinstance(part, _LISTS):
            return (Layer(part, layers),)
        return tuple(named_layer(module, f"{layers}.{name}", who) for name, _ in part.named_children())
    if layers:
        return tuple(each if isinstance(each, Layer) else named_layer(module, each, who) for each in layers)
    found = {name: list(children) for name, children in _lists(module)}
    if ran is not None:
        in_order = {name: [part for part in ran if part in children] for name, children in found.items()}
        found = {name: children for name, children in found.items() if in_order[name] == children}
        most = max(map(len, found.values()), default=0)
        found = {name: children for name, children in found.items() if len(children) == most}
    if len(found) == 1:
        (children,) = found.values()
        return tuple(named_layer(module, child, who) for child in children)
    way_out = 'name the list, as in Encoder(layers="visual.blocks"), or each block'
    if not found:
        lists = ", ".join(name for name, _ in _lists(module)) or "none"
        when = "" if ran is None else " whose children each run once, in order, when the example is embedded"
        raise AdapterError(
            f"{who}: no layers were given, and there is no list of blocks of one class{when} (lists: {lists}); {way_out}"
        )
    listed = ", ".join(f"{name} ({len(children)})" for name, children in found.items())
    more = "; or give an example, and those are taken that run" if ran is None else ""
    raise AdapterError(
        f"{who}: no layers were given, and several lists could be its blocks: {listed}; {way_out}{more}"
    )


def named_layer(module: nn.Module, name: str, who: str) -> Layer:
    """The part of this dotted name as a layer; its activation the first tensor of its output, (N, ..., C)."""
    return Layer(_part(module, name, who), name)


def _part(module: nn.Module, name: str, who: str) -> nn.Module:
    parts: dict[str, nn.Module] = dict(module.named_modules())
    if not isinstance(name, str) or name not in parts:
        tops = ", ".join(child for child, _ in module.named_children())
        raise AdapterError(
            f"{who}: the module has no part {name!r}{did_you_mean(str(name), list(parts))} Its parts are {tops}"
        )
    return parts[name]


def _lists(module: nn.Module) -> Iterator[tuple[str, list[str]]]:
    """Lists of two blocks or more of one class: (name, names of the children)."""
    for name, part in module.named_modules():
        children = list(part.children())
        if isinstance(part, _LISTS) and len(children) > 1 and len({type(child) for child in children}) == 1:
            prefix = f"{name}." if name else ""
            yield name, [prefix + child for child, _ in part.named_children()]


def run_order(model: Model, embed: Callable[[Inputs], Tensor], batch: Inputs, who: str) -> list[str]:
    """The names of the parts that run exactly once while ``batch`` is embedded, in the order they begin.

    Raises :class:`AdapterError` where it cannot be embedded.
    """
    begun: list[str] = []
    with kept_promises():
        for name, part in model.module.named_modules():
            hook(part, lambda _part, _args, name=name: begun.append(name), before=True)
        embedded(model, embed, batch, who)
    return [name for name in begun if begun.count(name) == 1]


def embedded(model: Model, embed: Callable[[Inputs], Tensor], batch: Inputs, who: str) -> None:
    """Embed, for what is seen on the way. Raises :class:`AdapterError` with the shapes where that fails."""
    try:
        with torch.no_grad():
            out: Any = embed(batch)
    except M2IBError:
        raise
    except Exception as error:  # whatever the module makes of an input that is not for it
        raise AdapterError(
            f"{who}: embed raised {type(error).__name__} on inputs {shape_text(batch)}, which is what prepare gives with a "
            f"batch axis before it: {' '.join(str(error).split()):.200}"
        ) from error
    count = len(batch if isinstance(batch, Tensor) else next(iter(batch.values())))
    sets = model.similarity.sets
    if not isinstance(out, Tensor) or out.ndim != 2 + sets or len(out) != count:
        got = shape_text(out) if isinstance(out, Tensor) else f"a {type(out).__name__}"
        raise AdapterError(
            f"{who}: embed gives {got} for inputs {shape_text(batch)}; it must be ({count}, {'K, ' if sets else ''}D)"
        )


def looked_at(
    model: Model, encoder: Encoder, batch: Inputs, named: Sequence[bool], who: str
) -> tuple[Layer, ...]:
    """The stem and the blocks of an encoder, with the axes of those that were ``named`` found.

    batch  one input

    Two inputs are run after one: what grows is the batch. Raises :class:`AdapterError` with the shapes seen.
    """
    layers = [encoder.layer(number) for number in range(-1, len(encoder.blocks))]
    one, two = (_outputs(model, encoder, layers, repeat_inputs(batch, count), who) for count in (1, 2))
    return tuple(
        _placed(layer, one[number], two[number], batch, who) if named[number] else layer
        for number, layer in enumerate(layers)
    )


def _outputs(
    model: Model, encoder: Encoder, layers: Sequence[Layer], batch: Inputs, who: str
) -> list[tuple[int, ...]]:
    """The shape of what passes at each layer."""
    shapes: dict[int, tuple[int, ...]] = {}

    def look(number: int, value: Any) -> Any:
        if number in shapes:
            raise AdapterError(f"{who}: layer {layers[number].name!r} runs more than once for one input")
        shapes[number] = tuple(read_first(value).shape)
        return value

    with kept_promises():
        for number, layer in enumerate(layers):
            replace_value(layer, partial(look, number))
        embedded(model, encoder.embed, batch, who)
    for number, layer in enumerate(layers):
        if number not in shapes:
            raise AdapterError(f"{who}: layer {layer.name!r} does not run when an input is embedded")
    return [shapes[number] for number in range(len(layers))]


def _placed(layer: Layer, one: tuple[int, ...], two: tuple[int, ...], batch: Inputs, who: str) -> Layer:
    """``layer`` with the axes of batch and channels that its shapes for one input and for two show."""
    saw = f"{who}: layer {layer.name!r} gives {one} for one input {shape_text(batch)} and {two} for two"
    grown = [axis for axis, (a, b) in enumerate(zip(one, two, strict=False)) if a != b]
    if len(one) != len(two) or len(grown) != 1 or (one[grown[0]], two[grown[0]]) != (1, 2) or grown[0] > 1:
        raise AdapterError(f"{saw}: which axis is the batch cannot be told; {_WAY_OUT}")
    read, write = (read_first, write_first) if grown == [0] else (read_sequence_first, write_sequence_first)
    layer = replace(layer, read=read, write=write)
    if len(one) == 3:
        return layer  # (N, T, C); the layout is proven with it, or not
    sizes = batch.shape[1:] if isinstance(batch, Tensor) and batch.is_floating_point() else ()
    ways = [
        axis
        for axis, positions in ((1, one[2:]), (-1, one[1:-1]))
        if len(one) > 3 and keeps_proportions(positions, tuple(sizes))
    ]
    if grown != [0] or len(ways) != 1:
        raise AdapterError(f"{saw}: which axis holds the channels cannot be told; {_WAY_OUT}")
    return replace(layer, channel_axis=ways[0])
