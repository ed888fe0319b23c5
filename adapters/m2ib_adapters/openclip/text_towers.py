"""open_clip's text towers: which positions are read, and how a tower runs on those alone.

open_clip pads every text to the context length. Three kinds of tower read what is padded differently:

``causal``  CLIP: position t sees those up to t, and one token (end of text) is pooled. Nothing after it is
            read: the ids are cut there, and padded again only to the longest text of a batch
``masked``  Hugging Face encoders, and those of open_clip that hold their blocks themselves (``text_arch="modern"``): padding
            is masked out of attention and pooling, which is tried. It is cut off as well
``whole``   SigLIP and others without a causal mask: padding is read like any token. It stays, and counts
CoCa's own tower is causal and adds its class token at the last position: see :func:`_class_token_tower`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from m2ib.contract.encoder import Attention, read_first
from m2ib.contract.inputs import Inputs
from m2ib.contract.model import Model
from m2ib.errors import CheckpointError, InputError, decoding
from m2ib.execution.context import hook
from m2ib_adapters.inputs.tensors import tensor_of
from m2ib_adapters.openclip.blocks import (
    attends_by_sdpa,
    features_of,
    parts_of,
    pooled_tail,
    transformer_layers,
)
from m2ib_adapters.towers import hugging_face
from m2ib_adapters.towers.attention import by_sdpa_of, first_position
from m2ib_adapters.towers.layers import block_layers
from m2ib_adapters.towers.text import TextTower, without_padding

_AT_START = ("ClsPooler", "ClsLastHiddenStatePooler")


def text_tower(module: Any, context_length: int) -> TextTower:
    """The tower of a CLIP, CustomTextCLIP or CoCa. Raises :class:`CheckpointError` for one it does not know.

    context_length  of the tokenizer; only Hugging Face's towers do not know it themselves
    """
    from open_clip.hf_model import HFTextEncoder
    from open_clip.transformer import TextTransformer

    text = getattr(module, "text", None)
    if isinstance(text, HFTextEncoder):
        return _hugging_face_tower(text, context_length)
    if text is not None and not isinstance(text, TextTransformer):
        # it may hold its blocks itself and say what it pads with, as open_clip's ``text_arch="modern"``
        blocks, pad = getattr(text, "blocks", None), getattr(text, "pad_id", None)
        if not isinstance(blocks, nn.ModuleList) or pad is None:
            raise CheckpointError(
                f"open-clip: a text tower of type {type(text).__name__} is not known to this adapter"
            )
        sizes = {"limit": text.context_length, "vocabulary": text.vocab_size}
        return _masked_tower(text, blocks, "text.blocks", pad, **sizes)
    part = module if text is None else text  # CLIP holds its text tower's parts itself
    pool = part.text_pool_type if text is None else part.pool_type
    end: Any = getattr(part, "text_eos_id" if text is None else "eos_id", None)
    prefix = "transformer.resblocks" if text is None else "text.transformer.resblocks"
    if getattr(part, "cls_emb", None) is not None:
        return _class_token_tower(part, prefix)
    if pool == "none":
        raise CheckpointError(
            "open-clip: this text tower does not pool its tokens into one embedding (pool_type 'none')"
        )
    if pool == "eos" and end is None:
        raise CheckpointError(
            "open-clip: this text tower reads a text at its end token (pool_type 'eos'), and its text_cfg does not say which "
            "that is; add eos_id"
        )

    def read(inputs: Inputs) -> Tensor:
        """ids (N, T) -> (N,) the position that is read."""
        ids = tensor_of(inputs, "open-clip")
        if pool in ("argmax", "eos"):
            return ids.argmax(-1) if pool == "argmax" else (ids == end).int().argmax(-1)
        return torch.full_like(ids[:, 0], 0 if pool == "first" else ids.shape[1] - 1)

    def check(ids: list[int]) -> None:
        if pool == "eos" and end not in ids:
            raise InputError(
                f"text: the token ids lack the end-of-text id {end}, where this model reads them"
            )

    ways: dict[str, Any] = {"reads": "largest" if pool == "argmax" else None, "check": check}
    if part.attn_mask is not None and pool in ("argmax", "eos"):
        return _causal_tower(part, prefix, read, **ways)
    run = module.encode_text if text is None else text
    return _own_tower(
        part, prefix, lambda ids: features_of(run(ids)), read, cut=None, pad=None, parts_of=parts_of, **ways
    )


def prove(model: Model, tower: TextTower) -> None:
    """Run a tower that is cut once as it is read here, and once as it reads itself, with its padding: both have to agree.

    Each block has to have a position for each token, and to hand on nothing beside them that depends on the text, which would
    get past a layer. A causal tower of open_clip is known; weights without memory cannot be run. Raises
    :class:`CheckpointError`.
    """
    if tower.cut is None or tower.tail is not None or model.device.type == "meta":
        return
    text: Any = model.module.text
    pooler = getattr(text, "pooler", None)
    pooled = "" if pooler is None else f" pooled by {type(pooler).__name__}"
    who = f"open-clip: the text tower, a {type(text).__name__}{pooled},"
    pad = text.pad_id if tower.pad is None else tower.pad
    length = tower.limit if tower.suffix else 8
    words = [number for number in range(tower.vocabulary) if number != pad][:6]
    texts = [[*ids, *[pad] * (length - 3)] for ids in (words[:3], words[3:])]
    seen: list[Any] = []

    def run(embed: Callable[[Tensor], Any], ids: list[int]) -> Tensor:
        return features_of(embed(torch.tensor([ids], device=model.device)))

    with model.running(), torch.no_grad(), decoding(who, "cannot run", error=CheckpointError):
        whole = run(text, texts[0])
        hook(tower.layers[0].module, lambda _, __, output: seen.append(output), before=False)
        cut = [tower.cut(ids) for ids in texts]
        found, _ = (run(tower.embed, ids) for ids in cut)
    # norms may run in float32
    close = max(torch.finfo(each).eps for each in (whole.dtype, torch.float32)) ** 0.5
    positions = read_first(seen[0]).shape[1]
    beside = [
        [part for part in output[1:] if isinstance(part, Tensor)] if isinstance(output, tuple) else []
        for output in seen
    ]
    if whole.ndim != 2:
        fault = f"gives {tuple(whole.shape)}, which is no embedding"
    elif positions != len(cut[0]) + len(tower.suffix):
        fault = f"runs {positions} positions for {len(cut[0])} tokens; which are the tokens' is not known"
    elif not all(map(torch.equal, *beside)):
        fault = "hands on what it made of the text beside its blocks' outputs, past the layer that would be explained"
    elif (found - whole).abs().max() > close * whole.abs().max():
        fault = "reads its padding, which it says is masked"
    else:
        return
    raise CheckpointError(f"{who} {fault}; this adapter cannot explain it")


def _causal_tower(part: Any, prefix: str, read: Callable[[Inputs], Tensor], **others: Any) -> TextTower:
    transformer = part.transformer

    def cut(ids: list[int]) -> list[int]:
        return ids[: int(read(torch.tensor([ids]))) + 1]

    def embed(ids: Tensor) -> Tensor:
        length = ids.shape[1]
        x = part.token_embedding(ids) + part.positional_embedding[:length]  # (N, T, C)
        x = transformer(x, attn_mask=mask(length))  # (N, T, C)
        return _project(part, x[torch.arange(len(x), device=x.device), read(ids)])  # (N, D)

    def mask(length: int) -> Tensor:
        return part.attn_mask[:length, :length]

    tail = pooled_tail(transformer, partial(_project, part), read, mask)
    # Zeros are open_clip's own padding: never the largest id, and after the first end-of-text.
    return _own_tower(part, prefix, embed, read, cut=cut, pad=0, tail=tail, **others)


def _own_tower(
    part: Any, prefix: str, embed: Callable[[Tensor], Tensor], read: Callable[[Inputs], Tensor], **others: Any
) -> TextTower:
    """A tower of open_clip's own, which reads ids (N, T) at the positions ``read`` (N,); the ``others`` by name."""
    return TextTower(
        embed=embed,
        layers=transformer_layers(part.transformer, prefix),
        stem=None,
        limit=part.context_length,
        vocabulary=part.vocab_size,
        attention=Attention(read) if attends_by_sdpa(part.transformer) else None,
        **others,
    )


def _class_token_tower(part: Any, prefix: str) -> TextTower:
    """CoCa: a class token after all the padding, masked so that it sees none of it.

    The class token's positional embedding is the last one wherever it stands, so the padding between can
    be left out. In the published models that mask is off by one: it lets the first padding token be read,
    which therefore stays.
    """
    spare = 0 if getattr(part, "correct_cls_mask", False) else 1

    def cut(ids: list[int]) -> list[int]:
        used = max((place for place, value in enumerate(ids, 1) if value != part.pad_id), default=1)
        return (ids[:used] + [part.pad_id] * spare)[: part.context_length]

    def embed(ids: Tensor) -> Tensor:
        count, length = ids.shape
        x = part.token_embedding(ids)  # (N, T, C)
        x = torch.cat([x, part.cls_emb.expand(count, 1, -1)], 1)  # (N, T + 1, C)
        places = torch.cat([part.positional_embedding[:length], part.positional_embedding[-1:]])  # (T + 1, C)
        mask = part._build_additive_mask(ids, length + 1, x.dtype)  # (N * heads, T + 1, T + 1)
        if part.attn_mask is not None:
            mask = mask + part.attn_mask[: length + 1, : length + 1]
        x = part.transformer(x + places, attn_mask=mask)  # (N, T + 1, C)
        return _project(part, x[:, -1])  # (N, D)

    def class_token(inputs: Inputs) -> Tensor:
        """ids (N, T) -> (N,) the position after them."""
        ids = tensor_of(inputs, "open-clip")
        return torch.full_like(ids[:, 0], ids.shape[1])

    return _own_tower(
        part, prefix, embed, class_token, cut=cut, pad=None, suffix=("<class>",), parts_of=parts_of
    )


def _hugging_face_tower(text: Any, context_length: int) -> TextTower:
    config, pad, pooler = text.config, text.config.pad_token_id, type(text.pooler).__name__
    places = getattr(config, "max_position_embeddings", None)
    if places and "roberta" in config.model_type:
        places -= pad + 1  # its positions start after the padding's
    first = pooler in _AT_START
    # None where it is read in another way, and for a family that transformers does not let attend by torch's own function
    attention = None
    if getattr(text.transformer, "_supports_sdpa", False) and (first or pooler == "MeanPooler"):
        attention = Attention(first_position if first else None, by_sdpa_of(text.transformer.config))
    return _masked_tower(
        text,
        _encoder_blocks(text.transformer),
        "text.transformer.blocks",
        pad,
        limit=min(context_length, places) if places else context_length,
        vocabulary=config.vocab_size,
        attention=attention,
        reads="first" if first else None,
        parts_of=hugging_face.parts_of,
    )


def _masked_tower(text: Any, blocks: nn.ModuleList, prefix: str, pad: int, **others: Any) -> TextTower:
    """A tower that reads nothing of its padding; the ``others`` by name."""

    def embed(ids: Tensor) -> Tensor:
        return features_of(text(ids))  # (N, D)

    layers = block_layers(blocks, prefix, write=_write_beside)
    return TextTower(embed, layers, None, cut=without_padding(pad), pad=pad, **others)


def _encoder_blocks(transformer: Any) -> nn.ModuleList:
    """The blocks of a Hugging Face encoder, wherever its family keeps them."""
    for holder in (getattr(transformer, "encoder", None), transformer):
        for name in ("layer", "layers", "block"):
            blocks = getattr(holder, name, None)
            if isinstance(blocks, nn.ModuleList):
                return blocks
    raise CheckpointError(
        f"open-clip: the blocks of a text tower of type {type(transformer).__name__} are not where "
        "this adapter looks"
    )


def _write_beside(output: Any, value: Tensor) -> Any:
    """``value`` in the place of the block's tensor. What T5 hands on beside it follows in batch size."""
    if not isinstance(output, (tuple, list)):
        return value
    before = read_first(output).shape[0]
    copies = value.shape[0] // before

    def follow(part: Any) -> Any:
        if isinstance(part, Tensor) and part.ndim and part.shape[0] == before > 1 and copies > 1:
            return part.repeat_interleave(copies, 0)  # (N, ...) -> (N * copies, ...)
        return part

    return type(output)([value, *(follow(part) for part in output[1:])])


def _project(part: Any, pooled: Tensor) -> Tensor:
    pooled = part.ln_final(pooled)  # per position: before or after pooling is the same
    projection = part.text_projection
    if projection is None:
        return pooled
    return projection(pooled) if isinstance(projection, nn.Linear) else pooled @ projection  # (N, D)
