"""Which weights an encoder uses, in the order of its parts, and how they are changed for a while and come back.

::

    stem --> block 0 --> ... --> block L-1 --> head --> embedding

Where a weight that is in no block belongs is read from the graph of one forward pass that is cut at the stem's
activation: what that activation depends on comes before the blocks, what the embedding still depends on does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from m2ib.activations.capture import replaced_value
from m2ib.contract.inputs import Inputs, row
from m2ib.contract.model import Model
from m2ib.errors import AdapterError
from m2ib.promises import kept_promises, promise


@dataclass(frozen=True)
class WeightGroup:
    """Of an encoder.

    name        "head", the name of a block's layer, or "stem"
    parameters  by their name in the model's module; never empty
    """

    name: str
    parameters: Mapping[str, nn.Parameter]


def parts(model: Model, modality: str, inputs: Inputs) -> list[WeightGroup]:
    """The floating-point weights that an encoder uses, each once, from the last part to the first.

    inputs  (N, ...) on the model's device; the first one is run

    "head" are those that are in no block and that the embedding depends on other than through the stem's activation,
    "stem" the others that are in no block. A weight that several parts share belongs to the one that comes first here.
    A part that has none is left out. Raises :class:`AdapterError` for a stem that does not run.
    """
    encoder = model.encoder(modality)
    named = {name: value for name, value in model.module.named_parameters() if value.is_floating_point()}
    before, after = _dependencies(model, modality, row(inputs, 0), named)
    used = before | after
    within = [{id(value) for value in layer.module.parameters()} for layer in encoder.blocks]
    inside = set().union(*within)
    wanted = [("head", after - inside)]
    wanted += [(layer.name, own) for layer, own in zip(encoder.blocks, within, strict=True)][::-1]
    wanted.append(("stem", before - inside))
    found, taken = [], set[int]()
    for name, members in wanted:
        own = {
            key: value
            for key, value in named.items()
            if id(value) in (members & used) and id(value) not in taken
        }
        taken |= {id(value) for value in own.values()}
        if own:
            found.append(WeightGroup(name, own))
    return found


def _dependencies(
    model: Model, modality: str, inputs: Inputs, named: Mapping[str, nn.Parameter]
) -> tuple[set[int], set[int]]:
    """Ids of the weights that the stem's activation depends on, and of those that the embedding does besides."""
    encoder, place = model.encoder(modality), model.encoder(modality).layer(-1)
    activations: list[Tensor] = []

    def cut(value: Any) -> Any:
        activations.append(place.read(value))
        return place.write(value, activations[-1].detach().requires_grad_())

    weights = list(named.values())
    with model.running(), learning(weights):
        with replaced_value(place, cut):
            embedding = encoder.embed(inputs)  # (1, D)
        if not activations:
            raise AdapterError(f"{modality}: layer -1 ({place.name}) did not run in the forward pass")
        return _reached(activations[0], weights), _reached(embedding, weights)


def _reached(output: Tensor, weights: list[nn.Parameter]) -> set[int]:
    if not output.requires_grad:
        return set()
    gradients = torch.autograd.grad(output.sum(), weights, retain_graph=True, allow_unused=True)
    return {id(value) for value, gradient in zip(weights, gradients, strict=True) if gradient is not None}


@contextmanager
def learning(weights: Iterable[nn.Parameter]) -> Iterator[None]:
    """They ask for gradients inside, and have none yet; both as before outside."""
    before = [(value, value.requires_grad, value.grad) for value in weights]

    def put_back() -> None:
        for value, learned, gradient in before:
            value.requires_grad_(learned)
            value.grad = gradient

    with kept_promises():
        promise(put_back)
        for value, _, _ in before:
            value.requires_grad_(True)
            value.grad = None
        with torch.enable_grad():
            yield


@contextmanager
def preserved(weights: Iterable[nn.Parameter]) -> Iterator[None]:
    """They may be changed in place inside; every bit is as before outside, whatever happens."""
    before = [(value, value.detach().clone()) for value in weights]

    def put_back() -> None:
        with torch.inference_mode(False), torch.no_grad():
            for value, values in before:
                value.copy_(values)

    with kept_promises():
        promise(put_back)
        yield


def redraw(weights: Iterable[nn.Parameter], generator: torch.Generator) -> None:
    """Draw each tensor anew, in place: normal, with the tensor's own mean and standard deviation over all its values.

    generator  on the CPU, so that the numbers depend on its seed alone

    A tensor of one value, or of equal ones (the scale and shift of a norm that was never trained), stays as it is:
    its standard deviation is 0.
    """
    with torch.inference_mode(False), torch.no_grad():
        for value in weights:
            values = value.detach().cpu().double()
            if not values.numel() or bool((values == values.flatten()[0]).all()):
                continue
            noise = torch.empty(values.shape, dtype=torch.float64, device="cpu").normal_(generator=generator)
            value.copy_(values.mean() + values.std(correction=0) * noise)
