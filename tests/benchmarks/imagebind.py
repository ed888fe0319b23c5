"""ImageBind at full size with random weights: loading, and one image-audio explanation against the textbook loop.

    python tests/benchmarks/imagebind.py [--dtypes float32 bfloat16] [--textbook-steps 10] [--folder /tmp]

Needs 5 GB of disk and about 20 GB of memory. Every row is measured in a process of its own. The textbook loop
runs both encoders in full at every step on ten copies of the inputs, with gradients for all weights, as the
authors' code does; with fewer textbook steps than ten its seconds are scaled up to ten.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from textbook import textbook
from torch import Tensor

import m2ib
from m2ib.execution.half_precision import products_in_float32

STEPS, SAMPLES, BETA = 10, 10, 0.1
LAYERS = {"vision": 24, "audio": 9}
SIDES = {"image": "vision", "audio": "audio"}


def inputs() -> dict[str, Tensor]:
    """A random image and three clips of random sound, as the encoders take them."""
    generator = torch.Generator().manual_seed(1)
    return {
        "image": torch.randn(3, 224, 224, generator=generator),
        "audio": torch.randn(3, 1, 128, 204, generator=generator),
    }


def high_water() -> float:
    """GiB: the largest resident memory of this process so far."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) / 2**20


def save(path: str) -> dict[str, float]:
    """A float32 checkpoint in the official layout with random weights."""
    from m2ib_adapters.imagebind.architecture import Architecture
    from m2ib_adapters.imagebind.weights import random

    torch.save(random(Architecture(), torch.device("cpu"), torch.float32).state_dict(), path)
    return {}


def explain(path: str, dtype: str) -> dict[str, float]:
    """Load, then explain both directions: seconds of each, memory after loading and at the peak."""
    started = time.perf_counter()
    model = m2ib.load_model("imagebind", checkpoint=path, device="cpu", dtype=dtype)
    loaded = time.perf_counter() - started
    peak_loading = high_water()
    started = time.perf_counter()
    m2ib.explain(model, **inputs(), show_progress=False)
    return {
        "loading": loaded,
        "peak_loading": peak_loading,
        "seconds": time.perf_counter() - started,
        "peak": high_water(),
    }


def slow(path: str, dtype: str, steps: int) -> dict[str, float]:
    """The same two maps by the textbook loop; seconds for ten steps."""
    model = m2ib.load_model("imagebind", checkpoint=path, device="cpu", dtype=dtype)
    module: Any = model.module
    copies = {
        side: value.to(model.dtype)[None].expand(SAMPLES, *value.shape) for side, value in inputs().items()
    }
    total = 0.0
    for side, other in (("image", "audio"), ("audio", "image")):

        def run(side: str = side, other: str = other) -> tuple[Tensor, Tensor]:
            own, target = (module.embed(SIDES[name], copies[name]) for name in (side, other))
            return own, target

        block = module.modality_trunks[SIDES[side]].blocks[LAYERS[SIDES[side]]]
        with products_in_float32(model.device, model.dtype):  # or bfloat16 would take hours here
            _, seconds = textbook(module, block, run, beta=BETA, steps=steps, samples=SAMPLES, seed=0)
        total += seconds * STEPS / steps
    return {"seconds": total, "peak": high_water()}


def apart(call: str) -> dict[str, float]:
    """``call`` of this file in a process of its own."""
    program = f"import json, imagebind; print(json.dumps(imagebind.{call}))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=Path(__file__).parent,
    )
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--dtypes", nargs="*", default=["float32", "bfloat16"])
    parser.add_argument("--textbook-steps", type=int, default=STEPS)
    parser.add_argument("--folder", help="where the 5 GB checkpoint is made, and left for the next run")
    options = parser.parse_args()
    console = Console(width=110)
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(options.folder or temporary) / "imagebind-random.pth"
        if not path.exists():
            apart(f"save({str(path)!r})")
        table = Table("", "loading s", "peak GiB loading", "explaining s", "peak GiB", "times faster")
        for dtype in options.dtypes:
            row = apart(f"explain({str(path)!r}, {dtype!r})")
            textbook_row: dict[str, float] = {}
            if options.textbook_steps:
                textbook_row = apart(f"slow({str(path)!r}, {dtype!r}, {options.textbook_steps})")
            ratio = f"{textbook_row['seconds'] / row['seconds']:.1f}" if textbook_row else ""
            table.add_row(
                f"m2ib, {dtype}",
                f"{row['loading']:.1f}",
                f"{row['peak_loading']:.2f}",
                f"{row['seconds']:.1f}",
                f"{row['peak']:.2f}",
                ratio,
            )
            if textbook_row:
                table.add_row(
                    f"textbook, {dtype}",
                    "",
                    "",
                    f"{textbook_row['seconds']:.1f}",
                    f"{textbook_row['peak']:.2f}",
                    "1",
                )
    console.print(
        f"ImageBind huge, random weights, {torch.get_num_threads()} threads; image and 3 clips of sound, both "
        f"directions, layers {LAYERS}; the textbook loop ran {options.textbook_steps} of {STEPS} steps"
    )
    console.print(table)


if __name__ == "__main__":
    main()
