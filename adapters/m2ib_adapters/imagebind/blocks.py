"""What all trunks of ImageBind are made of: pre-norm transformer blocks, batch first."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, scaled_dot_product_attention

from m2ib_adapters.imagebind.architecture import Architecture

EPS = 1e-6  # of all norms but those of the stems, which keep torch's 1e-5


class Trunk(nn.Module):
    """Blocks of one width; those of images come after a norm, those of images and texts have no extra key."""

    def __init__(self, name: str, a: Architecture) -> None:
        super().__init__()
        width, heads = getattr(a, f"{name}_embed_dim"), getattr(a, f"{name}_num_heads")
        norm = [nn.LayerNorm(width, eps=EPS)] if name == "vision" else []
        self.pre_transformer_layer = nn.Sequential(*norm)
        blocks, extra = range(getattr(a, f"{name}_num_blocks")), name not in ("vision", "text")
        self.blocks = nn.ModuleList(Block(width, heads, extra_key=extra) for _ in blocks)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        x = self.pre_transformer_layer(x)
        for block in self.blocks:
            x = block(x, mask)
        return x


class Block(nn.Module):
    """Pre-norm attention and MLP with exact GELU: (..., T, C) -> (..., T, C).

    extra_key: one more, learned, key and value beside those of the tokens
    """

    def __init__(self, width: int, heads: int, *, extra_key: bool) -> None:
        super().__init__()
        self.attn = Attention(width, heads, extra_key=extra_key)
        self.norm_1 = nn.LayerNorm(width, eps=EPS)
        wide, narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.mlp = nn.Sequential(OrderedDict(fc1=wide, act=nn.GELU(), fc2=narrow))
        self.norm_2 = nn.LayerNorm(width, eps=EPS)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        x = x + self.attn(self.norm_1(x).flatten(0, -3), mask).view_as(x)  # attention over (N * clips, T, C)
        return x + self.mlp(self.norm_2(x))


class Attention(nn.Module):
    """Multi-head self-attention by ``nn.MultiheadAttention``'s names: (N, T, C) -> (N, T, C).

    Batch first all the way: torch's own turns its input round, which makes its products a third slower here.
    """

    bias_k: nn.Parameter | None
    bias_v: nn.Parameter | None

    def __init__(self, width: int, heads: int, *, extra_key: bool) -> None:
        super().__init__()
        self.num_heads = heads
        self.in_proj_weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(3 * width, width)))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        for name in ("bias_k", "bias_v"):
            value = nn.Parameter(nn.init.xavier_normal_(torch.empty(1, 1, width))) if extra_key else None
            self.register_parameter(name, value)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        packed = linear(x, self.in_proj_weight, self.in_proj_bias)  # (N, T, 3 C)
        q, k, v = packed.unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)  # (N, H, T, d) each
        if self.bias_k is not None and self.bias_v is not None:
            k, v = self._with(k, self.bias_k), self._with(v, self.bias_v)  # (N, H, T + 1, d)
        mixed = scaled_dot_product_attention(q, k, v, attn_mask=mask)  # (N, H, T, d)
        return self.out_proj(mixed.transpose(1, 2).flatten(2))

    def _with(self, each: Tensor, extra: Tensor) -> Tensor:
        """One more key or value, the same for all inputs, after those of the tokens."""
        row = extra.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)  # (1, H, 1, d)
        return torch.cat([each, row.expand(len(each), -1, -1, -1)], 2)
