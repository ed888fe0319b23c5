"""``load_model("open-clip", ...)``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import nn

from m2ib.contract.model import Model
from m2ib.errors import CheckpointError, SettingError, decoding
from m2ib.notices import warn
from m2ib_adapters.checkpoints import hub_is_out_of_reach, may_be_hub_id
from m2ib_adapters.inputs.images import ImagePreparation, Preparation
from m2ib_adapters.inputs.media import sha256
from m2ib_adapters.inputs.options import check_count
from m2ib_adapters.inputs.tokens import Coder, HuggingFaceCoder, IdCoder, coder
from m2ib_adapters.looking import described_by, weights_in
from m2ib_adapters.memory import described, unwrapped
from m2ib_adapters.openclip import preprocess as preprocessing
from m2ib_adapters.openclip.architectures import CONFIG_FILE, HUB, Architecture, choose, resolve
from m2ib_adapters.openclip.image_towers import image_encoder
from m2ib_adapters.openclip.text_towers import prove, text_tower
from m2ib_adapters.openclip.transform import transformed_images
from m2ib_adapters.openclip.weights import construct, load_weights
from m2ib_adapters.towers.text import text_encoder
from m2ib_adapters.without_code import without_code

_CLASSES = ("open_clip.CLIP", "open_clip.CustomTextCLIP", "open_clip.CoCa")
_NAMED = ("visual.", "image_encoder.")  # weights that open_clip can make its own of
_TOKENIZERS = ("tokenizer.json", "tokenizer_config.json")
_TOKENIZER_OPTIONS = ("clean", "strip_sep_token", "language")  # any other goes on to what can run code


def can(checkpoint: Any, *, architecture: Any = None, **options: Any) -> str | None:
    """Why a checkpoint is none of open_clip's; None where it is. A file, or a tag, is one of an ``architecture``'s."""
    if isinstance(checkpoint, nn.Module):
        unwrapped("open-clip", checkpoint, _CLASSES)
        return None
    if isinstance(checkpoint, str | PathLike) and os.path.isfile(checkpoint):
        if architecture is None:
            return "is a file of weights, which goes with architecture="
        fit = any(name.startswith(_NAMED) for name in weights_in(Path(checkpoint), "open-clip"))
        return None if fit else f"has no weights named {_NAMED[0]}..."
    if architecture is not None:
        if str(architecture).startswith(HUB):
            return "is no file, and the architecture's repository has no pretrained tags"
        choose(resolve(architecture), checkpoint)
        return None
    found = described_by(checkpoint, CONFIG_FILE)
    return None if isinstance(found, dict) and "model_cfg" in found else f"has no {CONFIG_FILE}"


def load(
    *,
    architecture: Any = None,
    checkpoint: Any = None,
    device: torch.device,
    dtype: torch.dtype,
    quick_gelu: bool | None = None,
    preprocess: Any = None,
    tokenizer: Any = None,
    transform: Any = None,
    image_size: int | None = None,
    image: Mapping[str, Any] | None = None,
) -> Model:
    """Any model of open_clip.

    architecture  a registered name (``open_clip.list_models()``), "hf-hub:owner/name", a folder with an
                  open_clip_config.json, a model-config JSON file, or its content as a dict
    checkpoint    a local file (.pt, .bin, .pth, .safetensors) or a pretrained tag of the architecture.
                  A folder or hub repository brings its own, and may be given as a checkpoint alone;
                  a bare configuration without one gets
                  random, seeded weights and a warning. Or open_clip's model in memory, without an architecture, which
                  is taken and left as it is
    quick_gelu    the activation of OpenAI's models. None: as the tag or the configuration says; for a local
                  file of OpenAI weights under a name without "-quickgelu" say True
    preprocess    overrides any of mean, std, interpolation, resize_mode and fill_color
    tokenizer     a Hugging Face tokenizer's name or folder in place of the configuration's own, or what
                  ``open_clip.get_tokenizer`` gives
    transform     of a model in memory: the one for validation that ``open_clip.create_model_and_transforms`` gives, in
                  place of ``preprocess``. None: as the model's own ``preprocess_cfg`` says, else OpenAI's
    image_size    pixels along a side of the images, in place of the architecture's; positions are interpolated to it
    image         how raw images are read: page, minimum, maximum

    Raises :class:`CheckpointError` and :class:`SettingError`.
    """
    import open_clip

    if isinstance(checkpoint, nn.Module):
        if architecture is not None or quick_gelu is not None or image_size is not None:
            raise SettingError(
                "open-clip: architecture, quick_gelu and image_size are those of the model in memory; leave them out"
            )
        return _of_module(checkpoint, preprocess, tokenizer, transform, image)
    if transform is not None:
        raise SettingError(
            "open-clip: transform goes with a model in memory; say preprocess={...} for a checkpoint"
        )
    if quick_gelu is not None and not isinstance(quick_gelu, bool):
        raise SettingError(f"open-clip: quick_gelu is True, False or None, not {quick_gelu!r}")
    override = preprocessing.check(preprocess)
    if architecture is None and isinstance(checkpoint, str | PathLike):
        place = str(checkpoint)
        if os.path.isdir(place):  # that describes its own weights, as a repository of the hub
            architecture, checkpoint = place, None
        elif not os.path.exists(place) and "/" in place and may_be_hub_id(place):
            architecture, checkpoint = HUB + place, None
    source = resolve(architecture)
    if image_size is not None:
        check_count(image_size, "image_size", "open-clip")
        vision = {**source.config["vision_cfg"], "image_size": image_size}
        source = replace(source, config={**source.config, "vision_cfg": vision})
    chosen = choose(source, checkpoint)
    tag = chosen.tag or {}
    if quick_gelu is None:  # open_clip's entries say which weights were trained with it
        quick_gelu = bool(source.config.get("quick_gelu") or tag.get("quick_gelu"))
    module: Any = construct(source, quick_gelu, weights=chosen.path)
    if chosen.name is None:
        warn(
            f"open-clip: architecture {source.label} was loaded without a checkpoint; its weights are random"
        )
    else:
        load_weights(module, source, chosen, interpolate=image_size is not None)
    pixels = preprocessing.merge(source.preprocess, tag, override)
    origin = {
        "checkpoint": chosen.name,
        "architecture": source.label,
        "quick_gelu": quick_gelu,
        "open_clip": open_clip.__version__,
    }
    if where := source.place(chosen):
        origin["from"] = where
    if chosen.path:
        origin["sha256"] = sha256(chosen.path)
    if not source.tags:  # a name says it all; anything else is written out
        origin["model_config"] = source.config
    if image_size is not None:
        origin |= {
            "image_size": image_size,
            "positions": "interpolated where the checkpoint's are of another size",
        }
    preparation = preprocessing.preparation(module.visual.image_size, pixels).given(image, "open-clip")
    context = source.config["text_cfg"].get("context_length") or 77
    module = module.to(device=device, dtype=dtype).eval()
    return build(module, preparation, _coder(source, tokenizer, context), context, origin)


def _of_module(
    net: nn.Module, preprocess: Any, tokenizer: Any, transform: Any, image: Mapping[str, Any] | None
) -> Model:
    """A model in memory, as it is."""
    import open_clip

    if transform is not None and preprocess is not None:
        raise SettingError("open-clip: give transform or preprocess, not both")
    module = unwrapped("open-clip", net, _CLASSES)
    size = module.visual.image_size
    size = (size, size) if isinstance(size, int) else tuple(size)
    said = getattr(module.visual, "preprocess_cfg", None)
    if transform is not None:
        preparation: ImagePreparation = transformed_images(transform, size)
    else:
        if not said and preprocess is None:
            warn(
                "open-clip: the model in memory came without transform=, so pixels are prepared with OpenAI's values; give "
                "it if the model was trained with others"
            )
        pixels = preprocessing.merge(said, preprocessing.check(preprocess))
        preparation = preprocessing.preparation(size, pixels)
    context = int(getattr(module, "context_length", None) or 77)
    missing = "this model in memory came without tokenizer=; give open_clip.get_tokenizer(...), or token ids"
    words = IdCoder(missing) if tokenizer is None else _tokenizer(tokenizer, context, {})
    origin = {
        "checkpoint": described(net),
        "architecture": type(module).__name__,
        "open_clip": open_clip.__version__,
    }
    return build(module, preparation.given(image, "open-clip"), words, context, origin)


def _tokenizer(given: Any, context: int, options: Mapping[str, Any]) -> Coder:
    """Of one in memory, or a name or folder. Raises :class:`SettingError` for what open_clip has not, and for what cannot be had."""
    from open_clip.tokenizer import HFTokenizer, SimpleTokenizer

    if isinstance(given, (HFTokenizer, SimpleTokenizer)):
        return coder(given)
    if not isinstance(given, (str, PathLike)):
        raise SettingError(
            f"open-clip: tokenizer is a {type(given).__name__}; give what open_clip.get_tokenizer(...) gives, or the name "
            "or folder of a Hugging Face tokenizer"
        )
    with decoding(f"open-clip: tokenizer {str(given)!r}", "cannot be loaded", error=SettingError):
        here = os.path.isdir(given) or not may_be_hub_id(str(given))
        here = here or hub_is_out_of_reach(str(given), "tokenizer_config.json")
        options = {**options, "context_length": context, "local_files_only": here}
        return coder(without_code(HFTokenizer, str(given), **options))


def build(
    module: Any, preparation: Preparation, coder: Coder, context_length: int, origin: dict[str, Any]
) -> Model:
    """The model behind the adapter, from its parts."""
    who = f"open-clip: a {type(module).__name__} as the installed open_clip builds it"
    with decoding(who, "is not laid out as this adapter reads one", error=CheckpointError):
        tower = text_tower(module, context_length)
        image = image_encoder(module.visual, preparation)
    if tower.cut is not None and isinstance(coder, HuggingFaceCoder) and coder.padding_side != "right":
        raise CheckpointError(
            "open-clip: this model's tokenizer pads on the left, before the tokens that its text tower "
            "reads; name one that pads on the right with tokenizer="
        )
    weight = module.logit_scale
    encoders = {"image": image, "text": text_encoder(tower, coder)}
    model = Model(module, encoders, weight.device, weight.dtype, origin)
    prove(model, tower)
    return model


def _coder(source: Architecture, override: Any, context_length: int) -> Coder:
    """The tokenizer that the configuration names. One that cannot be had is missed when a string comes."""
    from open_clip.tokenizer import SimpleTokenizer

    text = source.config["text_cfg"]
    given = dict(text.get("tokenizer_kwargs") or {})
    options = {key: value for key, value in given.items() if key in _TOKENIZER_OPTIONS}
    if override is None and options != given:
        strange = ", ".join(repr(key) for key in given if key not in options)
        raise CheckpointError(
            f"open-clip: architecture {source.label}: its tokenizer_kwargs hold {strange:.80}, and only "
            f"{', '.join(_TOKENIZER_OPTIONS)} are followed; name a tokenizer or its folder with tokenizer="
        )
    name = override or str(text.get("hf_tokenizer_name") or "")
    if name and isinstance(name, (str, PathLike)) and text.get("tokenizer_mode"):
        raise CheckpointError(
            f"open-clip: the tokenizer mode {text['tokenizer_mode']!r} is not known to this adapter"
        )
    if override is not None:
        return _tokenizer(override, context_length, options)
    if not name and text.get("tokenizer_type", "simple") != "simple":
        return IdCoder(
            f"this model's tokenizer is of the type {text['tokenizer_type']!r:.40}, which is not known to this adapter; give "
            "token ids"
        )
    if not name:
        return coder(SimpleTokenizer(context_length=context_length, **options))
    if source.folder is not None:  # in it if one lies there, or under a relative name
        places = (place / file for place in (source.folder / name, source.folder) for file in _TOKENIZERS)
        name = next((str(file.parent) for file in places if os.path.isfile(file)), name)
    try:
        return _tokenizer(name, context_length, options)
    except SettingError as error:
        reason = str(error).partition(" cannot be loaded: ")[2]
        return IdCoder(
            f"this model's tokenizer cannot be loaded ({name}: {reason}); name another one or its folder "
            "with tokenizer="
        )
