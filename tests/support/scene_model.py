"""The model that ships with m2ib, by its sizes, with random weights: for tests that need no trained ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

import m2ib
import naive_imagebind
from m2ib_adapters.imagebind_tiny.architecture import ARCHITECTURE, END, START
from tiny_imagebind import TinyImageBind

SIZES: Mapping[str, Any] = {**naive_imagebind.DEFAULTS, **naive_imagebind.FIXED, **ARCHITECTURE}
MODALITIES = ("image", "text", "audio", "depth", "thermal", "imu")


class SceneModel(TinyImageBind):
    """One by these sizes."""


def save_scene_model(path: Path) -> SceneModel:
    """Write a checkpoint with random weights to ``path`` and load it."""
    state = naive_imagebind.random_state(SIZES, seed=0)
    save_file(state, path)
    model = m2ib.load_model("imagebind-tiny", checkpoint=path, device="cpu", dtype="float64")
    return SceneModel(model, state, path)


def example(modality: str, seed: int) -> Tensor:
    """One preprocessed input without a batch axis."""
    generator = torch.Generator().manual_seed(seed)
    if modality == "text":
        words = torch.randint(1, START, (4 + seed % 3,), generator=generator)
        return torch.cat([torch.tensor([START]), words, torch.tensor([END])])
    side, bands, frames = SIZES["pixels"], SIZES["audio_num_mel_bins"], SIZES["audio_target_len"]
    shape = {
        "image": (3, side, side),
        "audio": (1, 1, bands, frames),
        "depth": (1, side, side),
        "thermal": (1, side, side),
        "imu": (6, SIZES["imu_samples"]),
    }[modality]
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def naive_input(modality: str, x: Tensor) -> Tensor:
    """With a batch axis; texts padded with zeros to the context length."""
    if modality == "text":
        x = torch.cat([x, torch.zeros(SIZES["context_length"] - len(x), dtype=torch.long)])
    return x[None]


def branch(modality: str) -> str:
    """The name in the state dict."""
    return "vision" if modality == "image" else modality


def naive_sizes(modality: str) -> dict[str, Any]:
    """What the naive functions have to be told."""
    return {
        "heads": SIZES[f"{branch(modality)}_num_heads"],
        "audio_stride": SIZES["audio_stride"],
        "window": SIZES["imu_window"],
        "pixels": SIZES["pixels"],
    }
