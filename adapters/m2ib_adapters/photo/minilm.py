"""all-MiniLM-L6-v2's network, a BERT (Devlin et al. 2019) of 6 blocks, by the names of transformers' ``BertModel``.

It is written out because importing transformers takes longer than everything else that loading the model does.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from m2ib_adapters.towers.blocks import Block
from m2ib_adapters.towers.hugging_face import BERT

VOCABULARY = 30522
_BLOCKS, _WIDTH, _WIDE, _LONGEST, _EPS = 6, 384, 1536, 512, 1e-12


class States(NamedTuple):
    """What comes out of the last block, (N, T, C)."""

    last_hidden_state: Tensor


class MiniLM(nn.Module):
    """Token ids (N, T) -> :class:`States`."""

    encoder: Any

    def __init__(self) -> None:
        super().__init__()
        self.embeddings = Embeddings()
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(BertLayer() for _ in range(_BLOCKS))})
        # of the file of weights, though no sentence embedding is made of it
        self.pooler = nn.ModuleDict({"dense": nn.Linear(_WIDTH, _WIDTH)})

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> States:
        """attention_mask  (N, T), 0 where a token is not read; None: all are"""
        mask = None if attention_mask is None else attention_mask.bool()[:, None, None]  # (N, 1, 1, T)
        x = self.embeddings(input_ids)  # (N, T, C)
        for block in self.encoder.layer:
            x = block(x, mask)
        return States(x)


class Embeddings(nn.Module):
    """Of the token, of its place, and of the one sentence there is."""

    position_ids: Tensor
    token_type_ids: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(VOCABULARY, _WIDTH, padding_idx=0)
        self.position_embeddings = nn.Embedding(_LONGEST, _WIDTH)
        self.token_type_embeddings = nn.Embedding(2, _WIDTH)
        self.LayerNorm = nn.LayerNorm(_WIDTH, _EPS)
        self.register_buffer("position_ids", torch.arange(_LONGEST)[None], persistent=False)
        self.register_buffer("token_type_ids", torch.zeros_like(self.position_ids), persistent=False)

    def forward(self, input_ids: Tensor) -> Tensor:
        count = input_ids.shape[1]
        places, kinds = self.position_ids[:, :count], self.token_type_ids[:, :count]
        x = self.word_embeddings(input_ids) + self.token_type_embeddings(kinds)  # (N, T, C)
        normed: Tensor = self.LayerNorm(x + self.position_embeddings(places))
        return normed


class BertLayer(nn.Module):
    """A block with its norms after what is added: (N, T, C) -> (N, T, C)."""

    attention: Any

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.ModuleDict({"self": SelfAttention(), "output": Added(_WIDTH)})
        wide = OrderedDict(dense=nn.Linear(_WIDTH, _WIDE), intermediate_act_fn=nn.GELU())
        self.intermediate = nn.Sequential(wide)
        self.output = Added(_WIDE)

    def forward(self, x: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """attention_mask  (N, 1, 1, T), true where a token is seen"""
        y = self.attention.output(self.attention.self(x, attention_mask), x)
        z: Tensor = self.output(self.intermediate(y), y)
        return z


class SelfAttention(nn.Module):
    """What all heads find, beside one another: (N, T, C) -> (N, T, C)."""

    num_attention_heads = 12

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(_WIDTH, _WIDTH) for _ in range(3))

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        q, k, v = (
            linear(x).unflatten(-1, (self.num_attention_heads, -1)).transpose(1, 2)  # (N, H, T, d)
            for linear in (self.query, self.key, self.value)
        )
        return scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)


class Added(nn.Module):
    """A linear layer, added to what went before, and their norm."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, _WIDTH)
        self.LayerNorm = nn.LayerNorm(_WIDTH, _EPS)

    def forward(self, x: Tensor, before: Tensor) -> Tensor:
        normed: Tensor = self.LayerNorm(self.dense(x) + before)
        return normed


def parts_of(block: nn.Module) -> Block | None:
    """Of one of these blocks, as long as nothing in it was replaced; None for any other."""
    known = type(block) is BertLayer and type(block.attention.self) is SelfAttention
    return BERT.read(block) if known else None
