"""open_clip as its main branch (4.2.0.dev) has it, as far as an adapter meets it, put over the installed one.

Changed as there: ``Transformer`` has no ``batch_first`` and its blocks attend by open_clip's own ``Attention``, which says
``use_sdpa``; ``MaxPooler`` masks; attentional pooling of the paper's two kinds gives one embedding; ``eos_id`` has no default;
``text_arch="modern"`` has a tower of its own (a stand-in, with the same interface: blocks that give a tuple, rotary
positions, RMSNorm, register tokens, values of the first block handed on); configurations of CLAP, GenLIP and MaMMUT are
listed. Not run, since no wheel of it can be had: its own modules, its tokenizers, its CLAP, and NaFlex through its ``TimmModel``.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import open_clip
import pytest
import torch
from open_clip import coca_model, factory, hf_model, model, transformer
from torch import Tensor, nn
from torch.nn import functional as F

TEXT = {"context_length": 12, "width": 32, "heads": 2, "layers": 3}
MODERN = {**TEXT, "text_arch": "modern", "vocab_size": 49408, "pool_type": "eos", "eos_id": 49407}
LISTED: dict[str, dict[str, Any]] = {  # of kinds that the installed version has not
    "CLAP-HTSAT-tiny": {"embed_dim": 512, "audio_cfg": {"model_type": "HTSAT"}, "text_cfg": {}},
    "naflexgenlip": {"embed_dim": 32, "genlip_cfg": {}, "vision_cfg": {}, "text_cfg": {}},
    "mammut_ViT-B-32": {"embed_dim": 32, "vision_cfg": {}, "multimodal_cfg": {}},
    "moderntext-ViT-B-32-256": {
        "embed_dim": 512,
        "vision_cfg": {"image_size": 256, "layers": 12, "width": 768, "patch_size": 32},
        "text_cfg": {**MODERN, "layers": 12, "tokenizer_type": "tiktoken"},
    },
    "ViT-B-16-SigLIP2-naflex": {
        "embed_dim": 768,
        "custom_text": True,
        "vision_cfg": {
            "image_size": 256,
            "timm_model_name": "naflexvit_base_patch16_siglip",
            "timm_pool": "map",
            "timm_proj": "none",
        },
        "text_cfg": {**TEXT, "width": 768, "heads": 12, "no_causal_mask": True, "pool_type": "last"},
    },
}


class Attention(transformer.Attention):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        del self.use_fsdpa
        self.use_sdpa = True

    def forward(self, x: Tensor, attn_mask: Tensor | None = None) -> Tensor:
        assert not self.scaled_cosine
        q, k, v = F.linear(x, self.in_proj_weight, self.in_proj_bias).chunk(3, -1)
        q, k, v = (each.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for each in (q, k, v))
        if attn_mask is not None and attn_mask.ndim == 3:
            attn_mask = attn_mask.unflatten(0, (len(x), self.num_heads))
        x = F.scaled_dot_product_attention(self.ln_q(q), self.ln_k(k), v, attn_mask=attn_mask)
        x = x if self.head_scale is None else x * self.head_scale
        return self.out_proj(self.ln_inner(x.transpose(1, 2).flatten(2)))


@dataclass
class CLIPTextCfg(model.CLIPTextCfg):
    eos_id: int | None = None
    text_arch: str = "clip"
    attention_mode: str = "causal"
    reg_tokens: int = 0
    value_residual: bool = False
    tokenizer_type: str | None = None


class RMSNorm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * (x.square().mean(-1, keepdim=True) + 1e-6).rsqrt() * self.weight


class ModernTextBlock(nn.Module):
    def __init__(self, cfg: CLIPTextCfg) -> None:
        super().__init__()
        self.heads, self.value_residual = cfg.heads, cfg.value_residual
        self.norm1, self.norm2 = RMSNorm(cfg.width), RMSNorm(cfg.width)
        self.qkv, self.proj = nn.Linear(cfg.width, 3 * cfg.width), nn.Linear(cfg.width, cfg.width)
        self.mlp = nn.Sequential(
            nn.Linear(cfg.width, 2 * cfg.width), nn.SiLU(), nn.Linear(2 * cfg.width, cfg.width)
        )

    def forward(
        self,
        x: Tensor,
        rope_embed: Tensor,
        key_bias: Tensor | None = None,
        is_causal: bool = False,
        v_first: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        q, k, v = self.qkv(self.norm1(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        if self.value_residual:
            v_first = v if v_first is None else v_first
            v = (v + v_first) / 2
        q, k = (turned(each, rope_embed) for each in (q, k))
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=key_bias, is_causal=is_causal)
        x = x + self.proj(mixed.transpose(1, 2).flatten(2))
        return x + self.mlp(self.norm2(x)), v_first


def turned(x: Tensor, angles: Tensor) -> Tensor:
    """x (N, H, T, d) in pairs, turned by angles (T, d / 2)."""
    a, b = x[..., ::2], x[..., 1::2]
    cos, sin = angles.cos(), angles.sin()
    return torch.stack((a * cos - b * sin, a * sin + b * cos), -1).flatten(-2)


class ModernTextTransformer(nn.Module):
    def __init__(self, cfg: CLIPTextCfg, output_dim: int) -> None:
        super().__init__()
        self.cfg, self.context_length, self.vocab_size = cfg, cfg.context_length, cfg.vocab_size
        self.pad_id, self.eos_id = cfg.pad_id, cfg.eos_id
        self.token_embedding = nn.Embedding(cfg.vocab_size, cfg.width)
        self.reg_tokens = nn.Parameter(torch.randn(1, cfg.reg_tokens, cfg.width))
        self.blocks = nn.ModuleList(ModernTextBlock(cfg) for _ in range(cfg.layers))
        self.ln_final = RMSNorm(cfg.width)
        self.text_projection = nn.Linear(cfg.width, output_dim, bias=False)

    def forward(self, text: Tensor) -> Tensor:
        valid, causal = text != self.pad_id, self.cfg.attention_mode == "causal"
        x = torch.cat([self.reg_tokens.expand(len(text), -1, -1), self.token_embedding(text)], 1)
        half = self.cfg.width // self.cfg.heads // 2
        rates = 100.0 ** -(torch.arange(half, device=x.device, dtype=x.dtype) / half)
        angles = torch.arange(x.shape[1], device=x.device, dtype=x.dtype)[:, None] * rates
        seen = F.pad(valid, (self.cfg.reg_tokens, 0), value=True)[:, None, None]
        bias, v_first = (
            None if causal else torch.zeros_like(seen, dtype=x.dtype).masked_fill_(~seen, -1e9),
            None,
        )
        for block in self.blocks:
            x, v_first = block(x, rope_embed=angles, key_bias=bias, is_causal=causal, v_first=v_first)
        x = self.ln_final(x)[:, self.cfg.reg_tokens :]
        if self.cfg.pool_type == "mean":
            pooled = (x * valid[..., None]).sum(1) / valid.sum(1, keepdim=True)
        else:
            ends = text == self.eos_id
            at = torch.where(ends.any(1), ends.int().argmax(1), valid.sum(1) - 1)
            pooled = x[torch.arange(len(x), device=x.device), at]
        return self.text_projection(pooled)


class CLAP(nn.Module):
    """Sounds and texts."""


def put_on(patch: pytest.MonkeyPatch) -> None:
    """Until ``patch`` is undone, models are built as the main branch builds them."""
    init_transformer, init_block = (
        transformer.Transformer.__init__,
        transformer.ResidualAttentionBlock.__init__,
    )
    build_text, pool = model._build_text_tower, transformer.VisionTransformer._pool

    def without_batch_first(self: Any, *args: Any, **options: Any) -> None:
        init_transformer(self, *args, **options)
        del self.batch_first

    def run(self: Any, x: Tensor, attn_mask: Tensor | None = None) -> Tensor:
        for block in self.resblocks:
            x = block(x, attn_mask=attn_mask)
        return x

    def with_own_attention(self: Any, *args: Any, **options: Any) -> None:
        init_block(self, *args, **options)
        given = inspect.signature(init_block).bind(self, *args, **options).arguments
        if not given.get("is_cross_attention"):
            self.attn = Attention(given["d_model"], given["n_head"])

    def attend(self: Any, q_x: Tensor, k_x: Any = None, v_x: Any = None, attn_mask: Any = None) -> Tensor:
        return self.attn(q_x, attn_mask=attn_mask)

    def text_tower(embed_dim: int, text_cfg: Any, *args: Any, **options: Any) -> nn.Module:
        cfg = CLIPTextCfg(**text_cfg) if isinstance(text_cfg, dict) else text_cfg
        return (
            ModernTextTransformer(cfg, embed_dim)
            if cfg.text_arch == "modern"
            else build_text(embed_dim, cfg, *args, **options)
        )

    def pooled(self: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        one, tokens = pool(self, x)
        return one if self.attn_pool is None or self.attn_pool_contrastive is None else one[:, 0], tokens

    def greatest(self: Any, x: Any, attention_mask: Tensor) -> Tensor:
        return x.last_hidden_state.masked_fill(attention_mask[..., None] == 0, -torch.inf).max(1).values

    patch.setattr(transformer.Transformer, "__init__", without_batch_first)
    patch.setattr(transformer.Transformer, "forward", run)
    patch.setattr(transformer.ResidualAttentionBlock, "__init__", with_own_attention)
    patch.setattr(transformer.ResidualAttentionBlock, "attention", attend)
    patch.setattr(transformer, "Attention", Attention)
    patch.setattr(transformer.VisionTransformer, "_pool", pooled)
    patch.setattr(hf_model.MaxPooler, "forward", greatest)
    for module in (model, coca_model):
        patch.setattr(module, "CLIPTextCfg", CLIPTextCfg)
        patch.setattr(module, "_build_text_tower", text_tower)
    patch.setattr(open_clip, "CLAP", CLAP, raising=False)
    for name, config in LISTED.items():
        patch.setitem(factory._MODEL_CONFIGS, name, config)
