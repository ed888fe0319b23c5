"""``load_model``: a model by the name of its adapter."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from m2ib.contract.model import Model
from m2ib.errors import AdapterError, CheckpointError, PluginError, SettingError, did_you_mean
from m2ib.execution.context import neutral, own_random_numbers
from m2ib.paths import at_home, url_fault
from m2ib.promises import leaves_nothing
from m2ib.registry.discovery import Registry
from m2ib.registry.licences import weights_facts
from m2ib.registry.opening import adapter_for

DTYPES: dict[str, torch.dtype] = {
    name: getattr(torch, name) for name in ("float32", "bfloat16", "float16", "float64")
}


def resolve_device(device: str | torch.device) -> torch.device:
    """``"auto"`` is CUDA if there is any, else Apple's MPS, else the CPU."""
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", torch.cuda.current_device())
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except (RuntimeError, TypeError):
        raise SettingError(f"device: {device!r} is unknown; use 'auto', 'cpu', 'cuda' or 'cuda:1'") from None
    try:
        torch.empty(1, device=resolved)
    except (RuntimeError, AssertionError, ImportError):  # no driver, or a torch built without it
        raise SettingError(
            f"device: {device!r} was asked for, but torch cannot use it here; use 'auto' or 'cpu'"
        ) from None
    if resolved.type == "cuda" and resolved.index is None:  # the one that is current now, also later on
        return torch.device("cuda", torch.cuda.current_device())
    return resolved


def resolve_dtype(dtype: str | torch.dtype) -> torch.dtype:
    """A name out of ``DTYPES``, or the torch dtype itself."""
    if isinstance(dtype, torch.dtype) and dtype in DTYPES.values():
        return dtype
    if isinstance(dtype, str) and dtype in DTYPES:
        return DTYPES[dtype]
    raise SettingError(f"dtype: {dtype!r} is unknown; use one of {', '.join(DTYPES)}")


def _as_it_is(
    net: nn.Module, place: torch.device | None, precision: torch.dtype
) -> tuple[torch.device, torch.dtype]:
    """Where a module in memory is, and its dtype. Raises :class:`SettingError` where others were asked for.

    place  None: any
    """
    weight = next(
        (each for each in net.parameters() if each.is_floating_point()), torch.empty(0, device="cpu")
    )
    if place not in (None, weight.device) or precision not in (torch.float32, weight.dtype):
        raise SettingError(
            f"load_model: the checkpoint is a {type(net).__name__} in memory, on {weight.device} in "
            f"{str(weight.dtype).removeprefix('torch.')}, and is left as it is; move it yourself, as in net.to(...), and "
            "leave out device and dtype"
        )
    return weight.device, weight.dtype


@leaves_nothing
def load_model(
    name: str,
    *,
    checkpoint: Any = None,
    device: str | torch.device = "auto",
    dtype: str | torch.dtype = "float32",
    registry: Registry | None = None,
    **options: Any,
) -> Model:
    """Load a model through the adapter called ``name`` (or ``dist:name``).

    name        ``"auto"`` for the one that opens the checkpoint; :func:`m2ib.who_opens` says which, and why
    checkpoint  what the adapter takes: a hub id, a folder, a file, with some a module in memory, which stays on its
                device, in its dtype and mode; None: its default. A ``~`` at the beginning of it, and of an option, is the
                home directory
    device      "auto", "cpu", "cuda", ...
    dtype       "float32", "bfloat16", "float16" or "float64"
    options     the adapter's own, see its documentation

    Raises :class:`AdapterError` for an unknown or ambiguous name or a missing package,
    :class:`CheckpointError` for weights that cannot be used, or that no adapter opens, :class:`PluginError` for whatever else another distribution's
    adapter raises, :class:`SettingError` for the rest.
    """
    checkpoint, options = at_home(checkpoint), {key: at_home(value) for key, value in options.items()}
    info = adapter_for(name, checkpoint, options, registry)
    place, precision = resolve_device(device), resolve_dtype(dtype)
    if isinstance(checkpoint, nn.Module):
        place, precision = _as_it_is(checkpoint, None if device == "auto" else place, precision)
    known = info.spec.options
    for option in options:
        if known and option not in known:
            hint = did_you_mean(option, known)
            raise SettingError(
                f"adapter {info.name!r} has no option {option!r}{hint} It has {', '.join(known)}"
            )
    if isinstance(checkpoint, (str, os.PathLike)) and (fault := url_fault(checkpoint)):
        raise CheckpointError(
            f"{info.name}: checkpoint {str(checkpoint)!r:.200} {fault}, or a hub id where one is taken"
        )
    try:
        with neutral(place), own_random_numbers():
            model = info.load(checkpoint=checkpoint, device=place, dtype=precision, **options)
    except (TypeError, PluginError) as error:
        cause = error.__cause__ if isinstance(error, PluginError) else error
        if isinstance(cause, TypeError) and "unexpected keyword argument" in str(cause) and options:
            raise SettingError(f"adapter {info.name!r}: {cause}") from error
        raise
    if not isinstance(model, Model):
        raise AdapterError(f"adapter {info.name!r}: load returned {type(model).__name__}, not an m2ib.Model")
    wanted = set(info.modalities) - set(info.spec.some)
    missing = [name for name in info.modalities if name in wanted and name not in model.encoders]
    if missing:
        raise AdapterError(f"adapter {info.name!r}: load brought no encoder for {', '.join(missing)}")
    own = {name: value for name, value in model.origin.items() if name != "adapter"}
    facts = weights_facts(own, info.spec.license)
    origin = {"adapter": info.name, "distribution": info.origin, **own, **facts}
    given = {"checkpoint": checkpoint, "dtype": str(precision).removeprefix("torch."), **options}
    recipe = _recipe({"name": info.qualified_name, **{k: v for k, v in given.items() if v is not None}})
    return replace(model, device=place, dtype=precision, origin=origin, recipe=recipe)


def _recipe(given: Mapping[str, Any]) -> dict[str, Any] | None:
    """In JSON, paths as text; None where there is more, as a module in memory."""
    try:
        found: dict[str, Any] = json.loads(json.dumps(given, default=os.fspath))
    except TypeError:
        return None
    return found
