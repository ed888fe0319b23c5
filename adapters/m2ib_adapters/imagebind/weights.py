"""A checkpoint in the official key layout -> the module, with each weight held once.

The module is built without memory (torch's meta device); each tensor is read, converted and put in its place.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from m2ib.errors import CheckpointError, SettingError
from m2ib.promises import kept_promises, promise
from m2ib_adapters.bounds import check_module
from m2ib_adapters.checkpoints import hub_has, loading, may_be_hub_id, path_of
from m2ib_adapters.imagebind.architecture import Architecture
from m2ib_adapters.imagebind.network import ImageBind
from m2ib_adapters.looking import described_by, weights_in
from m2ib_adapters.memory import unwrapped
from m2ib_adapters.state_dicts import can_be_mapped, differences, listed, read_state

HUB = "nielsr/imagebind-huge"
OURS = "m2ib_adapters.ImageBind"
CLASSES = (OURS, "ImageBindModel")  # the official one, wherever its code lies
_WEIGHTS = "model.safetensors"
CONFIG = "config.json"
_IN_FOLDER = (_WEIGHTS, "imagebind_huge.pth")
_WAY_OUT = f"give a local file (imagebind_huge.pth, or safetensors with its keys) or a hub id such as {HUB!r}"
_NAME_SIZES = "name the sizes it was trained with (architecture={...}, options.architecture)"
_AT_ONCE = 64  # tensors read before a file's pages are given back
_SEED = 0


def locate(checkpoint: Any) -> Path:
    """The file that ``checkpoint`` names: a file, a folder that holds one, or a hub id.

    Raises :class:`CheckpointError`.
    """
    source = path_of("imagebind", checkpoint, "give a file, a folder or a hub id")
    path, who = Path(source), f"imagebind: checkpoint {source!r}"
    if os.path.isfile(path):
        return path
    if os.path.isdir(path):
        found = next((path / name for name in _IN_FOLDER if os.path.isfile(path / name)), None)
        if found is None:
            raise CheckpointError(f"{who} is a folder without {' or '.join(_IN_FOLDER)}; {_WAY_OUT}")
        return found
    if "/" not in source or not may_be_hub_id(source):
        raise CheckpointError(f"{who} does not exist; {_WAY_OUT}")
    return _from_hub(who, source)


def _from_hub(who: str, repository: str) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HFValidationError

    with loading("imagebind", repository):
        try:
            offline = not hub_has(who, repository, _WEIGHTS, _WAY_OUT)
        except HFValidationError as error:
            raise CheckpointError(f"{who} is neither a file nor a hub id; {_WAY_OUT}") from error
        with suppress(Exception):  # without it the sizes are those of the published model, or the user's
            hf_hub_download(repository, CONFIG, local_files_only=offline)
        return Path(hf_hub_download(repository, _WEIGHTS, local_files_only=offline))


def sizes_beside(path: Path) -> dict[str, Any]:
    """The sizes that a ``config.json`` in the same folder holds, as the hub's mixin writes them; {} if none.

    Another model's configuration, in a folder of downloads, has few of the names and is left alone.
    """
    with suppress(CheckpointError):
        return sizes_in(described_by(path.parent, CONFIG))
    return {}


def sizes_in(content: Any) -> dict[str, Any]:
    """The sizes in what a ``config.json`` holds; {} of another model's."""
    known = Architecture.__dataclass_fields__
    found = (
        {name: value for name, value in content.items() if name in known} if isinstance(content, dict) else {}
    )
    return found if len(found) > len(known) / 2 else {}


def fault(path: Path, sizes: Architecture, who: str) -> str | None:
    """Why a file holds no weights of an ImageBind of these sizes, by their names and shapes; None where it does."""
    state = weights_in(path, who)
    if not any(name.startswith("modality_trunks.") for name in state):
        return "holds no weights of ImageBind"
    wrong = differences(empty(sizes), state)
    if any(" instead of " in each for each in wrong):
        return "holds an ImageBind of other sizes, which are named by architecture="
    return listed(wrong) if wrong else None


def of_module(net: nn.Module, architecture: Any) -> ImageBind:
    """A model in memory: ours as it is, or the official one's weights, which are shared with it, in ours.

    architecture  sizes of the official one that are not the published model's; its numbers of heads are read off it

    Raises :class:`CheckpointError` and :class:`SettingError`.
    """
    inner = unwrapped("imagebind", net, CLASSES)
    if isinstance(inner, ImageBind):
        if architecture is not None:
            raise SettingError("imagebind: architecture is that of the model in memory; leave it out")
        return inner
    sizes = Architecture.of(architecture)
    heads = {
        f"{name}_num_heads": trunk.blocks[0].attn.num_heads for name, trunk in inner.modality_trunks.items()
    }
    module, state = empty(replace(sizes, **heads)), inner.state_dict()
    if wrong := differences(module, state):
        raise CheckpointError(
            f"imagebind: the {type(inner).__name__} in memory is not of this architecture: {listed(wrong)}; {_NAME_SIZES}"
        )
    module.load_state_dict(state, strict=True, assign=True)
    return module


def empty(architecture: Architecture) -> ImageBind:
    """The module without memory for its weights."""
    with torch.device("meta"):
        return ImageBind(architecture).eval()


def random(architecture: Architecture, device: torch.device, dtype: torch.dtype) -> ImageBind:
    """The module with random, seeded weights, made in ``dtype`` at once: other numbers in another dtype.

    The generators stay as they were.
    """
    check_module(empty(architecture), "imagebind: architecture", None, SettingError)
    devices = [device] if device.type == "cuda" else []
    with kept_promises(), torch.random.fork_rng(devices=devices), device:
        promise(partial(torch.set_default_dtype, torch.get_default_dtype()))
        torch.set_default_dtype(dtype)
        torch.manual_seed(_SEED)
        return ImageBind(architecture).eval()


def load(
    architecture: Architecture,
    path: Path,
    device: torch.device,
    dtype: torch.dtype,
    *,
    who: str = "imagebind",
    resized: str = _NAME_SIZES,
) -> ImageBind:
    """The module with the weights in ``path``, on ``device`` in ``dtype``.

    Raises :class:`CheckpointError` in the name of ``who``, with the first five keys that are missing, extra or
    mis-shaped; ``resized`` is the way out where shapes differ.
    """
    module = empty(architecture)
    check_module(module, f"{who}: architecture", None, SettingError)
    names = list(_compared(path, module, who, resized))
    at_once = _AT_ONCE if can_be_mapped(path) else len(names)
    placed: dict[str, Tensor] = {}
    for start in range(0, len(names), at_once):
        state = read_state(path, who, mapped=True)  # anew: pages that were read do not pile up
        for name in names[start : start + at_once]:
            tensor = state.pop(name)
            kind = dtype if tensor.is_floating_point() else tensor.dtype
            placed[name] = tensor.to(device, kind, copy=True)  # not bound to the file
    module.load_state_dict(placed, strict=True, assign=True)
    return module


def _compared(path: Path, module: ImageBind, who: str, resized: str) -> dict[str, Any]:
    state = read_state(path, who, mapped=True)
    wrong = differences(module, state)
    if not wrong:
        return state
    source = f"{who}: checkpoint {str(path)!r}"
    if not module.state_dict().keys() & state.keys():
        raise CheckpointError(
            f"{source} is not ImageBind's: {listed(wrong)}; a CLIP opens with the adapters 'clip', 'open-clip' "
            "or 'cxr-repair'"
        )
    way_out = "the file is incomplete or was changed"
    if any(" instead of " in each for each in wrong):
        way_out = resized
    raise CheckpointError(f"{source} is not of this architecture: {listed(wrong)}; {way_out}")
