"""transformers' blocks by their parts.

Its families are copies of one another. A block is known if every part of it runs the very code that is read here, under
whatever name: then, and only then, it does what is written out.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import cache, partial
from importlib import import_module
from types import CodeType
from typing import Any

from torch import nn

from m2ib_adapters.towers.blocks import AS_IT_IS, Block, Linear, Mlp, Part, mlp_of, norm_of, quick_gelu

_CLIP = "transformers.models.clip.modeling_clip"
_SIGLIP = "transformers.models.siglip.modeling_siglip"
_BERT = "transformers.models.bert.modeling_bert"
_CHINESE = "transformers.models.chinese_clip.modeling_chinese_clip"
_MPNET = "transformers.models.mpnet.modeling_mpnet"
_DISTILBERT = "transformers.models.distilbert.modeling_distilbert"
_METHODS = ("forward", "feed_forward_chunk", "ff_chunk")


def parts_of(block: Any) -> Block | None:
    """Of the layers of CLIP, SigLIP, BERT, MPNet, DistilBERT and all that run as they do; None for any other."""
    if not type(block).__module__.startswith("transformers.models."):
        return None
    for read, alike in _KNOWN:
        if all(_is_like(block, place, kinds) for place, kinds in alike.items()):
            return read(block)
    return None


def _is_like(block: nn.Module, place: str, kinds: tuple[str, ...]) -> bool:
    """Whether the part of the block at ``place`` runs the code of one of these classes."""
    part: Any = block
    for name in filter(None, place.split(".")):
        part = getattr(part, name, None)
    kind: Any = type(part)
    return isinstance(part, nn.Module) and _code(kind) in map(_code_at, kinds)


@cache
def _code_at(name: str) -> object:
    module, kind = name.rsplit(".", 1)
    found = getattr(import_module(module), kind, None)  # another version of transformers may not have it
    return object() if found is None else _code(found)


@cache
def _code(kind: Any) -> object:
    methods = ((name, getattr(kind, name, None)) for name in _METHODS)
    return tuple((name, _read(inspect.unwrap(method).__code__)) for name, method in methods if method)


def _read(code: CodeType) -> object:
    constants = tuple(
        _read(each) if isinstance(each, CodeType) else each
        for each in code.co_consts
        if not isinstance(each, str)  # what documents it
    )
    return code.co_code, code.co_names, constants


def _pre_norm(block: Any) -> Block | None:
    attention, mlp = block.self_attn, block.mlp
    linear = _linear(attention.q_proj, attention.k_proj, attention.v_proj, attention.out_proj)
    if linear is None or not _attends(attention, attention.scale, attention.head_dim):
        return None
    act = _activation(mlp.activation_fn)
    norm1, norm2 = norm_of(block.layer_norm1), norm_of(block.layer_norm2)
    query, key, value, out = linear
    return Block(
        attention.num_heads, norm1, query, key, value, out, norm2, mlp_of(mlp, mlp.fc1, act, mlp.fc2)
    )


def _bert(block: Any) -> Block | None:
    each, out, inside, last = block.attention.self, block.attention.output, block.intermediate, block.output
    if getattr(block, "is_decoder", False) or not _attends(each, each.scaling, each.attention_head_size):
        return None
    attention = each.query, each.key, each.value, out.dense
    mlp = inside.dense, inside.intermediate_act_fn, last.dense
    return _post_norm(each.num_attention_heads, attention, out.LayerNorm, mlp, last.LayerNorm)


def _mpnet(block: Any) -> Block | None:
    each, inside, last = block.attention.attn, block.intermediate, block.output
    mlp = inside.dense, inside.intermediate_act_fn, last.dense
    linear = each.q, each.k, each.v, each.o
    return _post_norm(each.num_attention_heads, linear, block.attention.LayerNorm, mlp, last.LayerNorm)


def _distilbert(block: Any) -> Block | None:
    each, ffn = block.attention, block.ffn
    if not _attends(each, each.scaling, each.attention_head_size):
        return None
    linear, mlp = (each.q_lin, each.k_lin, each.v_lin, each.out_lin), (ffn.lin1, ffn.activation, ffn.lin2)
    return _post_norm(each.n_heads, linear, block.sa_layer_norm, mlp, block.output_layer_norm)


def _post_norm(heads: int, attention: Any, after1: Any, mlp: Any, after2: Any) -> Block | None:
    linear = _linear(*attention, mlp[0], mlp[2])
    if linear is None:
        return None
    query, key, value, out, first, second = linear
    between: Part = Mlp(first, _activation(mlp[1]), second)
    block = partial(Block, heads, AS_IT_IS, query, key, value, out, AS_IT_IS, between)
    return block(after1=norm_of(after1), after2=norm_of(after2))


def _linear(*parts: Any) -> list[Linear] | None:
    """None where one of them is not torch's own."""
    if any(type(part) is not nn.Linear for part in parts):
        return None
    return [(part.weight, part.bias) for part in parts]


def _attends(attention: Any, scale: float, width: int) -> bool:
    """By torch's own function, or step by step, as all heads do; each token to all unless it is told otherwise."""
    how = attention.config._attn_implementation
    causal = getattr(attention, "is_causal", True)  # as transformers takes it where it is not said
    return how in ("sdpa", "eager") and scale == width**-0.5 and not causal


def _activation(act: Any) -> Any:
    from transformers.activations import QuickGELUActivation

    return quick_gelu if type(act) is QuickGELUActivation else act


_KNOWN: list[tuple[Any, Mapping[str, tuple[str, ...]]]] = [
    (
        _pre_norm,
        {
            "": (f"{_CLIP}.CLIPEncoderLayer",),
            "self_attn": (f"{_CLIP}.CLIPAttention", f"{_SIGLIP}.SiglipAttention"),
            "mlp": (f"{_CLIP}.CLIPMLP",),
        },
    ),
    (
        _bert,
        {
            "": (f"{_BERT}.BertLayer", f"{_CHINESE}.ChineseCLIPTextLayer"),
            "attention": (f"{_BERT}.BertAttention", f"{_CHINESE}.ChineseCLIPTextAttention"),
            "attention.self": (f"{_BERT}.BertSelfAttention", f"{_CHINESE}.ChineseCLIPTextSelfAttention"),
            "attention.output": (f"{_BERT}.BertSelfOutput",),
            "intermediate": (f"{_BERT}.BertIntermediate",),
            "output": (f"{_BERT}.BertOutput",),
        },
    ),
    (
        _mpnet,
        {
            "": (f"{_MPNET}.MPNetLayer",),
            "attention": (f"{_MPNET}.MPNetAttention",),
            "attention.attn": (f"{_MPNET}.MPNetSelfAttention",),
            "intermediate": (f"{_BERT}.BertIntermediate",),
            "output": (f"{_BERT}.BertOutput",),
        },
    ),
    (
        _distilbert,
        {
            "": (f"{_DISTILBERT}.TransformerBlock",),
            "attention": (f"{_DISTILBERT}.DistilBertSelfAttention",),
            "ffn": (f"{_DISTILBERT}.FFN",),
        },
    ),
]
