"""What the examples run on: the real weights if they are at hand, else a small model with random ones."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch

import m2ib

# Where ImageBind's own code puts its download.
REAL = Path(".checkpoints/imagebind_huge.pth")

SMALL = {
    f"{name}_{size}": value
    for name in ("vision", "text", "audio", "depth", "thermal", "imu")
    for size, value in (("embed_dim", 64), ("num_blocks", 4), ("num_heads", 4))
} | {"out_embed_dim": 64}


def imagebind(checkpoint: str | None = None, **options: Any) -> m2ib.Model:
    """``checkpoint`` (a file or a hub id), else the real weights beside us, else a small random model.

    The small one goes through a file in the official layout, as the real one does; its maps mean nothing.
    """
    if checkpoint or REAL.is_file():
        return m2ib.load_model("imagebind", checkpoint=checkpoint or REAL, dtype="bfloat16", **options)
    print(f"{REAL} is not here: a small model with random weights, whose maps mean nothing")
    made = m2ib.load_model("imagebind", architecture=SMALL, device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "small.pth"
        torch.save(made.module.state_dict(), path)
        return m2ib.load_model("imagebind", checkpoint=path, architecture=SMALL, **options)
