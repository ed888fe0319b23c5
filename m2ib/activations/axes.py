"""Whether what a layer's ``read`` gives has its axes where they belong, and what to write where it does not."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from m2ib.contract.encoder import Encoder, Layer, read_first
from m2ib.contract.inputs import Inputs
from m2ib.errors import AdapterError, InputError

_SEQUENCE_FIRST = "read=m2ib.read_sequence_first, write=m2ib.write_sequence_first"


def read_checked(encoder: Encoder, number: int, output: Any, inputs: Inputs) -> Tensor:
    """The activation of a layer, whose ``write`` puts back what its ``read`` gives.

    inputs  (N, ...) the encoder's

    Raises :class:`AdapterError` for one without the batch first, with what was seen and what to write.
    """
    layer = encoder.layer(number)
    who = f"{encoder.modality}: layer {number} ({layer.name})"
    rows = len(inputs if isinstance(inputs, Tensor) else next(iter(inputs.values())))
    activation: Any = layer.read(output)
    if not isinstance(activation, Tensor):
        raise AdapterError(
            f"{who}: read gives a {type(activation).__name__}, not a tensor; leave `read` and `write` out, or give "
            "read=m2ib.read_first, write=m2ib.write_first, which take the first of a tuple"
        )
    if activation.ndim < 3 or len(activation) != rows:
        given = "one input" if rows == 1 else f"{rows} inputs"
        raise AdapterError(
            f"{who}: read gives {tuple(activation.shape)} for {given}; the batch axis must come first and have "
            f"{'one row' if rows == 1 else f'{rows} rows'}, then positions and channels{_cure(layer, output, rows)}"
        )
    written = layer.write(output, activation)
    if isinstance(written, Tensor) and not isinstance(output, Tensor):
        raise AdapterError(
            f"{who}: the block gives a {type(output).__name__}, and write gives a tensor in its place, so what comes after cannot "
            "take it apart; leave `write` out, or give write=m2ib.write_first, which puts the tensor into the tuple"
        )
    return activation


def _cure(layer: Layer, output: Any, rows: int) -> str:
    """What to write, by the shape of what the block gives."""
    try:
        shape = tuple(read_first(output).shape)
    except InputError:
        return ""
    if len(shape) == 3 and shape[0] != rows and shape[1] == rows:
        return (
            f". What the block gives is {shape}, which looks like (T, N, C), sequence first: give m2ib.Layer(module, name, "
            f"{_SEQUENCE_FIRST}); to m2ib.adapt an example, as Encoder(examples=...), which shows it"
        )
    if len(shape) > 2 and shape[0] == rows:
        kind = "(N, T, C)" if len(shape) == 3 else "(N, ...)"
        return (
            f". What the block gives is {shape}, which looks like {kind}, batch first: leave `read` and `write` "
            "of its m2ib.Layer out"
        )
    return (
        f". What the block gives is {shape}, in which no axis looks like the batch's: name a part around it whose output has "
        "one, (N, positions, channels), or give m2ib.Layer a `read` and a `write` that make one"
    )
