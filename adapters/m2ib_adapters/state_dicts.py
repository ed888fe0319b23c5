"""State dicts in files: read safely, unwrapped, and compared with a module key by key."""

from __future__ import annotations

import pickle
from argparse import Namespace
from collections import defaultdict
from pathlib import Path
from typing import Any
from zipfile import ZipFile, is_zipfile

import numpy as np
import torch
from numpy._core import multiarray as _numpy
from torch import Tensor, nn

from m2ib.errors import CheckpointError, decoding
from m2ib.notices import warn
from m2ib_adapters.checkpoints import loading
from m2ib_adapters.inputs.media import ignoring

_SHOWN = 5  # keys that a message names
_NESTS = ("state_dict", "model_state_dict", "model")  # where training checkpoints keep the weights
_PREFIXES = ("module.", "_orig_mod.", "model.", "clip.")
_KINDS = {
    "PEFT's, which belong to a base model (give the folder with adapter_config.json)": ("lora_A", "lora_B"),
    "transformers' CLIPModel or its kin": ("vision_model.", "text_model."),
    "ImageBind's": ("modality_trunks.",),
    "a CLIP's of OpenAI or open_clip": ("visual.", "transformer.resblocks."),
    "an optimizer's": ("param_groups", "optimizer"),
}
# What training code keeps beside weights, and can run nothing: options and NumPy's numbers.
_HARMLESS: list[Any] = [
    Namespace, defaultdict, dict, np.dtype, np.ndarray,
    _numpy.scalar, _numpy._reconstruct, *(type(np.dtype(name)) for name in ("f4", "f8", "i4", "i8", "bool")),
]  # fmt: skip


def can_be_mapped(path: Path) -> bool:
    """Whether tensors of this file can be read one by one: all but the format torch wrote before 1.6."""
    return path.suffix == ".safetensors" or is_zipfile(path)


def check_stored(path: Path, who: str) -> None:
    """Of torch's archives: that nothing in them is compressed, which torch never does and could stand for any size.

    Raises :class:`CheckpointError`.
    """
    if not is_zipfile(path):
        return
    with decoding(who, "cannot be loaded", error=CheckpointError), ZipFile(path) as archive:
        size = sum(member.file_size for member in archive.infolist())
    if size > path.stat().st_size:
        raise CheckpointError(
            f"{who} stands for {size:,} bytes in {path.stat().st_size:,}, and weights are not compressed; save it with torch.save"
        )


def read_state(path: Path, who: str, *, mapped: bool = False) -> dict[str, Any]:
    """The state dict in a file: safetensors, or a pickle that holds nothing but tensors.

    Training checkpoints keep it under ``state_dict``, ``model_state_dict`` or ``model``, beside the optimizer's, and with
    ``module.``, ``_orig_mod.``, ``model.`` or ``clip.`` before each name; what else is in them is left out, and a warning
    names weights that are.

    mapped  read from disk where a tensor is looked at, if :func:`can_be_mapped`

    Raises :class:`CheckpointError` in the name of ``who``.
    """
    source = f"{who}: checkpoint {str(path)!r}"
    if path.stat().st_size == 0:
        raise CheckpointError(f"{source} is empty")
    check_stored(path, source)
    with loading(who, str(path)):
        content = _content(path, source, mapped and can_be_mapped(path))
    top = content
    for name in _NESTS:
        if isinstance(content, dict) and isinstance(content.get(name), dict):
            content = content[name]
    if not isinstance(content, dict) or not any(isinstance(value, Tensor) for value in content.values()):
        raise CheckpointError(f"{source} holds no state dict (names and tensors); {found_in(top)}")
    state, left = stripped({str(key): value for key, value in content.items()})
    if left:
        warn(f"{source} holds weights beside the model's, which are left out: {_first(left)}")
    return state


def stripped(state: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Without what training code puts before all names; and the names that were not under it."""
    left: list[str] = []
    while True:
        counts = {prefix: sum(key.startswith(prefix) for key in state) for prefix in _PREFIXES}
        # beside it a loss's own weights, at most
        prefix = next((each for each, count in counts.items() if count > len(state) / 2), None)
        if prefix is None:
            return state, left
        left += [key for key in state if not key.startswith(prefix)]
        state = {key.removeprefix(prefix): state[key] for key in state if key.startswith(prefix)}


def found_in(content: Any) -> str:
    """What a file holds, in words: the names at its top, and what they look like."""
    if not isinstance(content, dict):
        return f"it holds a {type(content).__name__}"
    keys = [str(key) for key in content]
    kind = next(
        (name for name, parts in _KINDS.items() if any(part in key for key in keys for part in parts)), ""
    )
    return f"its names are {_first(keys)}" + (f", which look like {kind}" if kind else "")


def _first(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(f"{name:.60}" for name in names[:_SHOWN]) + more if names else "none"


def _content(path: Path, source: str, mapped: bool) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        # the warning is of what the error then says
        with ignoring(UserWarning), torch.serialization.safe_globals(_HARMLESS):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except SafetensorError as error:
        raise CheckpointError(f"{source} is not a safetensors file: {error}") from error
    except (pickle.UnpicklingError, IndexError, AttributeError, TypeError, EOFError) as error:
        raise CheckpointError(
            f"{source} is damaged, or holds more than tensors, which may run code and is not opened; "
            "save the weights alone: torch.save(model.state_dict(), path), or use safetensors"
        ) from error
    except RuntimeError as error:
        if "TorchScript" not in str(error):
            raise
        raise CheckpointError(
            f"{source} is a TorchScript archive, which holds code and is not opened; save its weights alone: "
            "torch.save(torch.jit.load(path).state_dict(), other_path)"
        ) from error


def differences(module: nn.Module, state: dict[str, Any]) -> list[str]:
    """What of ``state`` does not fit the module: one phrase for each key."""
    expected = module.state_dict()
    found = []
    for key, value in expected.items():
        given: Any = state.get(key)
        if fault := no_tensor(key, given):
            found.append(fault)
        elif given.shape != value.shape:
            found.append(f"{key} ({tuple(given.shape)} instead of {tuple(value.shape)})")
        elif value.is_floating_point() and not given.is_floating_point():
            found.append(f"{key} ({given.dtype}, not floating-point numbers)")
    found.extend(f"{key} (extra)" for key in state if key not in expected)
    return found


def no_tensor(key: str, value: Any) -> str:
    """The phrase for what is missing, or is no tensor; "" for a tensor."""
    if value is None:
        return f"{key} (missing)"
    return "" if isinstance(value, Tensor) else f"{key} (a {type(value).__name__}, not a tensor)"


def listed(wrong: list[str]) -> str:
    """How many there are, and the first five."""
    first = ", ".join(wrong[:_SHOWN])
    return f"1 key differs: {first}" if len(wrong) == 1 else f"{len(wrong)} keys differ, first {first}"
