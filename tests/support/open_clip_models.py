"""Tiny open_clip models, seeded and in float64, their tokenizers, and what open_clip itself makes of an input."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from PIL import Image
from torch import Tensor, nn

import m2ib
from m2ib_adapters.inputs.tokens import SimpleCoder
from m2ib_adapters.openclip.adapter import build
from m2ib_adapters.openclip.preprocess import DEFAULTS, preparation

CPU = {"device": "cpu", "dtype": "float64"}
QUIET = {"show_progress": False}
TOWERS = ("vit", "sequence-first", "scaled", "resnet", "coca", "bert", "siglip")
WORDS = "[CLS] [SEP] a the dog cat ##s photo of two on grass snow ! ##p ##hoto red"
TEXTS = ("a dog", "a photo of two cats on grass", "Snow!")
VIT = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": [32, 24], "layers": 3, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 3},
}
SCALED = {  # LayerScale, quick GELU, the text tower in its own module
    **VIT,
    "vision_cfg": {**VIT["vision_cfg"], "ls_init_value": 0.3, "final_ln_after_pool": True},
    "text_cfg": {**VIT["text_cfg"], "ls_init_value": 0.3, "proj_bias": True},
    "quick_gelu": True,
    "custom_text": True,
}
RESNET = {**VIT, "vision_cfg": {"image_size": 64, "layers": [1, 2, 1, 1], "width": 8, "head_width": 16}}
COCA = {
    "embed_dim": 16,
    "vision_cfg": {
        **VIT["vision_cfg"],
        "attentional_pool": True,
        "attn_pooler_heads": 2,
        "output_tokens": True,
    },
    "text_cfg": {**VIT["text_cfg"], "context_length": 11, "embed_cls": True, "output_tokens": True},
    "multimodal_cfg": {"context_length": 12, "width": 32, "heads": 2, "layers": 1},
    "custom_text": True,
}


def photo(rows: int = 45, columns: int = 61, seed: int = 0) -> np.ndarray:
    small = np.random.default_rng(seed).integers(0, 256, (6, 7, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((columns, rows), Image.Resampling.BICUBIC))


def shake(module: nn.Module) -> nn.Module:
    """Weights that leave nothing at 0 or 1: open_clip starts some branches at exactly zero."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return module.eval()


def module_of(config: dict[str, Any]) -> Any:
    config = json.loads(json.dumps(config))
    custom = config.pop("custom_text", False) or not {"hf_model_name", "text_arch"}.isdisjoint(
        config["text_cfg"]
    )
    if "hf_model_name" in config["text_cfg"]:
        config["text_cfg"]["hf_model_pretrained"] = False
    kind = (
        open_clip.CoCa
        if "multimodal_cfg" in config
        else open_clip.CustomTextCLIP
        if custom
        else open_clip.CLIP
    )
    torch.manual_seed(0)
    return shake(kind(**config))


@dataclass(frozen=True)
class Loaded:
    model: m2ib.Model
    config: dict[str, Any]
    file: Path


def save_and_load(config: dict[str, Any], file: Path, **options: Any) -> Loaded:
    torch.save(module_of(config).state_dict(), file)
    model = m2ib.load_model("open-clip", architecture=config, checkpoint=file, **{**CPU, **options})
    return Loaded(model, config, file)


def wordpiece(folder: Path, *, side: str = "right", pad: int = 0) -> Path:
    """A word-piece tokenizer of a few words, saved as transformers saves one; ``pad``: 0 or 1."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = ["[PAD]", "[UNK]"] if pad == 0 else ["[UNK]", "[PAD]"]
    words += WORDS.split()
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        padding_side=side,
    )
    fast.save_pretrained(folder)
    return folder


def bert_config(folder: Path) -> dict[str, Any]:
    from transformers import BertConfig

    wordpiece(folder)
    BertConfig(
        vocab_size=20,
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=48,
        max_position_embeddings=16,
        pad_token_id=0,
    ).save_pretrained(folder)
    tower = {"hf_model_name": str(folder), "hf_tokenizer_name": str(folder), "hf_pooler_type": "mean_pooler"}
    return {**VIT, "text_cfg": {**tower, "hf_proj_type": "linear"}}


def siglip_config(folder: Path) -> dict[str, Any]:
    """timm's smallest ViT with attention pooling; the text side as in open_clip's SigLIP configurations."""
    vision = {"timm_model_name": "test_vit3", "timm_pool": "map", "timm_proj": "none", "image_size": 160}
    text = {
        "context_length": 11,
        "vocab_size": 20,
        "width": 32,
        "heads": 2,
        "layers": 3,
        "hf_tokenizer_name": str(wordpiece(folder)),
        "tokenizer_kwargs": {"clean": "canonicalize"},
        "no_causal_mask": True,
        "proj_bias": True,
        "pool_type": "last",
        "norm_kwargs": {"eps": 1e-6},
    }
    return {
        "embed_dim": 96,
        "custom_text": True,
        "init_logit_bias": -10,
        "vision_cfg": vision,
        "text_cfg": text,
    }


def hugging_face(kind: str, home: Path) -> dict[str, Any]:
    """A tiny text tower of each family that open_clip knows."""
    import transformers

    pad = 1 if kind in ("roberta", "m2m_100") else 0
    shared = {"vocab_size": 20, "pad_token_id": pad}
    if kind == "mt5":
        config = transformers.MT5Config(d_model=32, d_kv=16, d_ff=48, num_layers=3, num_heads=2, **shared)
    elif kind == "m2m_100":
        config = transformers.M2M100Config(
            d_model=32,
            encoder_layers=3,
            decoder_layers=1,
            encoder_attention_heads=2,
            encoder_ffn_dim=48,
            **shared,
        )
    else:
        family = transformers.RobertaConfig if kind == "roberta" else transformers.BertConfig
        sizes = {"num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 48}
        config = family(hidden_size=32, max_position_embeddings=16, **sizes, **shared)
    config.save_pretrained(wordpiece(home, pad=pad))
    pooler = "cls_pooler" if kind in ("bert", "m2m_100") else "mean_pooler"
    text = {"hf_model_name": str(home), "hf_tokenizer_name": str(home), "hf_pooler_type": pooler}
    return {**VIT, "text_cfg": text}


def sequence_first(vit: Loaded) -> m2ib.Model:
    """The same weights in blocks that run (tokens, batch, channels), as open_clip's used to."""
    module = module_of(vit.config).double()
    for transformer in (module.transformer, module.visual.transformer):
        transformer.batch_first = False
        for block in transformer.resblocks:
            block.attn.batch_first = False
    size = tuple(vit.config["vision_cfg"]["image_size"])
    coder = SimpleCoder(open_clip.SimpleTokenizer(context_length=12))
    return build(module, preparation(size, DEFAULTS), coder, 12, {})


def features(output: Any) -> Tensor:
    return output[0] if isinstance(output, tuple) else output


@cache
def simple_tokenizer(length: int) -> Any:
    """open_clip's own; making one takes as long as a small test."""
    return open_clip.SimpleTokenizer(context_length=length)


def fixed_length(case: Loaded, text: str) -> Tensor:
    """Ids (1, context) as open_clip's own tokenizer gives them."""
    given = case.config["text_cfg"]
    length = given.get("context_length", 77)
    if "hf_tokenizer_name" not in given:
        return simple_tokenizer(length)([text])
    from open_clip.tokenizer import HFTokenizer

    tokenizer = HFTokenizer(
        given["hf_tokenizer_name"], context_length=length, **given.get("tokenizer_kwargs", {})
    )
    return tokenizer([text], context_length=min(length, 16))


def encode_text(module: Any, ids: Tensor) -> Tensor:
    return features(module.text(ids) if hasattr(module, "text") else module.encode_text(ids))


def difference(ours: np.ndarray, reference: np.ndarray) -> float:
    return float(np.abs(ours - reference).max() / np.abs(reference).max())
