"""Texts of all SigLIPs: padded to a fixed length, padding that is read like any token, and the last position pooled.

Neither model was trained with a mask over the padding, so none is given: a text that is padded to another length, or
whose padding is masked, has another embedding.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

import m2ib
from m2ib_adapters.kit import (
    Coder,
    IdCoder,
    TextTower,
    TokenizerCoder,
    block_layers,
    by_sdpa_of,
    tensor_of,
    text_encoder,
)
from m2ib_siglip.examples import example_texts
from m2ib_siglip.sentencepiece import SentencePieceCoder

_NO_TOKENIZER = (
    "this checkpoint comes without a tokenizer; save one into its folder (its processor's save_pretrained)"
)


def siglip_text_encoder(module: Any, tokenizer: Any) -> m2ib.Encoder:
    """The text side of a ``SiglipModel`` or ``Siglip2Model``, with its tokenizer, if there is one."""
    text = module.text_model
    config = text.config

    def embed(ids: Tensor) -> Tensor:
        features: Tensor = module.get_text_features(input_ids=ids).pooler_output  # (N, T) -> (N, D)
        return features

    def pooled(inputs: m2ib.Inputs) -> Tensor:
        ids = tensor_of(inputs, "siglip")  # (N, T)
        return torch.full_like(ids[:, 0], ids.shape[1] - 1)  # (N,) the last position

    tower = TextTower(
        embed=embed,
        layers=block_layers(text.encoder.layers, "text_model.encoder.layers"),
        stem=None,
        limit=config.max_position_embeddings,
        vocabulary=config.vocab_size,
        cut=None,
        pad=None,
        attention=m2ib.Attention(pooled, by_sdpa_of(text.encoder.config)),
    )
    coder = siglip_coder(tokenizer, config.pad_token_id or 0)
    return replace(text_encoder(tower, coder), examples=None if isinstance(coder, IdCoder) else example_texts)


def siglip_coder(tokenizer: Any, pad: int) -> Coder:
    """For the checkpoint's tokenizer: SigLIP's own, or the fast one of SigLIP 2, which is Gemma's.

    pad  the id of the padding where the checkpoint comes without a tokenizer
    """
    if tokenizer is None:
        return IdCoder(_NO_TOKENIZER, pad, starts=False)
    if not tokenizer.is_fast:
        return SentencePieceCoder(tokenizer)
    if tokenizer.init_kwargs.get("do_lower_case", True):
        tokenizer = deepcopy(tokenizer)  # the caller's own stays as it is
        _lower(tokenizer)
    return TokenizerCoder(tokenizer)


def _lower(tokenizer: Any) -> None:
    """Lower-case texts before anything else, as SigLIP 2 was trained; offsets still refer to the text as it is given.

    Its checkpoints of fixed resolution come with Gemma's tokenizer and the word ``do_lower_case``, which transformers
    does not act on.
    """
    from tokenizers.normalizers import Lowercase, Sequence

    backend = tokenizer.backend_tokenizer
    rest = [] if backend.normalizer is None else [backend.normalizer]
    backend.normalizer = Sequence([Lowercase(), *rest])
