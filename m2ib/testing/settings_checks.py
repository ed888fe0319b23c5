"""Checks of what an encoder brings for the settings: defaults, presets, stride and reference inputs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from m2ib.activations.capture import Tail, record
from m2ib.activations.reach import content_reached, nearest, reaching_layers
from m2ib.contract.encoder import Encoder
from m2ib.contract.settings import TARGET, resolve
from m2ib.errors import SettingError
from m2ib.methods.bottleneck.settings import PRESETS, SETTINGS
from m2ib.registry.discovery import default_registry
from m2ib.testing.context import CheckContext
from m2ib.testing.results import CheckFailed, require, shape_of


def _check_of_methods(encoder: Encoder) -> None:
    """What the defaults say of methods, and of what maps explain, can be had."""
    modalities = (encoder.modality,)
    try:
        resolve((TARGET,), encoder, modalities, {})
        for name, given in encoder.defaults.methods.items():
            info = default_registry().methods.find(name)
            for each in given:
                require(each in info.spec.setting_names, f"the method {name!r} has no setting {each!r}")
            resolve(info.declared(), encoder, modalities, given)
    except SettingError as error:
        raise CheckFailed(str(error)) from error


def check_defaults(context: CheckContext) -> None:
    """The default settings are in range, and the default layer's grid reaches the embedding."""
    encoder, defaults, layer = context.encoder, context.encoder.defaults, context.encoder.default_layer
    last = len(encoder.blocks) - 1
    require(-1 <= layer <= last, f"the default layer {layer} is not one of -1 to {last}")
    require(defaults.beta >= 0 and defaults.variance > 0, f"the defaults {defaults} are out of range")
    _check_of_methods(encoder)
    item = context.items[0]
    recording = record(encoder, context.batch(item), layer)
    axis = encoder.layer(layer).channel_axis
    for which, fast in context.tails().items():
        z = recording.activation.clone().requires_grad_()
        with torch.enable_grad(), Tail(recording, 1, fast=fast) as tail:
            out = tail(z)
            values, grad = out.square().sum() + out.sum(), None
            if values.requires_grad:
                (grad,) = torch.autograd.grad(values, z, allow_unused=True)
            if grad is None:
                raise CheckFailed(
                    f"no gradient comes back through {which} to layer {layer}: something is detached, or runs under no_grad"
                )
        require(
            content_reached(item.layout, (grad != 0).any(axis)[0].cpu().numpy()),
            f"no cell of the grid at the default layer {layer} reaches the embedding through {which}; "
            f"choose an earlier layer{_nearest(context, layer)}",
        )


def _nearest(context: CheckContext, layer: int) -> str:
    """Names the layer closest to one whose cells lead nowhere, if there is a better one."""
    item = context.items[0]
    good = nearest(layer, reaching_layers(context.encoder, context.batch(item), item.layout))
    return "" if good is None else f"; the nearest that does is {good}"


def check_presets(context: CheckContext) -> None:
    """Every preset can be used, and its layer's grid reaches the embedding."""
    encoder, item = context.encoder, context.items[0]
    good = reaching_layers(encoder, context.batch(item), item.layout)
    for name in (*PRESETS, *encoder.presets):
        layer = resolve(SETTINGS, encoder, (encoder.modality,), {"preset": name})["layer"]
        require(
            layer in good,
            f"no cell of the grid at layer {layer} of the preset {name!r} reaches the embedding"
            f"{_nearest(context, layer)}",
        )


def check_stride(context: CheckContext) -> None:
    """The step of the grid's cells fits the input."""
    context.declared("stride")
    layer = context.encoder.default_layer
    stride = context.encoder.step(layer)
    if stride is None:
        return  # cells of this layer do not tile the input
    for number, item in enumerate(context.items):
        inputs, grid = item.inputs, item.layout.grid
        if callable(context.encoder.stride):
            grid = context.places(item, layer).shape
        require(
            isinstance(inputs, Tensor) and grid is not None,
            f"example {number}: a stride is for inputs of one tensor whose grid is the same at all layers; leave it None",
        )
        assert isinstance(inputs, Tensor)
        assert grid is not None
        axes = len(stride)
        require(
            0 < axes <= min(len(grid), inputs.ndim),
            f"example {number}: the stride {stride} has more axes than the grid {grid}, or the input {shape_of(inputs)}",
        )
        for step, cells, size in zip(stride, grid[-axes:], inputs.shape[-axes:], strict=True):
            require(
                step >= 1 and cells * step <= size < 2 * (cells + 1) * step,
                f"example {number}: the stride {stride} does not lead from cell to cell of the grid {grid} in an input "
                f"{shape_of(inputs)}",
            )


def check_reference(context: CheckContext) -> None:
    """The reference inputs can be made ready."""
    raws = context.declared("reference")()
    require(isinstance(raws, Sequence) and len(raws) > 0, "reference gives no raw inputs")
    for raw in raws:
        context.model.item(context.encoder.modality, raw)
