"""``load_model("imagebind-tiny", ...)``: ImageBind's module with weights that come with the package."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from m2ib.contract.encoder import Defaults, Encoder
from m2ib.contract.model import Model
from m2ib.errors import CheckpointError
from m2ib.notices import warn
from m2ib.scenes import scenes
from m2ib_adapters.checkpoints import path_of
from m2ib_adapters.imagebind import weights
from m2ib_adapters.imagebind.encoders import encoders
from m2ib_adapters.imagebind.network import ImageBind
from m2ib_adapters.imagebind_tiny.architecture import CODER, SIZES, preparations
from m2ib_adapters.inputs.media import sha256
from m2ib_adapters.memory import described, unwrapped

NAME = "imagebind-tiny"
WEIGHTS = Path(__file__).with_name("weights.safetensors")
RANDOM = "random"  # the checkpoint that is none, for controls
LICENCE = "imagebind-tiny's weights: MIT"

# Chosen on the benchmark's split for it ("tune"), as are the presets.
DEFAULTS: dict[str, Defaults] = {
    "image": Defaults(1, beta=1.0),
    "text": Defaults(-1),  # after block 0 the words have mixed
    "audio": Defaults(-1),  # and so have the moments
    "depth": Defaults(1, beta=1.0),
    "thermal": Defaults(
        -1, beta=1.0, methods={"second-order": {"layer": 1, "baseline": "usual", "shifts": 4}}
    ),
    "imu": Defaults(-1),
}


def _shared(branch: str) -> float:
    """What beta is divided by where the channels of a position share a lambda."""
    return math.sqrt(getattr(SIZES, f"{branch}_embed_dim"))


SHARP: dict[str, dict[str, Any]] = {
    "image": {"layer": 1, "beta": 0.5 * _shared("vision"), "standardize": True},
    "audio": {
        "layer": -1,
        "beta": 2.0 * _shared("audio"),
        "shifts": (1, 5),
        "smooth": 0.35,
        "standardize": True,
    },
    "depth": {"layer": -1, "beta": 0.3 * _shared("depth"), "standardize": True},
    "thermal": {"layer": 1, "beta": 0.5 * _shared("thermal"), "shifts": 9, "standardize": True},
    "imu": {"layer": -1, "beta": 1.0 * _shared("imu"), "shifts": 5, "smooth": 0.35},
}

_REFERENCE = range(900_000, 900_064)  # seeds of scenes
_TRAIN = "python -m m2ib_adapters.imagebind_tiny.train"
_RESIZED = (
    f"{NAME} has sizes of its own; weights of other sizes open with the adapter 'imagebind' and "
    "architecture={...}"
)


def can(checkpoint: Any, **options: Any) -> str | None:
    """Why a checkpoint is no ImageBind of these sizes; None where it is."""
    if isinstance(checkpoint, nn.Module):
        _of_module(checkpoint)
        return None
    if checkpoint == RANDOM:
        return None
    fault = weights.fault(_file(checkpoint), SIZES, NAME)
    return fault and fault.partition(",")[0]  # its own sizes are not to be named


def load(
    *,
    checkpoint: Any = None,
    device: torch.device,
    dtype: torch.dtype,
    image: Mapping[str, Any] | None = None,
    audio: Mapping[str, Any] | None = None,
    depth: Mapping[str, Any] | None = None,
    thermal: Mapping[str, Any] | None = None,
    imu: Mapping[str, Any] | None = None,
) -> Model:
    """Image, text, audio, depth, thermal and imu in one space, trained on ``m2ib.scenes``. Needs no download.

    checkpoint  None: the packaged weights; a file of the same keys and sizes; such a module in memory, which is taken as it
                is; or "random": seeded random weights, and a warning. On the device "meta" nothing is read
    image, audio, depth, thermal, imu
                how raw inputs are prepared: fields of the preparations in ``m2ib_adapters.inputs``

    Raises :class:`CheckpointError` and :class:`SettingError`.
    """
    options = {"image": image, "audio": audio, "depth": depth, "thermal": thermal, "imu": imu}
    ready = preparations(options)
    module, origin = _module(checkpoint, device, dtype)
    usual = encoders(module, preparations(dict.fromkeys(options)), CODER)
    made = {
        modality: replace(
            encoder,
            defaults=DEFAULTS[modality],
            reference=partial(_reference, usual[modality]),
            presets={"sharp": SHARP[modality]} if modality in SHARP else {},
        )
        for modality, encoder in encoders(module, ready, CODER).items()
    }
    return Model(module, made, device, dtype, origin | {"architecture": NAME})


def _reference(encoder: Encoder) -> list[Any]:
    """Inputs of the usual kind, always the same, made ready without options."""
    assert encoder.prepare is not None
    return [encoder.prepare(scene.inputs[encoder.modality]) for scene in scenes(_REFERENCE)]


def _module(checkpoint: Any, device: torch.device, dtype: torch.dtype) -> tuple[ImageBind, dict[str, Any]]:
    """The module, and where its weights come from."""
    if isinstance(checkpoint, nn.Module):
        return _of_module(checkpoint), {"checkpoint": described(checkpoint)}
    if device.type == "meta":
        return weights.empty(SIZES).to(dtype), {"checkpoint": None}
    if checkpoint == RANDOM:
        warn(f"{NAME}: checkpoint={RANDOM!r} was loaded; its weights are random")
        return weights.random(SIZES, device, dtype), {"checkpoint": RANDOM}
    path = _file(checkpoint)
    module = weights.load(SIZES, path, device, dtype, who=NAME, resized=_RESIZED)
    origin = {"checkpoint": str(checkpoint), "sha256": sha256(path)}
    if checkpoint is None:
        origin |= {"checkpoint": "packaged", "license": LICENCE, "training": "trained on m2ib.scenes"}
    return module, origin


def _of_module(net: nn.Module) -> ImageBind:
    """A model in memory, as it is. Raises :class:`CheckpointError`."""
    module: ImageBind = unwrapped(NAME, net, (weights.OURS,))
    if module.architecture != SIZES:
        raise CheckpointError(
            f"{NAME}: the ImageBind in memory has other sizes; open it with the adapter 'imagebind'"
        )
    return module


def _file(checkpoint: Any) -> Path:
    """The weights; the packaged ones for None. Raises :class:`CheckpointError`."""
    if checkpoint is None:
        if os.path.isfile(WEIGHTS):
            return WEIGHTS
        raise CheckpointError(
            f"{NAME}: the packaged weights are missing ({WEIGHTS}); run `{_TRAIN}` to make them"
        )
    path = Path(path_of(NAME, checkpoint, f"give a file that `{_TRAIN}` wrote"))
    if not os.path.isfile(path):
        raise CheckpointError(
            f"{NAME}: checkpoint {str(checkpoint)!r} is not a file; give one that `{_TRAIN}` wrote, "
            f"{RANDOM!r}, or nothing for the packaged weights"
        )
    return path
