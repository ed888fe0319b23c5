"""``load_model("cxr-repair", checkpoint="x.pt")``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import nn

from m2ib.contract.encoder import Defaults
from m2ib.contract.model import Model
from m2ib.errors import CheckpointError, SettingError
from m2ib.notices import warn
from m2ib_adapters.cxr.openai_format import model_config
from m2ib_adapters.cxr.preprocess import XrayPreparation, way_named
from m2ib_adapters.inputs.media import sha256
from m2ib_adapters.inputs.options import check_count
from m2ib_adapters.inputs.tokens import coder
from m2ib_adapters.looking import weights_in
from m2ib_adapters.memory import described, unwrapped
from m2ib_adapters.openclip.adapter import build
from m2ib_adapters.openclip.architectures import Architecture
from m2ib_adapters.openclip.weights import construct, fit_to
from m2ib_adapters.state_dicts import differences, listed, read_state

_WHO = "cxr-repair"
_CLASSES = ("open_clip.CLIP",)
_VOCABULARY = 49_408  # of OpenAI's byte pairs
# The paper's Table 2, for CXR-RePaiR on MS-CXR: twelve blocks on either side.
_DEFAULTS = {"image": (9, Defaults(beta=0.1, variance=1.0)), "text": (7, Defaults(beta=1.0, variance=1.0))}


def can(checkpoint: Any, **options: Any) -> str | None:
    """Why a checkpoint is no CLIP in OpenAI's format; None where it is, and a warning of what is then assumed."""
    if isinstance(checkpoint, nn.Module):
        unwrapped(_WHO, checkpoint, _CLASSES)
        return None
    path = _file(checkpoint)
    model_config(weights_in(path, _WHO), f"{_WHO}: checkpoint {str(path)!r}")
    warn(
        f"{_WHO}: {str(path)!r} is a CLIP in OpenAI's format, which does not say what of; its images are taken for chest X-rays. "
        "For photographs open it with 'open-clip' and architecture="
    )
    return None


def load(
    *,
    checkpoint: Any = None,
    device: torch.device,
    dtype: torch.dtype,
    preprocess: Any = "mimic",
    equalize: bool | None = None,
    image_size: int | None = None,
    image: Mapping[str, Any] | None = None,
) -> Model:
    """Any CLIP whose state dict is in OpenAI's format, with the pixels of CXR-RePaiR.

    checkpoint  the file; the architecture is read off its shapes, weights are widened to float32 first. Or such a CLIP of
                open_clip in memory, which is taken and left as it is
    preprocess  "mimic": (x - 101.48761) / 83.43944 of grey levels 0-255 in a black 320 x 320 square, then
                resized; "chexpert": (x - 129.4185) / 73.3378, resized as it is
    equalize    whether the histogram of grey levels is equalised first; of a DICOM over all its values, as
                MIMIC-CXR-JPG's files were made. None: with "mimic" a DICOM is, for the model was trained on such
                files; other pictures are taken as they are
    image_size  pixels along a side of the images, in place of the file's; a ViT's positions are interpolated to it
    image       how raw images are read: page, minimum, maximum

    Raises :class:`CheckpointError` and :class:`SettingError`.
    """
    import open_clip
    from open_clip.tokenizer import SimpleTokenizer

    way_named(preprocess)
    if equalize is not None and not isinstance(equalize, bool):
        raise SettingError(f"{_WHO}: equalize is True or False, not {equalize!r}")
    if isinstance(checkpoint, nn.Module):
        module, origin = _of_module(checkpoint, image_size), {"checkpoint": described(checkpoint)}
    else:
        module, origin = _of_file(_file(checkpoint), image_size)
        module = module.to(device=device, dtype=dtype).eval()
    size, context = module.visual.image_size, module.context_length
    side = size if isinstance(size, int) else size[0]
    preparation = XrayPreparation(preprocess, side, equalize).given(image, _WHO)
    origin["open_clip"] = open_clip.__version__
    code = coder(SimpleTokenizer(context_length=context))
    return _with_defaults(build(module, preparation, code, context, origin))


def _of_file(path: Path, image_size: Any) -> tuple[Any, dict[str, Any]]:
    """The module in float32, and where it came from."""
    from open_clip.model import resize_pos_embed

    state = read_state(path, _WHO)
    who = f"{_WHO}: checkpoint {str(path)!r}"
    config = model_config(state, who)
    origin = {"checkpoint": str(path), "sha256": sha256(path), "model_config": config, "quick_gelu": True}
    if image_size is not None:
        _resize(config["vision_cfg"], image_size)
        origin |= {"image_size": image_size, "positions": "interpolated"}
    module: Any = construct(Architecture(f"of {str(path)!r}", config), True, _WHO, path)
    weights = fit_to(module, state)
    if image_size is not None:
        positions = "visual.positional_embedding"  # (1 + G * G, C)
        # in float32: half is not interpolated on every CPU
        weights[positions] = weights[positions].float()
        resize_pos_embed(weights, module)
    if wrong := differences(module, weights):
        raise CheckpointError(f"{who} is not in OpenAI's CLIP format: {listed(wrong)}")
    module.load_state_dict(weights)  # into float32, whatever the file holds
    return module, origin


def _of_module(net: nn.Module, image_size: Any) -> Any:
    """A model in memory, as it is."""
    if image_size is not None:
        raise SettingError(f"{_WHO}: image_size is that of the model in memory; leave it out")
    module = unwrapped(_WHO, net, _CLASSES)
    size = module.visual.image_size
    rows, columns = (size, size) if isinstance(size, int) else size
    if rows != columns or module.vocab_size != _VOCABULARY:
        raise CheckpointError(
            f"{_WHO}: the CLIP in memory takes images of {columns}x{rows} pixels and has {module.vocab_size:,} tokens, where "
            f"OpenAI's format has squares and {_VOCABULARY:,}; open it with 'open-clip'"
        )
    return module


def _resize(vision: dict[str, Any], side: Any) -> None:
    """Say so many pixels in the configuration. Raises :class:`SettingError`."""
    check_count(side, "image_size", _WHO)
    if "patch_size" not in vision:
        raise SettingError(
            f"{_WHO}: image_size is {side}, and this file is a ResNet's, whose positions are not interpolated; leave it "
            f"out: images are of {vision['image_size']} pixels"
        )
    if side < vision["patch_size"]:
        raise SettingError(
            f"{_WHO}: image_size is {side}, less than a patch of {vision['patch_size']} pixels"
        )
    vision["image_size"] = side


def _file(checkpoint: Any) -> Path:
    if checkpoint is None:
        raise CheckpointError(
            f"{_WHO}: checkpoint is missing; give the file of an OpenAI-format CLIP state dict, "
            "as in checkpoint='clip-imp-pretrained_128_6_after_4.pt'"
        )
    if not isinstance(checkpoint, (str, PathLike)):
        raise CheckpointError(f"{_WHO}: checkpoint is a file, not {type(checkpoint).__name__}")
    path = Path(checkpoint)
    if not os.path.isfile(path):
        what = "does not exist; check the path"
        if os.path.isfile(path / "config.json"):
            what = "is a transformers folder; open it with the adapter 'clip'"
        elif os.path.isdir(path):
            what = "is a folder; name a file in it"
        raise CheckpointError(f"{_WHO}: checkpoint {str(path)!r} {what}")
    return path


def _with_defaults(model: Model) -> Model:
    """The paper's settings: its layers where there are so many blocks, and never the last one.

    A ResNet keeps its own layer, for its blocks are not those that the paper counts.
    """
    encoders = {}
    for name, (paper, defaults) in _DEFAULTS.items():
        encoder = model.encoders[name]
        layer = max(-1, min(paper, len(encoder.layers) - 2))
        if name == "image" and hasattr(model.module.visual, "attnpool"):
            layer = encoder.default_layer
        encoders[name] = replace(encoder, defaults=replace(defaults, layer=layer))
    return replace(model, encoders=encoders)
