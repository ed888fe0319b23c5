"""The module's branches as encoders: where layers are, and the way from a layer to the embedding."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor, nn

from m2ib.contract import encoder as contract
from m2ib.contract.encoder import Encoder, Layer, read_first
from m2ib.contract.inputs import Inputs, Item
from m2ib_adapters.imagebind.blocks import Attention, Block
from m2ib_adapters.imagebind.network import CLIP_DIMENSIONS, ImageBind
from m2ib_adapters.imagebind.preparations import InputPreparation, Preparations
from m2ib_adapters.inputs.tensors import tensor_of
from m2ib_adapters.inputs.tokens import Coder
from m2ib_adapters.towers import blocks as parts
from m2ib_adapters.towers.attention import first_position
from m2ib_adapters.towers.layers import block_layers
from m2ib_adapters.towers.pooled import headed_tail
from m2ib_adapters.towers.text import TextTower, text_encoder

_PICTURES = ("vision", "depth", "thermal")  # may leave a border that is less than a patch


def encoders(module: ImageBind, preparations: Preparations, coder: Coder) -> dict[str, Encoder]:
    """One for each kind of input that is prepared, and for text; images and videos share the branch "vision"."""
    made = {"image": _encoder(module, "image", "vision", preparations.image)}
    if preparations.video is not None:
        made["video"] = _encoder(module, "video", "vision", preparations.video)
    made["text"] = _text_encoder(module, coder)
    for name in ("audio", "depth", "thermal", "imu"):
        made[name] = _encoder(module, name, name, getattr(preparations, name))
    return made


def _encoder(module: ImageBind, modality: str, name: str, preparation: InputPreparation) -> Encoder:
    def prepare(raw: Any, *, truncate: bool = False) -> Item:
        return preparation.prepare(raw)

    def describe(inputs: Inputs) -> Item:
        return preparation.describe(tensor_of(inputs, modality))

    sizes = module.architecture
    return Encoder(
        modality=modality,
        prepare=prepare,
        describe=describe,
        embed=lambda inputs: module.embed(name, _tensor(inputs, modality)),  # (N, D)
        layers=_layers(module, name),
        tail=_tail(module, modality, name),
        stride=sizes.patches(name).stride,
        degradation=sizes.patches(name).fading(sizes.size(name)) if name in _PICTURES else None,
        attention=contract.Attention(first_position),
    )


def _text_encoder(module: ImageBind, coder: Coder) -> Encoder:
    def cut(ids: list[int]) -> list[int]:
        """What follows the end token, the largest id, is not read."""
        return ids[: ids.index(max(ids)) + 1]

    sizes = module.architecture
    tower = TextTower(
        lambda ids: module.embed("text", ids),
        _layers(module, "text"),
        None,
        sizes.context_length,
        sizes.vocabulary_size,
        cut,
        pad=0,
        tail=_tail(module, "text", "text"),
        attention=contract.Attention(_end),
        reads="largest",
    )
    return text_encoder(tower, coder)


def _end(inputs: Inputs) -> Tensor:
    """ids (N, T) -> (N,) the end token's position."""
    return tensor_of(inputs, "text").argmax(-1)


def _layers(module: ImageBind, name: str) -> tuple[Layer, ...]:
    return block_layers(
        module.blocks(name), f"modality_trunks.{name}.blocks", read=_read_clips, write=_write_clips
    )


def _read_clips(output: Any) -> Tensor:
    """(N, clips, T, C) -> (N, clips * T, C), clip-major; (N, T, C) as it is."""
    return read_first(output).flatten(1, -2)


def _write_clips(output: Any, value: Tensor) -> Any:
    """The inverse of :func:`_read_clips`, for any number of rows."""
    return value.reshape(len(value), *read_first(output).shape[1:])


def _tensor(inputs: Inputs, modality: str) -> Tensor:
    """Of a video (N, 3, frames, H, W), one clip each, with an axis of clips."""
    x = tensor_of(inputs, modality)
    return x[:, None] if modality == "video" and x.ndim == CLIP_DIMENSIONS else x


def _tail(module: ImageBind, modality: str, name: str) -> Callable[[Tensor, int, Inputs], Tensor]:
    read = _end if name == "text" else None
    mask = partial(module.mask, name)
    pooled = headed_tail(module.blocks(name), _parts_of, module.modality_heads[name], read=read, mask=mask)

    def tail(z: Tensor, layer: int, inputs: Inputs) -> Tensor:
        """The blocks after ``layer``, the last one for the position that is read alone, and the head."""
        x = _tensor(inputs, modality)
        clips = x.shape[1] if x.ndim >= CLIP_DIMENSIONS else None
        if clips is not None:
            z = z.unflatten(1, (clips, -1)).flatten(0, 1)  # (M, clips * T, C) -> (M * clips, T, C)
        features = pooled(z, layer, inputs)  # (M * clips, D)
        if clips is not None:
            features = features.unflatten(0, (-1, clips))  # (M, clips, D)
        return module.finish(name, features, clips is not None)  # (M, D)

    return tail


def _parts_of(block: nn.Module) -> parts.Block | None:
    if type(block) is not Block or type(block.attn) is not Attention:
        return None
    if type(block.attn.out_proj) is not nn.Linear:
        return None
    mlp: parts.Part = parts.Called(block.mlp)
    if type(block.mlp) is nn.Sequential and len(block.mlp) == 3:
        mlp = parts.mlp_of(block.mlp, *block.mlp)
    norms = {"norm1": parts.norm_of(block.norm_1), "norm2": parts.norm_of(block.norm_2)}
    return parts.Block.of_packed(block.attn, **norms, mlp=mlp)
