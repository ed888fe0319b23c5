"""``load_model("imagebind", ...)``."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from numbers import Integral
from pathlib import Path
from typing import Any

import torch
from torch import nn

from m2ib.contract.model import Model
from m2ib.errors import SettingError
from m2ib.notices import warn
from m2ib_adapters.bounds import SIDE
from m2ib_adapters.checkpoints import path_of
from m2ib_adapters.imagebind import weights
from m2ib_adapters.imagebind.architecture import Architecture
from m2ib_adapters.imagebind.encoders import encoders
from m2ib_adapters.imagebind.preparations import Preparations
from m2ib_adapters.inputs.images import OPENAI_MEAN, OPENAI_STD, ImagePreparation
from m2ib_adapters.inputs.media import sha256
from m2ib_adapters.inputs.tokens import coder
from m2ib_adapters.looking import described_by
from m2ib_adapters.memory import described, unwrapped


def can(checkpoint: Any, *, architecture: Any = None, **options: Any) -> str | None:
    """Why a checkpoint is no ImageBind of these sizes; None where it is."""
    if isinstance(checkpoint, nn.Module):
        unwrapped("imagebind", checkpoint, weights.CLASSES)
        return None
    source = path_of("imagebind", checkpoint, "give a file, a folder or a hub id")
    if os.path.exists(source):
        path = weights.locate(source)
        return weights.fault(path, _sizes(path, architecture), "imagebind")
    known = source == weights.HUB or weights.sizes_in(described_by(source, weights.CONFIG))
    return None if known else f"has no {weights.CONFIG} with the sizes of an ImageBind"


def load(
    *,
    checkpoint: Any = None,
    device: torch.device,
    dtype: torch.dtype,
    architecture: Any = None,
    image_size: int | None = None,
    image: Mapping[str, Any] | None = None,
    audio: Mapping[str, Any] | None = None,
    video: Mapping[str, Any] | None = None,
    depth: Mapping[str, Any] | None = None,
    thermal: Mapping[str, Any] | None = None,
    imu: Mapping[str, Any] | None = None,
) -> Model:
    """ImageBind: image, video, text, audio, depth, thermal and imu in one space.

    checkpoint    a file in the official key layout (``imagebind_huge.pth`` or safetensors), a folder that holds
                  one, or a hub id; the official ``ImageBindModel`` in memory, whose weights are shared, or m2ib's own module;
                  None: the hub's copy of the published weights, or with an ``architecture``
                  random, seeded weights and a warning. On the device "meta" nothing is read
    architecture  sizes by the official constructor's keyword names and those of
                  :class:`Architecture`, over those of ``imagebind_huge`` (or of a
                  ``config.json`` beside the checkpoint)
    image_size    side of the images, in pixels; positional embeddings are interpolated to it; None: the
                  architecture's pixels, 224 in the published model
    image, audio, video, depth, thermal, imu
                  how raw inputs are prepared: fields of the preparations in ``m2ib_adapters.inputs``, such as
                  ``depth={"sensor": "kinect-v2"}`` or ``video={"crops": 1}``

    Raises :class:`CheckpointError` and :class:`SettingError`.
    """
    from open_clip.tokenizer import SimpleTokenizer

    sizes = None if isinstance(checkpoint, nn.Module) else Architecture.of(architecture)
    origin: dict[str, Any] = {"checkpoint": None}
    if sizes is None:
        module = weights.of_module(checkpoint, architecture)
        sizes, origin = module.architecture, {"checkpoint": described(checkpoint)}
    elif device.type == "meta":
        module = weights.empty(sizes).to(dtype)
    elif checkpoint is None and architecture is not None:
        warn("imagebind: an architecture without a checkpoint was loaded; its weights are random")
        module = weights.random(sizes, device, dtype)
    else:
        source = weights.HUB if checkpoint is None else checkpoint
        path = weights.locate(source)
        sizes = _sizes(path, architecture)
        module = weights.load(sizes, path, device, dtype)
        origin = {"checkpoint": str(source), "sha256": sha256(path)}
    usual = dataclasses.asdict(Architecture())
    others = {name: value for name, value in dataclasses.asdict(sizes).items() if value != usual[name]}
    origin |= {"architecture": others or "imagebind_huge"}
    given = {"image": image, "audio": audio, "video": video, "depth": depth, "thermal": thermal, "imu": imu}
    pixels = ImagePreparation((_side(image_size, sizes),) * 2, OPENAI_MEAN, OPENAI_STD)
    preparations = Preparations.of(sizes, pixels, given, "imagebind")
    byte_pairs = coder(SimpleTokenizer(context_length=sizes.context_length))
    return Model(module, encoders(module, preparations, byte_pairs), device, dtype, origin)


def _sizes(path: Path, architecture: Any) -> Architecture:
    """Of a file: those beside it, and over them those that are given. Raises :class:`SettingError`."""
    Architecture.of(architecture)
    return Architecture.of({**weights.sizes_beside(path), **(architecture or {})})


def _side(image_size: Any, sizes: Architecture) -> int:
    patch = sizes.kernel_size[1]
    if image_size is None:
        return sizes.pixels
    whole = isinstance(image_size, Integral) and not isinstance(image_size, bool)
    if not whole or image_size < patch or image_size % patch:
        raise SettingError(
            f"imagebind: image_size={image_size!r} is not a multiple of the patch, {patch} pixels; try "
            f"{16 * patch} or {32 * patch}"
        )
    SIDE.check("imagebind", int(image_size), f"image_size={image_size}", SettingError)
    return int(image_size)
