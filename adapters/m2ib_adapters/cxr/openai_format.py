"""The architecture of a CLIP in OpenAI's format, read off the shapes of its weights."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from m2ib.errors import CheckpointError
from m2ib_adapters.state_dicts import found_in, listed, no_tensor

_HEAD = 64  # channels of an attention head: OpenAI's models have width // 64 of them
# The tensors that the architecture is read off, with their number of axes (None: any).
_TEXT = {
    "positional_embedding": 2,  # (T, C) T the context length
    "token_embedding.weight": 2,  # (V, C)
    "text_projection": 2,  # (C, D)
    "ln_final.weight": 1,
    "logit_scale": None,
}
_VIT = {
    "visual.conv1.weight": 4,  # (C, 3, P, P)
    "visual.positional_embedding": 2,  # (1 + G * G, C)
    "visual.proj": 2,  # (C, D)
}
_RESNET = {
    "visual.layer1.0.conv1.weight": 4,  # (C, stem, 1, 1)
    "visual.attnpool.positional_embedding": 2,  # (1 + G * G, 32 * C)
}
_SHRINKS = 32  # an image's side over that of the ResNet's last map


def model_config(state: Mapping[str, Any], who: str) -> dict[str, Any]:
    """What ``open_clip.CLIP`` is built from: embed_dim, vision_cfg, text_cfg.

    who  names the file in messages

    Raises :class:`CheckpointError`, naming up to five keys, for a state dict of another format.
    """
    resnet = any(key.startswith("visual.attnpool.") for key in state)
    _check(state, {**(_RESNET if resnet else _VIT), **_TEXT}, who)
    context, width = state["positional_embedding"].shape
    config: dict[str, Any] = {
        "embed_dim": state["text_projection"].shape[1],
        "vision_cfg": _vision(state, resnet, who),
        "text_cfg": {
            "context_length": context,
            "vocab_size": state["token_embedding.weight"].shape[0],
            "width": width,
            "heads": _heads(width, "text", who),
            "layers": _count(state, "transformer.resblocks"),
        },
    }
    if not config["text_cfg"]["layers"] or not config["vision_cfg"]["layers"]:
        raise CheckpointError(f"{who} holds no transformer blocks (transformer.resblocks.0. ...)")
    return config


def _vision(state: Mapping[str, Any], resnet: bool, who: str) -> dict[str, Any]:
    if resnet:
        width, patch = state["visual.layer1.0.conv1.weight"].shape[0], {}
        layers: Any = [_count(state, f"visual.layer{number}") for number in (1, 2, 3, 4)]
        wide, cell, positions = width * _SHRINKS, _SHRINKS, "visual.attnpool.positional_embedding"
    else:
        width, _, cell, _ = state["visual.conv1.weight"].shape
        layers, patch = _count(state, "visual.transformer.resblocks"), {"patch_size": cell}
        wide, positions = width, "visual.positional_embedding"
    _heads(wide, "image", who)
    side = cell * _side(state, positions, who)
    return {"image_size": side, "layers": layers, "width": width, "head_width": _HEAD, **patch}


def _check(state: Mapping[str, Any], expected: Mapping[str, int | None], who: str) -> None:
    wrong = []
    for key, axes in expected.items():
        value: Any = state.get(key)
        if fault := no_tensor(key, value):
            wrong.append(fault)
        elif axes is not None and value.ndim != axes:
            wrong.append(f"{key} ({tuple(value.shape)}, not {axes} axes)")
    if wrong:
        way_out = "give the state dict of a CLIP as OpenAI's code names its weights"
        if any(key.startswith(("vision_model.", "text_model.")) for key in state):
            way_out = "open a transformers checkpoint with the adapter 'clip'"
        raise CheckpointError(
            f"{who} is not in OpenAI's CLIP format: {listed(wrong)}; {way_out}; {found_in(dict(state))}"
        )


def _count(state: Iterable[str], prefix: str) -> int:
    """Blocks under ``prefix``; gaps in their numbers show up when weights and module are compared."""
    numbered = re.compile(re.escape(prefix) + r"\.(\d+)\.")
    return len({found[1] for key in state if (found := numbered.match(key))})


def _side(state: Mapping[str, Any], key: str, who: str) -> int:
    """Of the grid that a positional embedding is for, less its class token or mean."""
    positions = state[key].shape[0] - 1
    side = math.isqrt(max(positions, 0))
    if side == 0 or side * side != positions:
        raise CheckpointError(
            f"{who} cannot be opened: {key} has {positions + 1} rows, which is not a square grid and one more"
        )
    return side


def _heads(width: int, what: str, who: str) -> int:
    heads = width // _HEAD
    if heads == 0 or width % heads:
        raise CheckpointError(
            f"{who} cannot be opened: its {what} encoder is {width} wide, which width // {_HEAD} = {heads} heads "
            "cannot share"
        )
    return heads
