"""A model of any module, without an adapter: ``m2ib.adapt``.

What is not told is found out, and nothing is assumed that cannot be shown to be so: ``layers.py`` finds the blocks,
``layouts.py`` proves which position is which part of the input.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from m2ib.activations.reach import nearest, reaching_layers
from m2ib.adapting.layers import find_layers, looked_at, named_layer, run_order
from m2ib.adapting.layouts import Described, Proof
from m2ib.contract.degradation import Fading
from m2ib.contract.encoder import Encoder, Layer, Prepare
from m2ib.contract.inputs import Inputs, Item
from m2ib.contract.model import Model
from m2ib.contract.similarity import COSINE, Similarity
from m2ib.errors import AdapterError
from m2ib.promises import leaves_nothing


@leaves_nothing
def adapt(
    module: nn.Module,
    encoders: Mapping[str, Encoder],
    *,
    examples: Mapping[str, Any] | None = None,
    name: str = "adapted",
    similarity: Similarity = COSINE,
) -> Model:
    """A model of ``module``: what its encoders leave out is found out, or asked for with the shapes that were seen.

    module    as it is: on its device, in its dtype. It is not changed
    encoders  by modality. ``embed`` is all that every one needs
    examples  one input by modality, raw or preprocessed, to look at the shapes with; None: ``Encoder.examples``
    name      what listings and the provenance call it
    similarity  of two embeddings: what is explained

    ``layers`` are names of blocks, or of the list that holds them (``"visual.blocks"``). Left out, they are the children of
    the longest ``ModuleList`` or ``Sequential`` with at least two of one class, each of which runs once, in order,
    when the example is embedded; without an example, those of the only such list. A block's first tensor is its
    activation: the axis that grows with the batch is the batch, channels come last in (N, T, C), and of four axes they
    are the ones without which the others keep the input's proportions.

    ``prepare(raw)`` may give the inputs alone, without batch axis. ``layout`` or the :class:`m2ib.Item` of ``prepare`` says
    what the positions are. Left out, it is proven: positions that keep the input's proportions are its cells
    (convolutions); tokens are patches of the input where changing a patch changes one token and none but its own, as
    the tokens enter the first block; token ids are their own tokens where there are as many.

    >>> model = m2ib.adapt(net, {"image": m2ib.Encoder(embed=net.encode_image, prepare=transform),
    ...                          "text": m2ib.Encoder(embed=net.encode_text, layers="text.blocks")},
    ...                    examples={"image": photo})

    Raises :class:`AdapterError` for layers that cannot be found or told apart, with what was seen and what to give; so does
    the first use of an input whose layout cannot be proven.
    """
    if not isinstance(module, nn.Module):
        raise AdapterError(f"adapt: takes a torch.nn.Module first, not {type(module).__name__}")
    unknown = set(examples or {}) - set(encoders)
    if unknown:
        raise AdapterError(f"adapt: examples of {sorted(unknown)}, but encoders of {sorted(encoders)}")
    place = next(module.parameters(), torch.zeros(0)).device
    dtype = next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)
    model = Model(module, {}, place, dtype, {"adapter": name}, similarity=similarity)
    finished = {
        modality: _finished(model, modality, encoder, (examples or {}).get(modality))
        for modality, encoder in encoders.items()
    }
    return replace(model, encoders=finished)


def _finished(model: Model, modality: str, encoder: Encoder, example: Any) -> Encoder:
    """With all that was left out."""
    if not isinstance(encoder, Encoder):
        raise AdapterError(f"adapt: {modality!r} is no m2ib.Encoder but {type(encoder).__name__}")
    who = f"adapt: {modality}"
    encoder = replace(encoder, modality=encoder.modality or modality)
    if example is None and encoder.examples is not None:
        example = next(iter(encoder.examples()), None)
    batch = None if example is None else model.collate_one(_inputs(encoder, example, who))
    with model.running():
        encoder = _with_layers(model, encoder, batch, who)
    proof = Proof(model, encoder, looked_at=batch is not None)
    prepare = None if encoder.prepare is None else _preparing(encoder.prepare, proof)
    finished = replace(encoder, prepare=prepare, describe=encoder.describe or Described(proof))
    if example is None:
        return finished
    item = replace(model, encoders={modality: finished}).item(modality, example)
    with model.running():
        good = reaching_layers(finished, model.collate_one(item.inputs), item.layout)
    usual = encoder.default_layer
    layer = usual if usual in good or encoder.defaults.layer is not None else nearest(usual, good)
    stride = encoder.stride or proof.stride(item.inputs)
    degradation = encoder.degradation
    if degradation is None and getattr(item.view, "read", None) is not None:
        degradation = Fading(step=proof.stride(item.inputs))  # what no cell reads stays
    defaults = replace(encoder.defaults, layer=layer)
    return replace(finished, defaults=defaults, stride=stride, degradation=degradation)


def _with_layers(model: Model, encoder: Encoder, batch: Inputs | None, who: str) -> Encoder:
    """Its stem and blocks found, and looked at with one input where there is one."""
    given, module = (encoder.layers, encoder.stem), model.module
    ran = None if batch is None else run_order(model, encoder.embed, batch, who)
    stem = named_layer(module, encoder.stem, who) if isinstance(encoder.stem, str) else encoder.stem
    encoder = replace(encoder, layers=find_layers(module, encoder.layers, ran, who), stem=stem)
    if batch is None:
        return encoder
    told = [layer for layer in (given[1], *given[0]) if isinstance(layer, Layer)]
    named = [all(layer is not each for each in told) for layer in (encoder.stem, *encoder.blocks)]
    if encoder.stem is None:
        named[0] = named[1]  # the input of block 0, which is read as its output
    stem, *blocks = looked_at(model, encoder, batch, named, who)
    return replace(encoder, stem=stem, layers=tuple(blocks))


def _inputs(encoder: Encoder, example: Any, who: str) -> Inputs:
    """An example as the encoder takes it, without the batch axis."""
    if isinstance(example, Tensor):
        return example
    if encoder.prepare is None:
        raise AdapterError(
            f"{who}: the example is a {type(example).__name__}, and the encoder has no `prepare`; give a preprocessed tensor"
        )
    made = encoder.prepare(example)
    return made.inputs if isinstance(made, Item) else made


def _preparing(given: Prepare, proof: Proof) -> Callable[..., Item]:
    """``prepare`` as the core calls it."""
    kinds = inspect.signature(given).parameters
    cuts = "truncate" in kinds or any(each.kind is each.VAR_KEYWORD for each in kinds.values())

    def prepare(raw: Any, *, truncate: bool = False) -> Item:
        made = given(raw, truncate=truncate) if cuts else given(raw)
        source = raw if isinstance(raw, str) else type(raw).__name__
        return made if isinstance(made, Item) else proof.item(made, {"source": source})

    return prepare
