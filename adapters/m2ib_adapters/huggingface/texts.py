"""The text side: ids as the checkpoint's tokenizer makes them, and where a tower reads them."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor

from m2ib.contract.encoder import Attention, Encoder
from m2ib.contract.inputs import Inputs
from m2ib.errors import CheckpointError, InputError
from m2ib_adapters.huggingface.families import TEXTS, Text, family_of
from m2ib_adapters.huggingface.images import attending, features
from m2ib_adapters.inputs.sentencepiece import SentencePieceCoder
from m2ib_adapters.inputs.tensors import tensor_of
from m2ib_adapters.inputs.tokens import Coder, IdCoder, TokenizerCoder
from m2ib_adapters.towers.attention import first_position
from m2ib_adapters.towers.hugging_face import parts_of
from m2ib_adapters.towers.layers import block_layers
from m2ib_adapters.towers.pooled import headed_tail
from m2ib_adapters.towers.text import TextTower, text_encoder, without_padding


def texts(who: str, module: Any, tokenizer: Any, missing: str) -> Encoder:
    """The encoder of texts; with its tokenizer, if there is one.

    missing  what is said where there is none

    Raises :class:`CheckpointError` for a tower that is not known.
    """
    path = family_of(module).text
    tower = module.get_submodule(path)
    config, kind = tower.config, tower.config.model_type
    if kind not in TEXTS:
        raise CheckpointError(
            f"{who}: its text tower is a {kind!r}, and how that is read is not known here; give the model to "
            "m2ib.adapt(module, encoders={...})"
        )
    facts = TEXTS[kind]
    way = _causal if facts.reads in ("end", "largest") else _fixed if facts.reads == "last" else _masked
    embed, read, coder, ways = way(who, module, tower, facts, tokenizer, missing)
    limit = config.max_position_embeddings - (config.pad_token_id + 1 if facts.shifted else 0)
    if tokenizer is not None and way is not _fixed:  # which pads, whatever its tokenizer's limit is
        limit = min(limit, tokenizer.model_max_length)
    name = f"{path}.{facts.blocks}"
    blocks = module.get_submodule(name)
    attention = Attention(read, attending(blocks)) if facts.attends else None
    ways = {"parts_of": parts_of, "attention": attention, **ways}
    layers = block_layers(blocks, name)
    return text_encoder(TextTower(embed, layers, None, limit, config.vocab_size, **ways), coder)


_Way = tuple[Callable[[Tensor], Tensor], Callable[[Inputs], Tensor] | None, Coder, dict[str, Any]]
"""The embedding of ids (N, T), where it is read (None: at all tokens), the tokenizer, and what else a :class:`TextTower` has."""


def _masked(who: str, module: Any, tower: Any, facts: Text, tokenizer: Any, missing: str) -> _Way:
    """Read at the first token or as the mean of all, of which those that pad are masked."""
    pad = int(tower.config.pad_token_id or 0)

    def embed(ids: Tensor) -> Tensor:
        return features(module, "text", input_ids=ids, attention_mask=(ids != pad).long(), **facts.given)

    first = facts.reads == "first"
    read, reads = (first_position, "first") if first else (None, None)
    coder: Coder = IdCoder(missing, pad, starts=first) if tokenizer is None else TokenizerCoder(tokenizer)
    return embed, read, coder, {"cut": without_padding(pad), "pad": pad, "reads": reads}


def _fixed(who: str, module: Any, tower: Any, facts: Text, tokenizer: Any, missing: str) -> _Way:
    """SigLIP's: padded to a fixed length, padding that is read like any token, and the last position pooled.

    None was trained with a mask over the padding, so none is given: a text that is padded to another length, or whose padding
    is masked, has another embedding.
    """

    def embed(ids: Tensor) -> Tensor:
        return features(module, "text", input_ids=ids)

    def read(inputs: Inputs) -> Tensor:
        ids = tensor_of(inputs, who)  # (N, T)
        return torch.full_like(ids[:, 0], ids.shape[1] - 1)

    coder = _siglip_coder(tokenizer, tower.config.pad_token_id or 0, missing)
    return embed, read, coder, {"cut": None, "pad": None}


def _siglip_coder(tokenizer: Any, pad: int, missing: str) -> Coder:
    """For SigLIP's own tokenizer, or the fast one of SigLIP 2, which is Gemma's.

    Its checkpoints of fixed resolution come with the word ``do_lower_case``, which transformers does not act on: texts are
    lower-cased before anything else, as SigLIP 2 was trained. Offsets still refer to the text as it is given.

    pad  the id of the padding where the checkpoint comes without a tokenizer
    """
    from tokenizers.normalizers import Lowercase, Sequence

    if tokenizer is None:
        return IdCoder(missing, pad, starts=False)
    if not tokenizer.is_fast:
        return SentencePieceCoder(tokenizer)
    if tokenizer.init_kwargs.get("do_lower_case", True):
        tokenizer = deepcopy(tokenizer)  # the caller's own stays as it is
        backend = tokenizer.backend_tokenizer
        backend.normalizer = Sequence([Lowercase(), *filter(None, [backend.normalizer])])
    return TokenizerCoder(tokenizer)


def _causal(who: str, module: Any, tower: Any, facts: Text, tokenizer: Any, missing: str) -> _Way:
    """Read at the end token, and no further."""
    end = tower.eos_token_id
    # the legacy rule: OpenAI's configurations name the wrong id
    largest = facts.reads == "largest" and end == 2

    def read(inputs: Inputs) -> Tensor:
        """(N, T) ids -> (N,), by transformers' own two rules."""
        ids = tensor_of(inputs, who)
        return ids.int().argmax(-1) if largest else (ids == end).int().argmax(-1)

    def cut(ids: list[int]) -> list[int]:
        """What comes after the pooled token of a causal encoder is never read."""
        if not largest and end not in ids:
            raise InputError(f"text: the token ids hold no end token ({end}), where the model reads a text")
        return ids[: int(read(torch.tensor([ids]))) + 1]

    def embed(ids: Tensor) -> Tensor:
        if not facts.causal_by_mask:
            return features(module, "text", input_ids=ids)
        mask = causal_mask(ids.shape[1]).expand(len(ids), 1, -1, -1)
        return features(module, "text", input_ids=ids, attention_mask=mask)

    def causal_mask(length: int) -> Tensor:
        like = next(tower.parameters())
        return like.new_full((length, length), torch.finfo(like.dtype).min).triu(1)

    coder: Coder = IdCoder(missing) if tokenizer is None else TokenizerCoder(tokenizer)
    pad, reads = _padding(who, tokenizer, tower, largest), "largest" if largest else None
    ways: dict[str, Any] = {"cut": cut, "pad": pad, "reads": reads, "up_to_end": True}
    if facts.attends and hasattr(tower, "final_layer_norm") and hasattr(module, "text_projection"):
        tail = headed_tail(
            tower.get_submodule(facts.blocks),
            parts_of,
            lambda pooled: module.text_projection(tower.final_layer_norm(pooled)),
            read=read,
            mask=causal_mask,
        )
        ways |= {"tail": tail, "parts_of": None}
    return embed, read, coder, ways


def _padding(who: str, tokenizer: Any, tower: Any, largest: bool) -> int:
    """What a token is replaced by, and shorter texts are filled up with: 0, as OpenAI padded, where the tokenizer's own padding
    would be read: it is the end token itself, or comes after it in a tower that reads the ``largest`` id; or is none of the
    tower's own ids.

    An end token in the middle would be where the text is read, and hide all that follows it.
    """
    end = tower.eos_token_id
    if not isinstance(end, int):
        raise CheckpointError(f"{who}: eos_token_id is {end!r:.60} in config.json; it must be a whole number")
    pad, own_end = (getattr(tokenizer, name, None) for name in ("pad_token_id", "eos_token_id"))
    bound = (own_end or 0) if largest else tower.config.vocab_size
    return 0 if pad is None or pad in (end, own_end) or pad >= bound else int(pad)
