"""transformers' blocks by their parts.

Its families are copies of one another. A block is known if every part of it runs the very code that is read here, under
whatever name: then, and only then, it does what is written out.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from importlib import import_module
from operator import attrgetter
from types import CodeType
from typing import Any

from torch import nn

from m2ib_adapters.towers.blocks import AS_IT_IS, Block, Mlp, norm_of, quick_gelu

_METHODS = ("forward", "feed_forward_chunk", "ff_chunk")


@dataclass(frozen=True)
class _Family:
    """Where its blocks have what; names of several, with spaces between.

    code       classes by the place of a part: it runs the code of one of them, "family.Class"
    attention  the part that attends, and its number of heads
    linear     query, key, value, what is made of what they find, and both layers of the MLP
    norms      of the attention, and of the MLP: before them, or after what they are added to
    scales     of the attention, and of the MLP; "": none
    tupled     as :class:`Block` has it
    """

    code: Mapping[str, str]
    attention: str
    linear: str
    activation: str
    norms: str
    scales: str = ""
    post_norm: bool = True
    tupled: bool = False

    def read(self, block: Any) -> Block | None:
        def at(places: str) -> list[Any]:
            return [attrgetter(place)(block) for place in places.split()]

        (attention, heads), linear = at(self.attention), at(self.linear)
        if any(type(part) is not nn.Linear for part in linear):
            return None
        query, key, value, out, first, second = ((part.weight, part.bias) for part in linear)
        if not _attends(attention, len(query[0]) // heads):
            return None
        mlp = Mlp(first, _activation(*at(self.activation)), second)
        norm1, norm2 = map(norm_of, at(self.norms))
        if self.post_norm:
            block = partial(Block, heads, AS_IT_IS, query, key, value, out, AS_IT_IS, mlp)
            return block(after1=norm1, after2=norm2, tupled=self.tupled)
        scale1, scale2 = at(self.scales) or (None, None)
        block = partial(Block, heads, norm1, query, key, value, out, norm2, mlp)
        return block(scale1=scale1, scale2=scale2, tupled=self.tupled)


_BERT = {"intermediate": "bert.BertIntermediate", "output": "bert.BertOutput"}
BERT = _Family(
    {
        "": "bert.BertLayer chinese_clip.ChineseCLIPTextLayer",
        "attention": "bert.BertAttention chinese_clip.ChineseCLIPTextAttention",
        "attention.self": "bert.BertSelfAttention chinese_clip.ChineseCLIPTextSelfAttention",
        "attention.output": "bert.BertSelfOutput",
        **_BERT,
    },
    "attention.self attention.self.num_attention_heads",
    "attention.self.query attention.self.key attention.self.value attention.output.dense "
    "intermediate.dense output.dense",
    "intermediate.intermediate_act_fn",
    "attention.output.LayerNorm output.LayerNorm",
)
_VIT = _Family(
    {"": "vit.ViTLayer", "attention": "vit.ViTAttention", "mlp": "vit.ViTMLP"},
    "attention attention.num_attention_heads",
    "attention.q_proj attention.k_proj attention.v_proj attention.o_proj mlp.fc1 mlp.fc2",
    "mlp.activation_fn",
    "layernorm_before layernorm_after",
    post_norm=False,
)
_FAMILIES = (
    _Family(
        {
            "": "clip.CLIPEncoderLayer",
            "self_attn": "clip.CLIPAttention siglip.SiglipAttention",
            "mlp": "clip.CLIPMLP",
        },
        "self_attn self_attn.num_heads",
        "self_attn.q_proj self_attn.k_proj self_attn.v_proj self_attn.out_proj mlp.fc1 mlp.fc2",
        "mlp.activation_fn",
        "layer_norm1 layer_norm2",
        post_norm=False,
    ),
    _VIT,
    replace(
        _VIT,
        code={**_VIT.code, "": "dinov2.Dinov2Layer", "layer_scale1": "dinov2.Dinov2LayerScale"},
        norms="norm1 norm2",
        scales="layer_scale1.lambda1 layer_scale2.lambda1",
    ),
    BERT,
    _Family(
        {
            "": "mpnet.MPNetLayer",
            "attention": "mpnet.MPNetAttention",
            "attention.attn": "mpnet.MPNetSelfAttention",
            **_BERT,
        },
        "attention.attn attention.attn.num_attention_heads",
        "attention.attn.q attention.attn.k attention.attn.v attention.attn.o intermediate.dense output.dense",
        "intermediate.intermediate_act_fn",
        "attention.LayerNorm output.LayerNorm",
        tupled=True,
    ),
    _Family(
        {
            "": "distilbert.TransformerBlock",
            "attention": "distilbert.DistilBertSelfAttention",
            "ffn": "distilbert.FFN",
        },
        "attention attention.n_heads",
        "attention.q_lin attention.k_lin attention.v_lin attention.out_lin ffn.lin1 ffn.lin2",
        "ffn.activation",
        "sa_layer_norm output_layer_norm",
    ),
)


def parts_of(block: Any) -> Block | None:
    """Of the layers of CLIP, SigLIP, ViT, DINOv2, BERT, MPNet, DistilBERT and all that run as they do; None for any other."""
    if not type(block).__module__.startswith("transformers.models."):
        return None
    for family in _FAMILIES:
        if all(_is_like(block, place, kinds) for place, kinds in family.code.items()):
            return family.read(block)
    return None


def _is_like(part: Any, place: str, kinds: str) -> bool:
    for name in filter(None, place.split(".")):
        part = getattr(part, name, None)
    kind: Any = type(part)
    return isinstance(part, nn.Module) and _code(kind) in map(_code_of, kinds.split())


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
    kind = type(act)
    quick = (kind.__module__, kind.__name__) == ("transformers.activations", "QuickGELUActivation")
    return quick_gelu if quick else act
