"""A configuration and a file -> open_clip's module with its weights, read safely and compared key by key."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn

from m2ib.errors import CheckpointError, SettingError, decoding
from m2ib_adapters.bounds import check_described, check_weights
from m2ib_adapters.checkpoints import cached_file, from_folder_or_hub, hub_has, loading
from m2ib_adapters.openclip.architectures import CONFIG_FILE, WEIGHT_FILES, Architecture, ChosenArchitecture
from m2ib_adapters.state_dicts import differences, found_in, listed, read_state
from m2ib_adapters.without_code import without_code

_SEED = 0  # of the weights that a checkpoint then replaces; of all of them when there is none
_ELSEWHERE = "; positions for images of another size are interpolated with image_size="
_NOT_WEIGHTS = ("input_resolution", "context_length", "vocab_size")  # numbers in OpenAI's files


def construct(
    architecture: Architecture, quick_gelu: bool, who: str = "open-clip", weights: Path | None = None
) -> nn.Module:
    """The module in float32 on the CPU, seeded; nothing is downloaded for its towers.

    who      the adapter that errors speak of, here and below
    weights  the file that it is to hold the weights of

    Raises :class:`SettingError` for a configuration that open_clip's constructors do not take, or is too large.
    """
    import open_clip

    label = f"{who}: architecture {architecture.label}"
    config = deepcopy(architecture.config)
    check_described(config, label, SettingError)
    if name := config["vision_cfg"].get("timm_model_name"):
        config["vision_cfg"]["timm_model_pretrained"] = False
        if ":" in str(name):
            raise SettingError(f"{label} names the image tower {name!r:.80}, and only timm's own are built")
    text = config["text_cfg"]
    if quick_gelu:
        config["quick_gelu"] = True
    other_text = text.get("hf_model_name") or text.get("text_arch") == "modern"
    custom = config.pop("custom_text", False) or bool(other_text)
    if custom and "multimodal_cfg" in config:
        kind = open_clip.CoCa
    else:
        kind = open_clip.CustomTextCLIP if custom else open_clip.CLIP
    there = weights.stat().st_size if weights else None
    with TemporaryDirectory() as folder, torch.random.fork_rng(devices=[]):
        if text.get("hf_model_name"):
            _describe_text_tower(text, architecture.folder, Path(folder), label)
        check_weights(lambda: kind(**deepcopy(config)), label, there, SettingError)
        torch.manual_seed(_SEED)
        with decoding(label, f"cannot be built by {kind.__name__}", error=SettingError):
            module: nn.Module = kind(**config)
    return module


def _describe_text_tower(text: dict[str, Any], beside: Path | None, folder: Path, label: str) -> None:
    """Have open_clip read transformers' description of a text tower in ``folder``, where no code is named: it would run it."""
    from transformers import AutoConfig, PreTrainedConfig

    name = str(text["hf_model_name"])
    if beside and (beside / name / "config.json").is_file():
        name = str(beside / name)
    with decoding(f"{label}: its text tower {name!r:.80}", "cannot be read", error=SettingError):
        place = from_folder_or_hub(label, name, "its text tower")
        check_described(PreTrainedConfig.get_config_dict(name, **place)[0], label, SettingError)
        described = without_code(AutoConfig.from_pretrained, name, **place)
        vars(described).pop("auto_map", None)
        described.save_pretrained(folder)
    text |= {"hf_model_name": str(folder), "hf_model_pretrained": False}


def load_weights(
    module: nn.Module, architecture: Architecture, chosen: ChosenArchitecture, *, interpolate: bool = False
) -> None:
    """Put the chosen weights into the module. Raises :class:`CheckpointError`.

    interpolate  positions of a file for images of another size (of a tag they are in any case)
    """
    import open_clip
    from open_clip.model import resize_pos_embed

    if chosen.tag is not None:  # open_clip's own pairing of name and file, and its own conversions
        with loading("open-clip", f"{architecture.label} {chosen.name}"):
            path = _cached_or_within_reach(chosen.name, chosen.tag) or open_clip.download_pretrained(
                chosen.tag
            )
            open_clip.load_checkpoint(module, path, strict=True, weights_only=True)
        return
    assert chosen.path is not None
    given = read_state(chosen.path, "open-clip")
    state = fit_to(module, given)
    if interpolate:
        try:
            resize_pos_embed(state, module)
        except RuntimeError as error:
            raise CheckpointError(
                f"open-clip: checkpoint {chosen.name!r} has positions that are not of a square image; open_clip interpolates no others"
            ) from error
    if wrong := differences(module, state):
        elsewhere = any("positional_embedding (" in key and "instead" in key for key in wrong)
        raise CheckpointError(
            f"open-clip: checkpoint {chosen.name!r} is not of the architecture {architecture.label}: "
            f"{listed(wrong)}; name the architecture that it was trained with{_ELSEWHERE if elsewhere else ''}; "
            f"{found_in(given)}"
        )
    module.load_state_dict(state)


def _cached_or_within_reach(name: str | None, tag: dict[str, Any]) -> Path | None:
    """The file of a tag in the hub's cache; None where the hub has it. Raises :class:`CheckpointError` where neither does."""
    repository, _, named = tag.get("hf_hub", "").rpartition("/")
    if not repository:  # a plain address, which open_clip asks once
        return None
    files = (str(Path(named).with_suffix(".safetensors")), named) if named else WEIGHT_FILES
    path = cached_file(repository, *files)
    if path is None:
        way_out = "download the file elsewhere and give its path as checkpoint"
        hub_has(f"open-clip: checkpoint {name!r}", repository, named or CONFIG_FILE, way_out)
    return path


def fit_to(module: Any, state: dict[str, Any]) -> dict[str, Any]:
    """Other spellings of the same weights in this module's: the rules of ``open_clip.load_checkpoint``.

    Its resizing of positional embeddings is left out: a file that needs it is one of another architecture.
    """
    from open_clip.convert import convert_state_dict
    from open_clip.model import convert_to_custom_text_state_dict

    state = convert_state_dict(
        module, {key: value for key, value in state.items() if key not in _NOT_WEIGHTS}
    )
    if "positional_embedding" in state and not hasattr(module, "positional_embedding"):
        state = convert_to_custom_text_state_dict(state)
    expected = module.state_dict()
    for name in ("logit_scale", "logit_bias"):  # one number, written () or (1,)
        if name in state and name in expected and state[name].numel() == expected[name].numel():
            state[name] = state[name].reshape(expected[name].shape)
    if "logit_bias" in expected and "logit_bias" not in state and "logit_scale" in state:
        state["logit_bias"] = torch.zeros_like(expected["logit_bias"])
    return {
        key: value
        for key, value in state.items()
        if key in expected or not key.endswith("embeddings.position_ids")
    }
