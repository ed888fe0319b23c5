"""Any dual or multi encoder of transformers that ``families.py`` knows."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import nn

from m2ib.contract.model import Model
from m2ib.errors import CheckpointError, SettingError
from m2ib_adapters.huggingface.families import CLASSES, FAMILIES, IMAGES, PAIRS, family_of
from m2ib_adapters.huggingface.films import films, whole_frames
from m2ib_adapters.huggingface.images import Opened, images
from m2ib_adapters.huggingface.sounds import sounds
from m2ib_adapters.huggingface.texts import texts
from m2ib_adapters.inputs.media import sha256
from m2ib_adapters.inputs.options import check_attention
from m2ib_adapters.looking import transformers_fault
from m2ib_adapters.memory import described, parts_nearby, parts_of, place_of, resized, unwrapped, weights_of
from m2ib_adapters.transformers_models import base_of, from_transformers

MOST_PATCHES = 4096
"""An image of so many takes 50 MB as patches, and its attention 17 million scores a head and block."""

_NO_TOKENIZER = (
    "this checkpoint comes without a tokenizer; save one into its folder ({}Tokenizer.save_pretrained)"
)


def fault(
    who: str, families: tuple[str, ...], checkpoint: Any, *, config: Any = None, **options: Any
) -> str | None:
    """Why a checkpoint is none of these ``families``, by its config.json, in the name of the adapter ``who``; None where it is."""
    of_file = config is not None and isinstance(checkpoint, str | PathLike) and os.path.isfile(checkpoint)
    known = [FAMILIES[name] for name in families] + [CLASSES[name] for name in families if name in CLASSES]
    return transformers_fault(
        who,
        config if of_file else checkpoint,
        families,
        *(f"transformers.{family.model}" for family in known),
    )


def load_family(
    who: str,
    families: tuple[str, ...],
    modalities: str | tuple[str, ...] | None = None,
    max_patches: int | None = None,
    *,
    checkpoint: Any = None,
    device: torch.device,
    dtype: torch.dtype,
    attention: str | None = None,
    processor: Any = None,
    tokenizer: Any = None,
    config: Any = None,
    image_size: int | None = None,
    image: Mapping[str, Any] | None = None,
) -> Model:
    """A model of one of these ``families``, of any size, in the name of the adapter ``who``.

    checkpoint   a hub id or a folder written by ``save_pretrained``; or the model in memory, also inside PEFT's model or
                 torch.compile's, which is taken and left as it is; or a file of weights alone, with ``config``. None: the first
                 family's usual checkpoint
    modalities   PE-AV only: the pair that is compared, "audio,text", "video,text" or "audio,video", or a list of the two. None:
                 "audio,text"
    max_patches  NaFlex only: an image is resized to at most so many patches. None: as the checkpoint says, 256
    attention    transformers' ``attn_implementation`` ("sdpa", "eager"); None: its default
    processor    transformers' processor or image processor; None: the checkpoint's own
    tokenizer    transformers' tokenizer; None: the processor's, else the checkpoint's own
    config       of a file of weights: the hub id or folder whose config.json, image processor and tokenizer are the model's
    image_size   pixels along a side of the images, in place of the checkpoint's: positions are interpolated to it, and the
                 sizes of the image processor change with it
    image        how raw images are read: page, minimum, maximum

    Raises :class:`CheckpointError` and :class:`SettingError`.
    """
    check_attention(attention, who)
    kinds = {name: FAMILIES[name].model for name in families}
    others = {name: CLASSES[name].model for name in families if name in CLASSES}
    classes = tuple(f"transformers.{name}" for name in (*kinds.values(), *others.values()))
    usual = FAMILIES[families[0]].usual

    def check(config: Any) -> None:
        _check(who, source, max_patches, config)
        _pair(who, modalities, config)
        other = others.get(config.model_type)
        if other is not None and other in (config.architectures or ()):
            kinds[config.model_type] = other

    if isinstance(checkpoint, nn.Module):
        if attention is not None or image_size is not None or config is not None:
            raise SettingError(
                f"{who}: attention, image_size and config are those of the model in memory; leave them out"
            )
        source, module = described(checkpoint), unwrapped(who, checkpoint, classes)
        check(module.config)
        found = partial(parts_nearby, who, module)
        missing = "this model in memory came without tokenizer=; give it, or token ids"
    else:
        source = place_of(who, checkpoint, usual, classes)
        place, file = weights_of(who, source, config, usual)
        module, options = from_transformers(
            who, place, kinds, file=file, check=check, dtype=dtype, attn_implementation=attention
        )
        module = module.to(device).eval()
        found = partial(parts_of, who, place, options)
        missing = _NO_TOKENIZER.format("CLIP" if module.config.model_type == "clip" else "Auto")
    flexible, pair = module.config.model_type == "siglip2", _pair(who, modalities, module.config)
    nets = {name: getattr(module, f"{name}_model") for name in pair if name != "text"}
    nets, encoders = nets or {family_of(module).sees: module}, {}
    for sees, net in nets.items():
        kind = "image" if family_of(net).heads is None else sees  # X-CLIP's frames are images
        parts = found(processor, tokenizer, pillow=not flexible, kind=kind)
        if image_size is not None:
            if flexible:
                raise SettingError(
                    f"{who}: image_size is for models of a fixed size, and this is a NaFlex checkpoint; say max_patches"
                )
            tower = IMAGES.get(net.get_submodule(family_of(net).image).config.model_type)
            parts = resized(who, net, image_size, parts, own=0 if tower is None else tower.prefix or 0)
        opened = Opened(who, source, net, parts.image, isinstance(checkpoint, nn.Module))
        other = {"video": films if kind == "image" else whole_frames, "audio": sounds}.get(sees)
        encoders[sees] = images(opened, image, max_patches) if other is None else other(opened)
    if len(encoders) == 1:
        module, encoders["text"] = net, texts(who, net, parts.tokenizer, missing)
    said = " and ".join(map(_describe, nets.values()))
    origin: dict[str, Any] = {"checkpoint": source, "architecture": said}
    origin |= {"modalities": list(pair)} if pair else {}
    if config is not None:
        origin |= {"config": str(config), "sha256": sha256(Path(source))}
    elif not isinstance(checkpoint, nn.Module) and base_of(source) != source:
        origin["base"] = base_of(source)
    if image_size is not None:
        origin |= {"image_size": image_size, "positions": "interpolated"}
    return Model(module, encoders, module.device, module.dtype, origin)


can = partial(fault, "transformers", tuple(FAMILIES))
load = partial(load_family, "transformers", tuple(FAMILIES))
_SIGLIP = ("siglip", "siglip2")
can_clip, can_siglip = partial(fault, "clip", ("clip",)), partial(fault, "siglip", _SIGLIP)
load_clip = partial(load_family, "clip", ("clip",), None, None)  # modalities and max_patches are no CLIP's
load_siglip = partial(load_family, "siglip", _SIGLIP, None)  # modalities are PE-AV's


def _pair(who: str, modalities: Any, config: Any) -> tuple[str, ...]:
    """What of a model that compares several pairs is compared; () of any other. Raises :class:`SettingError`."""
    several = config.model_type == "pe_audio_video"
    if modalities is None:
        return PAIRS[0] if several else ()
    given = modalities if isinstance(modalities, (list, tuple)) else str(modalities).split(",")
    for pair in PAIRS if several else ():
        if sorted(map(str, given)) == sorted(pair):
            return pair
    ways = (
        f"give {' or '.join(map(','.join, PAIRS))}" if several else "which has one pair alone; leave it out"
    )
    raise SettingError(f"{who}: modalities is {modalities!r:.60} for a {config.model_type!r} model; {ways}")


def _check(who: str, source: str, max_patches: Any, config: Any) -> None:
    """Raises :class:`CheckpointError` for a model that embeds no images, and :class:`SettingError` for a ``max_patches`` that
    the model cannot have.
    """
    vision = getattr(config, "vision_config", None)
    for name in ("vision_use_head", "use_head"):
        if not getattr(vision, name, True):
            raise CheckpointError(
                f"{who}: checkpoint {source!r} has no pooling head ({name} is false in its config.json), so "
                "it makes no embedding of an image; use a checkpoint with both towers whole"
            )
    if max_patches is None:
        return
    if config.model_type != "siglip2":
        side = getattr(vision, "image_size", "one size of")
        raise SettingError(
            f"{who}: max_patches is {max_patches!r}, and this checkpoint takes images of {side}x{side} pixels alone; "
            "leave it out, or load a NaFlex checkpoint"
        )
    if type(max_patches) is not int or not 1 <= max_patches <= MOST_PATCHES:
        raise SettingError(
            f"{who}: max_patches is {max_patches!r}; give a whole number from 1 to {MOST_PATCHES}"
        )


def _describe(module: Any) -> str:
    """Family and sizes, as far as the configurations tell them."""
    family = family_of(module)
    text = module.get_submodule(family.text).config
    vision = module.get_submodule(family.image).config
    width, patch = getattr(vision, "hidden_size", None), getattr(vision, "patch_size", None)
    sizes = [f"{width}x{vision.num_hidden_layers}"] if width else []
    sizes += [f"patch {patch}"] if patch else []
    sizes += [f"{vision.num_patches} positions"] if hasattr(vision, "num_patches") else []
    sizes += [f"{vision.image_size} px"] if hasattr(vision, "image_size") else []
    name = family.model.removesuffix("Model") + (" ViT" if patch else "")
    return f"{name} {', '.join(sizes)}; text {text.hidden_size}x{text.num_hidden_layers}"
