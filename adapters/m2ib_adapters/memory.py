"""Models as users have them in memory, and what makes their inputs ready: given, or read where the weights came from."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import nn

from m2ib.errors import CheckpointError, SettingError
from m2ib_adapters.bounds import SIDE, check_described
from m2ib_adapters.checkpoints import HERE, has_any, loading, path_of
from m2ib_adapters.inputs.options import check_count
from m2ib_adapters.inputs.processors import image_processor, with_pillow
from m2ib_adapters.transformers_models import base_of
from m2ib_adapters.without_code import without_code

_TOKENIZERS = ("tokenizer.json", "vocab.json", "tokenizer.model", "spiece.model", "tokenizer_config.json")
_KINDS = {  # what reads it, the file it alone is in, its name in a processor of several kinds, and what it has
    "image": ("AutoImageProcessor", "preprocessor_config.json", "image_processor", "preprocess"),
    "audio": ("AutoFeatureExtractor", "preprocessor_config.json", "feature_extractor", "sampling_rate"),
    "video": ("AutoVideoProcessor", "video_preprocessor_config.json", "video_processor", "sample_frames"),
}
Reader = Callable[[str, Mapping[str, Any]], Any]
"""(folder or hub id, options) -> what is read there; None where there is none."""


@dataclass(frozen=True)
class Parts:
    """What makes inputs ready.

    image      transformers' image processor; None: there is none
    tokenizer  transformers'; None: there is none
    """

    image: Any
    tokenizer: Any


def place_of(adapter: str, checkpoint: Any, usual: str, kinds: tuple[type | str, ...] = ()) -> str:
    """The folder or hub id that is meant; ``usual`` for None.

    kinds  classes that the adapter takes from memory, or their names

    Raises :class:`CheckpointError` for what is neither.
    """
    if checkpoint is None:
        return usual
    ways, named = "give a hub id or a folder written by save_pretrained", list(map(_name_of, kinds))
    return path_of(adapter, checkpoint, ways + (f", or a {' or '.join(named)} in memory" if named else ""))


def weights_of(adapter: str, checkpoint: str, config: Any, usual: str) -> tuple[str, Path | None]:
    """The folder or hub id that describes the model, and the file of its weights where ``checkpoint`` is one.

    config  the ``config`` option: what describes a file of weights
    usual   an example of one

    Raises :class:`CheckpointError` for a file that nothing describes, and :class:`SettingError` for a config without one.
    """
    file = Path(checkpoint)
    if not os.path.isfile(file):
        if config is None:
            return checkpoint, None
        raise SettingError(
            f"{adapter}: config is for a checkpoint that is a file of weights, and {checkpoint!r} is none; leave it out"
        )
    if config is None:
        raise CheckpointError(
            f"{adapter}: checkpoint {checkpoint!r} is a file, which does not say what model its weights are of; "
            f"say it too with config={usual!r} or another hub id or folder with its config.json; or give a folder written by "
            "save_pretrained"
        )
    return path_of(adapter, config, "config is a hub id or a folder with config.json"), file


def unwrapped(adapter: str, net: nn.Module, kinds: tuple[type | str, ...]) -> Any:
    """The model itself, out of what torch.compile, data parallelism or PEFT lay around it; nothing is changed.

    kinds  classes, or the names of some that need not be imported: ``"ImageBindModel"``, or of a package ``"open_clip.CLIP"``

    Raises :class:`CheckpointError` where it is none of these classes.
    """
    inner: Any = net
    while not any(kind in _kinds_of(inner) for kind in kinds):
        if isinstance(inner, nn.DataParallel | nn.parallel.DistributedDataParallel):
            inner = inner.module
        elif hasattr(inner, "peft_config") and hasattr(inner, "get_base_model"):
            if any(config.is_prompt_learning for config in inner.peft_config.values()):
                raise CheckpointError(
                    f"{adapter}: checkpoint is a {type(net).__name__} that learns prompts, which are no part of its model; "
                    "LoRA and its kin can be explained"
                )
            inner = inner.get_base_model()
        elif isinstance(getattr(inner, "_orig_mod", None), nn.Module):
            inner = inner._orig_mod
        else:
            named = list(map(_name_of, kinds))
            raise CheckpointError(
                f"{adapter}: checkpoint is a {type(inner).__module__.partition('.')[0]} {type(inner).__name__} in memory, "
                f"not {'an' if named[0][0] in 'AEIOU' else 'a'} {' or '.join(named)}; give that, another adapter its own "
                "(open-clip takes open_clip's), or any module to m2ib.adapt(module, encoders={...})"
            )
    return inner


def _name_of(kind: type | str) -> str:
    return str(getattr(kind, "__name__", kind)).rpartition(".")[2]


def _kinds_of(net: Any) -> set[type | str]:
    """Its classes, and their names with and without the package."""
    classes = type(net).__mro__
    packages = {f"{each.__module__.partition('.')[0]}.{each.__name__}" for each in classes}
    return {*classes, *packages, *(each.__name__ for each in classes)}


def described(net: nn.Module) -> str:
    """A model in memory, for the provenance."""
    name = getattr(net, "name_or_path", "") or ""
    return f"{type(net).__name__} in memory" + (f", from {name}" if name else "")


def parts_of(
    adapter: str,
    source: str,
    options: Mapping[str, Any],
    processor: Any,
    tokenizer: Any,
    *,
    pillow: bool = True,
    kind: str = "image",
) -> Parts:
    """The image processor and the tokenizer: those given, or those of ``source``.

    source     a folder or hub id; "": nowhere
    options    for reading from it
    processor  transformers' processor of both, an image processor, or where to read one
    tokenizer  transformers', or where to read one
    pillow     see :func:`image_processor`
    kind       "image"; in place of an image processor, a feature extractor of "audio" or a video processor of "video"

    Raises :class:`CheckpointError`, and :class:`SettingError` for what is neither.
    """
    read, (_, _, name, own) = partial(_of_kind, kind, pillow), _KINDS[kind]
    given = getattr(processor, name, processor)
    if tokenizer is None and given is not processor:
        tokenizer = getattr(processor, "tokenizer", None)
    with loading(adapter, source or "in memory"):
        image = _had(given, read, source, options)
        tokenizer = _had(tokenizer, _tokenizer, source, options)
        if not (image is None or (hasattr(image, "save_pretrained") and hasattr(image, own))):
            raise SettingError(
                f"{adapter}: processor is a {type(image).__name__}; give transformers' processor or image processor of "
                "this model, or the folder it was saved in"
            )
        if not (tokenizer is None or hasattr(tokenizer, "convert_ids_to_tokens")):
            raise SettingError(
                f"{adapter}: tokenizer is a {type(tokenizer).__name__}; give transformers' tokenizer of this model, or the "
                "folder it was saved in"
            )
        if image is not None and image is given and pillow and kind == "image":
            image = with_pillow(image)
    return Parts(image, tokenizer)


def parts_nearby(
    adapter: str, net: nn.Module, processor: Any, tokenizer: Any, *, pillow: bool = True, kind: str = "image"
) -> Parts:
    """:func:`parts_of` a model in memory: where its weights were read from, as far as that is on this machine."""
    name = str(getattr(net, "name_or_path", "") or "")
    given = parts_of(adapter, "", HERE, processor, tokenizer, pillow=pillow, kind=kind)
    image, words = given.image, given.tokenizer
    with suppress(Exception):  # not on this machine, or not to be read
        image = _had(image, partial(_of_kind, kind, pillow), name, HERE)
    with suppress(Exception):
        words = _had(words, _tokenizer, name, HERE)
    return Parts(image, words)


def _had(given: Any, read: Reader, source: str, options: Mapping[str, Any]) -> Any:
    """What was given, or is read where that says; None: in ``source``, of PEFT's folder then its base."""
    if isinstance(given, (str, PathLike)):
        return read(str(given), HERE)
    if given is not None or not source:
        return given
    places = dict.fromkeys((source, base_of(source)))
    return next(filter(None, (read(place, options) for place in places)), None)


def _of_kind(kind: str, pillow: bool, source: str, options: Mapping[str, Any]) -> Any:
    """The image processor, feature extractor or video processor; None where a folder holds none."""
    import transformers

    if kind == "image":
        return image_processor(source, options, pillow=pillow)
    auto, file, name, _ = _KINDS[kind]
    if not has_any(source, file, "processor_config.json"):
        return None
    made = without_code(getattr(transformers, auto).from_pretrained, source, **options)
    check_described(made.to_dict(), f"checkpoint {source!r}: its {name.replace('_', ' ')}")
    return made


def _tokenizer(source: str, options: Mapping[str, Any]) -> Any:
    """None where a folder holds none; ids can still be explained."""
    from transformers import AutoTokenizer

    if not has_any(source, *_TOKENIZERS):
        return None
    return without_code(AutoTokenizer.from_pretrained, source, **options)


def resized(adapter: str, module: Any, side: int, parts: Parts, *, own: int = 1) -> Parts:
    """Interpolate the positions of a transformers vision tower to images of so many pixels a side; the parts that make such.

    own  tokens that are no patches: CLIP's class token

    Raises :class:`SettingError`.
    """
    vision: Any = getattr(getattr(module, "vision_model", None), "embeddings", None)
    if not isinstance(getattr(vision, "position_embedding", None), nn.Embedding):
        raise SettingError(
            f"{adapter}: image_size is for towers whose positions can be interpolated; leave it out"
        )
    config = module.config.vision_config
    before, patch = config.image_size, config.patch_size
    check_count(side, "image_size", adapter)
    SIDE.check(adapter, side, f"image_size={side}", SettingError)
    if side < patch:
        raise SettingError(f"{adapter}: image_size is {side}, less than a patch of {patch} pixels")
    count = (side // patch) ** 2 + own
    with torch.no_grad():  # transformers' own way: (1, T, C), bicubic
        stand_in = vision.position_embedding.weight.new_empty(1, count, config.hidden_size)
        positions = vision.interpolate_pos_encoding(stand_in, side, side)[0]
    vision.position_embedding = nn.Embedding.from_pretrained(positions, freeze=False)
    vision.position_ids = torch.arange(count, device=positions.device)[None]
    vision.num_patches, vision.num_positions = count - own, count
    vision.image_size = config.image_size = side
    if parts.image is None:
        return parts
    image = deepcopy(parts.image)
    for name in ("size", "crop_size", "pad_size"):
        if given := getattr(image, name, None):
            sides = {key: round(each * side / before) for key, each in dict(given).items()}
            setattr(image, name, type(given)(**sides))
    return replace(parts, image=image)
