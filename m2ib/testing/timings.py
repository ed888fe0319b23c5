"""How long a step of a fit takes, through the encoder's tail and through all of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch import Tensor

from m2ib.activations.capture import Tail, record, replaced_value
from m2ib.contract.encoder import Encoder
from m2ib.contract.inputs import Inputs, repeat, repeat_inputs
from m2ib.contract.model import Model
from m2ib.methods.bottleneck.settings import FitSettings

COPIES = FitSettings(layer=0).samples
_RUNS, _ENOUGH = 5, 5.0  # runs after a warm-up, and seconds after which no more are begun


@dataclass(frozen=True)
class Timing:
    """Of one encoder; medians, in milliseconds. A step is forward and backward with ``COPIES`` copies of one input.

    layer             the encoder's default
    forward_ms        ``embed`` of one input, without gradient
    whole_step_ms     a step through everything, back to the embedding output
    tail_step_ms      a step from the layer on: ``embed`` with the earlier blocks skipped
    own_tail_step_ms  the same through the encoder's own tail; None for one without
    """

    modality: str
    layer: int
    forward_ms: float
    whole_step_ms: float
    tail_step_ms: float
    own_tail_step_ms: float | None

    @property
    def ratio(self) -> float:
        """Of the step that a fit takes to one through everything."""
        return (self.own_tail_step_ms or self.tail_step_ms) / self.whole_step_ms


def time_encoder(model: Model, modality: str, raw: Any) -> Timing:
    """Of one encoder, on one raw input."""
    encoder, item = model.encoder(modality), model.item(modality, raw)
    layer = encoder.default_layer
    with model.running():
        inputs = model.collate(modality, [item])
        recording = record(encoder, inputs, layer)

        def forward() -> None:
            with torch.no_grad():
                encoder.embed(inputs)

        def through(fast: bool) -> float:
            z = repeat(recording.activation, COPIES).clone().requires_grad_()
            with torch.enable_grad(), Tail(recording, COPIES, fast=fast) as tail:
                return _milliseconds(model, lambda: _back(tail(z), z))

        return Timing(
            modality,
            layer,
            forward_ms=_milliseconds(model, forward),
            whole_step_ms=_whole(model, encoder, inputs),
            tail_step_ms=through(fast=False),
            own_tail_step_ms=None if encoder.tail is None else through(fast=True),
        )


def _whole(model: Model, encoder: Encoder, inputs: Inputs) -> float:
    copies, place = repeat_inputs(inputs, COPIES), encoder.layer(-1)
    leaves: list[Tensor] = []

    def leaf(value: Any) -> Any:
        leaves[:] = [place.read(value).detach().requires_grad_()]
        return place.write(value, leaves[0])

    def step() -> None:
        out = encoder.embed(copies)
        _back(out, leaves[0])

    with torch.enable_grad(), replaced_value(place, leaf):
        return _milliseconds(model, step)


def _back(embedding: Tensor, z: Tensor) -> None:
    torch.autograd.grad(embedding.float().square().sum(), z)


def _milliseconds(model: Model, step: Callable[[], None]) -> float:
    """The median of a few runs after a warm-up, waiting for the device."""
    wait = getattr(getattr(torch, model.device.type, None), "synchronize", lambda: None)
    taken: list[float] = []
    while (len(taken) < 1 + _RUNS and sum(taken) < _ENOUGH) or len(taken) < 2:
        wait()
        started = time.perf_counter()
        step()
        wait()
        taken.append(time.perf_counter() - started)
    return 1000 * median(taken[1:])
