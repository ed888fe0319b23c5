"""The text side of a CLAP, a RoBERTa that is read at its first token."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor

import m2ib
from m2ib_adapters.kit import (
    TextTower,
    TokenizerCoder,
    block_layers,
    by_sdpa_of,
    first_position,
    text_encoder,
    without_padding,
)


def clap_text_encoder(module: Any, tokenizer: Any) -> m2ib.Encoder:
    """The encoder of a ``ClapModel``. Inputs are token ids (N, T); what is not padding is read.

    Raises :class:`m2ib.CheckpointError` for a tokenizer that gives no offsets.
    """
    text = module.text_model
    config = text.config
    pad = int(config.pad_token_id)

    def embed(ids: Tensor) -> Tensor:
        # Where nothing is masked, transformers' call of torch's attention takes blocks that do not say so for causal.
        mask = (ids != pad).long()
        output = module.get_text_features(input_ids=ids, attention_mask=mask, is_causal=False)
        embeddings: Tensor = output.pooler_output  # (N, D)
        return embeddings

    path = "text_model"
    tower = TextTower(
        embed=embed,
        layers=block_layers(text.encoder.layer, f"{path}.encoder.layer"),
        stem=m2ib.Layer(text.embeddings, f"{path}.embeddings"),
        # RoBERTa counts positions from the padding's id + 1 on.
        limit=min(config.max_position_embeddings - pad - 1, tokenizer.model_max_length),
        vocabulary=config.vocab_size,
        cut=without_padding(pad),
        pad=pad,
        attention=m2ib.Attention(first_position, by_sdpa_of(config)),
        reads="first",
    )
    encoder = text_encoder(tower, TokenizerCoder(tokenizer))
    return replace(encoder, examples=lambda: ["a rising tone", "short bursts of noise"])
