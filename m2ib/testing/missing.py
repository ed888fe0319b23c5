"""What an adapter may say and does not, and what there would be if it did. Nothing of this breaks the contract."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from m2ib.activations.capture import record
from m2ib.contract.degradation import holds_numbers
from m2ib.contract.encoder import Attention, Encoder
from m2ib.contract.inputs import Inputs, Item
from m2ib.contract.model import Model
from m2ib.methods.bottleneck.settings import PRESETS
from m2ib.registry.discovery import Registered, default_registry
from m2ib.registry.specs import AdapterSpec, MethodSpec, PairMethodSpec
from m2ib.renderers import ValuesRenderer, renderer_for

ADAPTER = "adapter"  # in place of a modality, for what is said once
_DEGRADING = ("drop", "increase", "deletion", "insertion", "roar")  # metrics that take parts out
_LOCATED = ("iou", "pointing", "mass-in-region")  # and those that need places


@dataclass(frozen=True)
class MissingField:
    """Something that is not told.

    modalities  of the encoders that do not tell it; ``("adapter",)`` for what an :class:`m2ib.AdapterSpec` tells
    what        the field that would tell it
    gain        what there would be
    """

    modalities: tuple[str, ...]
    what: str
    gain: str


def missing_from_encoder(model: Model, modality: str, raw: Any) -> list[MissingField]:
    """Of one encoder. ``raw`` is an input that can be made ready."""
    encoder, item = model.encoder(modality), model.item(modality, raw)
    with model.running():
        found = _encoder_fields(encoder, item, model.collate(modality, [item]))
        return [MissingField((modality,), what, gain) for what, gain in found]


def merged(gains: Sequence[MissingField]) -> list[MissingField]:
    """What several encoders lack, said once."""
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    for each in gains:
        key = each.what, each.gain
        found[key] = found.get(key, ()) + each.modalities
    return [MissingField(modalities, *key) for key, modalities in found.items()]


def missing_from_spec(
    info: Registered[AdapterSpec], model: Model, examples: Mapping[str, Sequence[Any]]
) -> list[MissingField]:
    """Of what the adapter was registered with."""
    spec, gains = info.spec, {"options": _untold(info)}
    showing = tuple(modality for modality, encoder in model.encoders.items() if encoder.attention is not None)
    if spec.attention is None:
        gain = f"methods that read attention refused before anything is loaded: attention={showing!r}"
        gains["attention"] = gain
    elif hidden := [modality for modality in showing if modality not in spec.attention]:
        gain = f"methods that read attention for {_listed(hidden)}: it leaves out what the encoders show, so they are "
        gains["attention"] = gain + f"refused; attention={showing!r}"
    brought = {*PRESETS}.union(*(encoder.presets for encoder in model.encoders.values())) - {*PRESETS}
    if spec.presets is not None and (hidden := sorted(brought - {*spec.presets})):
        gain = f"the presets {_listed(hidden)}: they are left out, and so refused before anything is loaded"
        gains["presets"] = f"{gain}; presets={tuple(sorted(brought))!r}"
    if spec.can is None:
        gains["can"] = "checkpoints that m2ib adapters --can and load_model('auto', ...) find it for"
    written = tuple(
        modality
        for modality in model.modalities
        if modality not in spec.inline and any(_is_written(raw) for raw in examples[modality])
    )
    if written:
        gain = f"tables of pairs with {_listed(written)} written out, which are now taken for paths of files"
        gains["inline"] = f"{gain}: inline={(*spec.inline, *written)!r}"
    return [MissingField((ADAPTER,), f"AdapterSpec.{name}", gain) for name, gain in gains.items() if gain]


def _encoder_fields(encoder: Encoder, item: Item, inputs: Inputs) -> Iterator[tuple[str, str]]:
    """(field, what it would gain)."""
    layout, numbers = item.layout, holds_numbers(inputs)
    yield from _refusing_methods(encoder, inputs)
    if encoder.tail is None:
        yield "tail", "a path of its own from a layer to the embedding; each step of a fit now runs `embed`"
    if encoder.stride is None and numbers and layout.grid is not None and not layout.tokens:
        yield "stride", "the settings shifts and smooth, and with them all of the preset sharp"
    if encoder.reference is None:
        yield "reference", "the setting standardize without reference inputs of the caller's own"
    if encoder.degradation is None and not numbers:
        methods = _listed(sorted(_called(info) for info in default_registry().methods if info.spec.hides))
        metrics = _listed(_DEGRADING)
        kind = "several tensors by name" if isinstance(inputs, dict) else "token ids"
        yield "degradation", f"the methods {methods}, and the metrics {metrics}: {kind} cannot fade"
    yield from _renderer_fields(encoder, item)
    if not layout.axes and not layout.tokens:
        metrics = _listed(_LOCATED)
        where = "where cells lie in the raw input's own units"
        yield "Layout.axes", f"{where}, for regions and the metrics {metrics}"
    if encoder.examples is None:
        yield "examples", "inputs of its own for m2ib check and m2ib.adapt"


def _refusing_methods(encoder: Encoder, inputs: Inputs) -> list[tuple[str, str]]:
    """Methods that refuse the encoder: those that would take it if it showed its attention, and others."""
    shown = encoder if encoder.attention is not None else replace(encoder, attention=Attention(None))
    attending, found = [], []
    for info in default_registry().methods:
        if isinstance(info.spec, PairMethodSpec):  # defined for a model, not for an encoder
            continue
        try:
            refuse = info.load().refuse
            reason, then = refuse(encoder), refuse(shown)
        except Exception:  # a package is missing, or a stranger's code fails: only what was declared is known
            reason = "it reads attention" if info.spec.attention and encoder.attention is None else None
            then = None
        if reason is not None and then is None:
            attending.append(_called(info))
        elif reason is not None:
            found.append((f"method {_called(info)}", f"is not defined for it: {reason}"))
    if attending and _may_attend(encoder, inputs):
        found.insert(0, ("attention", f"the methods {_listed(sorted(attending))}, if its blocks attend"))
    return found


def _may_attend(encoder: Encoder, inputs: Inputs) -> bool:
    """Whether its activations are positions by channels, (N, T, C): maps of convolutions do not attend."""
    layer = encoder.default_layer
    activation = record(encoder, inputs, layer).activation
    return activation.ndim == 3 and encoder.layer(layer).channel_axis in (-1, 2)


def _renderer_fields(encoder: Encoder, item: Item) -> Iterator[tuple[str, str]]:
    renderer = encoder.renderer or renderer_for(item.view, item.layout)
    rows = default_registry().renderers
    if isinstance(renderer, ValuesRenderer):
        yield "renderer", "maps over the input itself; they are shown as plain values"
    elif renderer.name not in rows.names:
        nobody = f"no plugin registers the renderer {renderer.name!r}"
        why = next((line for line in rows.conflicts if repr(renderer.name) in line), nobody)
        gain = f"saved explanations that load as they were: {why}, so their maps load as plain values"
        yield "RendererSpec", gain


def _untold(info: Registered[AdapterSpec]) -> str:
    """What naming the options of ``load`` would gain; "" where all that can be seen are named."""
    try:
        parameters = inspect.signature(info.spec.loader).parameters.values()
    except (TypeError, ValueError):
        return ""
    usual = ("checkpoint", "device", "dtype")
    named = [each.name for each in parameters if each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL)]
    more = [name for name in named if name not in (*usual, *info.spec.options)]
    if more and info.spec.options:
        return f"the use of {_listed(more)}: an option that is not named is refused"
    if more:
        return f"a hint where one is misspelt: options={tuple(more)!r}"
    if not info.spec.options and any(each.kind is each.VAR_KEYWORD for each in parameters):
        return "a hint where one is misspelt, if load takes options of its own; none are named"
    return ""


def _is_written(raw: Any) -> bool:
    return isinstance(raw, str) and not os.path.isfile(raw)


def _called(info: Registered[MethodSpec]) -> str:
    return default_registry().methods.called(info)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else "".join(names)
