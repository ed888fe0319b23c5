"""ImageBind as a torch module whose state dict has the official names and shapes.

Written from the architecture's description (Girdhar et al., CVPR 2023) and the published checkpoint's keys.
Inside, everything is batch first: tokens are (N, T, C), those of inputs in several clips (N, clips, T, C).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from math import log, prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, normalize

from m2ib_adapters.imagebind.architecture import IMU_CHANNELS, SCALES, Architecture
from m2ib_adapters.imagebind.blocks import EPS, Block, Trunk

_MOST_SCALE = 100.0
CLIP_DIMENSIONS = 5  # an input of so many dimensions or more is (N, clips, ...)


class ImageBind(nn.Module):
    """Six encoders into one space: "vision", "text", "audio", "depth", "thermal", "imu"."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        a = architecture
        self.architecture = a
        self.modality_preprocessors = nn.ModuleDict(
            {
                "vision": PatchPreprocessor("vision", a),
                "text": TextPreprocessor(a.text_embed_dim, a.vocabulary_size, a.context_length),
                "audio": PatchPreprocessor("audio", a),
                "depth": PatchPreprocessor("depth", a),
                "thermal": PatchPreprocessor("thermal", a),
                "imu": MotionPreprocessor(a.imu_embed_dim, a.imu_samples, a.imu_window),
            }
        )
        widths = {name: getattr(a, f"{name}_embed_dim") for name in self.modality_preprocessors}
        self.modality_trunks = nn.ModuleDict({name: Trunk(name, a) for name in widths})
        out = a.out_embed_dim
        self.modality_heads = nn.ModuleDict({name: _head(name, width, out) for name, width in widths.items()})
        scales = {name: [Scale(name)] if name in SCALES else [] for name in widths}  # none of images
        self.modality_postprocessors = nn.ModuleDict(
            {name: nn.Sequential(nn.Identity(), *scale) for name, scale in scales.items()}
        )

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Official names -> embeddings (N, D), normalised and scaled, clips averaged."""
        return {name: self.embed(name, value) for name, value in inputs.items()}

    def embed(self, name: str, x: Tensor) -> Tensor:
        """One modality's inputs -> (N, D).

        vision   (N, 3, H, W), or (N, clips, 3, 2, H, W)
        text     (N, T) token ids, T up to the context length; what follows the end token is not read
        audio    (N, 1, bands, frames), or (N, clips, 1, bands, frames)
        depth    (N, 1, H, W); thermal the same; imu (N, 6, samples)
        """
        return self.finish(name, self.features(name, x)[1], x.ndim >= CLIP_DIMENSIONS)

    def features(self, name: str, x: Tensor) -> tuple[Tensor, Tensor]:
        """The trunk's tokens (N, T, C), and what its head gives (N, D); of clips (N, clips, T, C) and (N, clips, D).

        The head reads texts at the end token, their largest id, and all else at the class token.
        """
        several = x.ndim >= CLIP_DIMENSIONS
        tokens = self.modality_preprocessors[name](x.flatten(0, 1) if several else x)  # (N * clips, T, C)
        if several:
            tokens = tokens.unflatten(0, x.shape[:2])  # (N, clips, T, C)
        tokens = self.modality_trunks[name](tokens, self.mask(name, tokens.shape[-2]))
        text = name == "text"
        pooled = tokens[torch.arange(len(x), device=x.device), x.argmax(-1)] if text else tokens[..., 0, :]
        return tokens, self.modality_heads[name](pooled)

    def mask(self, name: str, length: int) -> Tensor | None:
        """Additive, (T, T): texts are read causally, everything else as a whole."""
        if name != "text":
            return None
        texts: Any = self.modality_preprocessors["text"]
        return texts.mask[:length, :length]

    def blocks(self, name: str) -> Sequence[Block]:
        """A trunk's, in order."""
        trunk: Any = self.modality_trunks[name]
        return trunk.blocks

    def finish(self, name: str, features: Tensor, clips: bool) -> Tensor:
        """What a head gives, (N, D) or (N, clips, D), normalised and scaled; clips averaged: (N, D)."""
        scaled = self.modality_postprocessors[name](normalize(features, dim=-1))
        return scaled.mean(1) if clips else scaled


class PatchPreprocessor(nn.Module):
    """Pictures of any kind -> class token and patches, with positions: (N, 1 + T, C).

    Those of "vision" are films (N, 3, frames, H, W), which still images (N, 3, H, W) are shown as; else they have one channel.
    """

    def __init__(self, name: str, a: Architecture) -> None:
        super().__init__()
        width, patches = getattr(a, f"{name}_embed_dim"), a.patches(name)
        self._frames, self._stem = 0, "depth_stem" if name == "depth" else "rgbt_stem"
        if name == "vision":
            self._frames = a.kernel_size[0]
            films = nn.Conv3d(3, width, a.kernel_size, a.kernel_size, bias=False)
            stem = {"proj": nn.Sequential(nn.Identity(), films), "norm_layer": nn.Identity()}
        else:
            (high, wide), (down, across) = patches.kernel, patches.stride
            conv = nn.Conv2d(1, width, (high, wide), (down, across), bias=False)
            stem = {"proj": conv, "norm_layer": nn.LayerNorm(width)}
        self.cls_token = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.add_module(self._stem, nn.ModuleDict(stem))
        self.pos_embedding_helper = Positions(width, a.grid(name))

    def forward(self, x: Tensor) -> Tensor:
        stem: Any = getattr(self, self._stem)
        if self._frames and x.ndim == 4:
            x = x[:, :, None].expand(-1, -1, self._frames, -1, -1)
        cells = stem.proj(x)  # (N, C, rows, columns); of films (N, C, 1, rows, columns)
        tokens = stem.norm_layer(cells.flatten(2).transpose(1, 2))  # (N, T, C)
        tokens = torch.cat([self.cls_token.expand(len(tokens), -1, -1), tokens], 1)  # (N, 1 + T, C)
        return tokens + self.pos_embedding_helper(cells.shape[-2], cells.shape[-1])


class Positions(nn.Module):
    """Positional embeddings of a class token and a grid."""

    def __init__(self, width: int, grid: tuple[int, ...]) -> None:
        super().__init__()
        self.pos_embed = nn.Parameter(torch.randn(1, 1 + prod(grid), width) * 0.02)

    def forward(self, rows: int, columns: int) -> Tensor:
        """(1, 1 + T, C); bicubically interpolated from their square where the number of cells is another one."""
        first, rest = self.pos_embed[:, :1], self.pos_embed[:, 1:]
        side = int(rest.shape[1] ** 0.5)
        if rows * columns == rest.shape[1]:
            return self.pos_embed
        square = rest.unflatten(1, (side, side)).permute(0, 3, 1, 2)  # (1, C, side, side)
        resized = interpolate(square, (rows, columns), mode="bicubic")  # (1, C, rows, columns)
        return torch.cat([first, resized.flatten(2).transpose(1, 2)], 1)


class TextPreprocessor(nn.Module):
    """Token ids (N, T) -> (N, T, C)."""

    mask: Tensor

    def __init__(self, width: int, vocabulary: int, context: int) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(vocabulary, width)
        self.pos_embed = nn.Parameter(torch.randn(1, context, width) * 0.01)
        self.register_buffer("mask", torch.full((context, context), float("-inf")).triu(1))

    def forward(self, ids: Tensor) -> Tensor:
        return self.token_embedding(ids) + self.pos_embed[:, : ids.shape[1]]


class MotionPreprocessor(nn.Module):
    """Six traces (N, 6, samples) -> class token and windows of samples: (N, 1 + T, C)."""

    def __init__(self, width: int, samples: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.cls_token = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        proj, norm = nn.Linear(IMU_CHANNELS * window, width, bias=False), nn.LayerNorm(width)
        self.imu_stem: Any = nn.ModuleDict({"proj": proj, "norm_layer": norm})
        self.pos_embed = nn.Parameter(torch.randn(1, 1 + samples // window, width) * 0.02)

    def forward(self, x: Tensor) -> Tensor:
        windows = x.unflatten(-1, (-1, self.window)).transpose(1, 2).flatten(2)  # (N, T, 6 * window)
        tokens = self.imu_stem.norm_layer(self.imu_stem.proj(windows))  # (N, T, C)
        return torch.cat([self.cls_token.expand(len(tokens), -1, -1), tokens], 1) + self.pos_embed


class Scale(nn.Module):
    """Embeddings times their modality's number, at most 100, kept as its logarithm; a parameter where it is learned, else a buffer."""

    log_logit_scale: Tensor

    def __init__(self, name: str) -> None:
        super().__init__()
        value = torch.full((), log(SCALES[name]))
        if name == "text":
            self.log_logit_scale = nn.Parameter(value)
        else:
            self.register_buffer("log_logit_scale", value)

    def forward(self, x: Tensor) -> Tensor:
        return self.log_logit_scale.exp().clamp(max=_MOST_SCALE) * x


def _head(name: str, width: int, out: int) -> nn.Module:
    """A norm and a projection of the token that is read; the official one takes the class token in between."""
    norm, project = nn.LayerNorm(width, eps=EPS), nn.Linear(width, out, bias=False)
    if name == "text":
        return nn.Sequential(OrderedDict(proj=nn.Sequential(norm, project)))
    between = [nn.Dropout(0.5)] if name == "imu" else []
    return nn.Sequential(norm, nn.Identity(), *between, project)
