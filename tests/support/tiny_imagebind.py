"""A small ImageBind in the official checkpoint format, and the released one's keys and shapes."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

import m2ib
import naive_imagebind

SHAPES: dict[str, tuple[int, ...]] = {
    "image": (3, 224, 224),
    "video": (2, 3, 2, 224, 224),
    "audio": (3, 1, 36, 56),
    "depth": (1, 224, 224),
    "thermal": (1, 224, 224),
    "imu": (6, 2000),
}
"""Of one preprocessed input, without a batch axis."""
GRIDS: dict[str, tuple[int, ...]] = {
    "image": (4, 4),
    "video": (2, 4, 4),
    "audio": (3, 3, 5),
    "depth": (4, 4),
    "thermal": (4, 4),
    "imu": (250,),
}
"""Of these."""


@dataclass(frozen=True)
class TinyImageBind:
    """The model in float64 on the CPU, the state dict it was loaded from, and the file."""

    model: m2ib.Model
    state: dict[str, Tensor]
    path: Path


def save_tiny_imagebind(path: Path) -> TinyImageBind:
    """Write a checkpoint with random weights to ``path`` and load it."""
    state = naive_imagebind.random_state(naive_imagebind.SMALL, seed=0)
    torch.save(state, path)
    model = m2ib.load_model(
        "imagebind", checkpoint=path, architecture=naive_imagebind.SMALL, device="cpu", dtype="float64"
    )
    return TinyImageBind(model, state, path)


def released_shapes() -> dict[str, tuple[int, ...]]:
    """Every key of ``imagebind_huge.pth`` with its shape; all are float32.

    The file lists patterns: ``{0..31}`` stands for each of these numbers.
    """
    patterns = json.loads((Path(__file__).parent / "imagebind_keys.json").read_text())
    shapes: dict[str, tuple[int, ...]] = {}
    for pattern, shape in patterns.items():
        found = re.fullmatch(r"(.*)\{0\.\.(\d+)\}(.*)", pattern)
        keys = [f"{found[1]}{i}{found[3]}" for i in range(int(found[2]) + 1)] if found else [pattern]
        for key in keys:
            assert key not in shapes
            shapes[key] = tuple(shape)
    return shapes
