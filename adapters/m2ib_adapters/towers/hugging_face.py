"""transformers' blocks by their parts.

Its families are copies of one another. A block is known if every part of it runs the very code that is read here, under
whatever name: then, and only then, it does what is written out.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from operator import attrgetter
from types import CodeType
from typing import Any

from torch import nn

from m2ib_adapters.towers.blocks import AS_IT_IS, Block, Mlp, norm_of, quick_gelu

_METHODS = ("forward", "feed_forward_chunk", "ff_chunk")


@dataclass(frozen=True)
class _Family:
    """Where its blocks have what.

    code    classes by the place of a part: it runs the code of one of them, "family.Class"
    linear  query, key, value, what is made of what they find, and both layers of the MLP
    tupled  as :class:`Block` has it
    """

    code: Mapping[str, tuple[str, ...]]
    attention: str
    heads: str
    linear: tuple[str, ...]
    activation: str
    norms: tuple[str, str]
    post_norm: bool = True
    tupled: bool = False

    def read(self, block: Any) -> Block | None:
        attention, heads, *linear = attrgetter(self.attention, self.heads, *self.linear)(block)
        if any(type(part) is not nn.Linear for part in linear):
            return None
        query, key, value, out, first, second = ((part.weight, part.bias) for part in linear)
        if not _attends(attention, len(query[0]) // heads):
            return None
        mlp = Mlp(first, _activation(attrgetter(self.activation)(block)), second)
        one, two = map(norm_of, attrgetter(*self.norms)(block))
        before, after = ((AS_IT_IS, AS_IT_IS), (one, two))[:: 1 if self.post_norm else -1]
        return Block(
            heads, before[0], query, key, value, out, before[1], mlp,
            after1=after[0], after2=after[1], tupled=self.tupled,
        )  # fmt: skip


_BERT = {"intermediate": ("bert.BertIntermediate",), "output": ("bert.BertOutput",)}
_BERT_MLP = ("intermediate.dense", "output.dense")
_FAMILIES = (
    _Family(
        {
            "": ("clip.CLIPEncoderLayer",),
            "self_attn": ("clip.CLIPAttention", "siglip.SiglipAttention"),
            "mlp": ("clip.CLIPMLP",),
        },
        "self_attn",
        "self_attn.num_heads",
        (*(f"self_attn.{name}_proj" for name in ("q", "k", "v", "out")), "mlp.fc1", "mlp.fc2"),
        "mlp.activation_fn",
        ("layer_norm1", "layer_norm2"),
        post_norm=False,
    ),
    _Family(
        {
            "": ("bert.BertLayer", "chinese_clip.ChineseCLIPTextLayer"),
            "attention": ("bert.BertAttention", "chinese_clip.ChineseCLIPTextAttention"),
            "attention.self": ("bert.BertSelfAttention", "chinese_clip.ChineseCLIPTextSelfAttention"),
            "attention.output": ("bert.BertSelfOutput",),
            **_BERT,
        },
        "attention.self",
        "attention.self.num_attention_heads",
        (
            *(f"attention.self.{name}" for name in ("query", "key", "value")),
            "attention.output.dense",
            *_BERT_MLP,
        ),
        "intermediate.intermediate_act_fn",
        ("attention.output.LayerNorm", "output.LayerNorm"),
    ),
    _Family(
        {
            "": ("mpnet.MPNetLayer",),
            "attention": ("mpnet.MPNetAttention",),
            "attention.attn": ("mpnet.MPNetSelfAttention",),
            **_BERT,
        },
        "attention.attn",
        "attention.attn.num_attention_heads",
        (*(f"attention.attn.{name}" for name in "qkvo"), *_BERT_MLP),
        "intermediate.intermediate_act_fn",
        ("attention.LayerNorm", "output.LayerNorm"),
        tupled=True,
    ),
    _Family(
        {
            "": ("distilbert.TransformerBlock",),
            "attention": ("distilbert.DistilBertSelfAttention",),
            "ffn": ("distilbert.FFN",),
        },
        "attention",
        "attention.n_heads",
        (*(f"attention.{name}_lin" for name in ("q", "k", "v", "out")), "ffn.lin1", "ffn.lin2"),
        "ffn.activation",
        ("sa_layer_norm", "output_layer_norm"),
    ),
)


def parts_of(block: Any) -> Block | None:
    """Of the layers of CLIP, SigLIP, BERT, MPNet, DistilBERT and all that run as they do; None for any other."""
    if not type(block).__module__.startswith("transformers.models."):
        return None
    for family in _FAMILIES:
        if all(_is_like(block, place, kinds) for place, kinds in family.code.items()):
            return family.read(block)
    return None


def _is_like(part: Any, place: str, kinds: tuple[str, ...]) -> bool:
    for name in filter(None, place.split(".")):
        part = getattr(part, name, None)
    kind: Any = type(part)
    return isinstance(part, nn.Module) and _code(kind) in map(_code_of, kinds)


@cache
def _code_of(name: str) -> object:
    family, kind = name.split(".")
    found = getattr(import_module(f"transformers.models.{family}.modeling_{family}"), kind, None)
    return object() if found is None else _code(found)  # another version of transformers may not have it


@cache
def _code(kind: Any) -> object:
    methods = ((name, getattr(kind, name, None)) for name in _METHODS)
    return tuple((name, _read(inspect.unwrap(method).__code__)) for name, method in methods if method)


def _read(code: CodeType) -> object:
    """What it does, but for strings: they document it."""
    constants = (_read(each) if isinstance(each, CodeType) else each for each in code.co_consts)
    return code.co_code, code.co_names, tuple(each for each in constants if not isinstance(each, str))


def _attends(attention: Any, width: int) -> bool:
    """As all heads do, by torch's own function or step by step, each token to all unless the block is told otherwise."""
    if (config := getattr(attention, "config", None)) is None:  # by its own code, which was read
        return True
    scale = attention.scale if hasattr(attention, "scale") else attention.scaling
    causal = getattr(attention, "is_causal", True)  # as transformers takes it where it is not said
    return config._attn_implementation in ("sdpa", "eager") and scale == width**-0.5 and not causal


def _activation(act: Any) -> Any:
    from transformers.activations import QuickGELUActivation

    return quick_gelu if type(act) is QuickGELUActivation else act
