"""Time, memory and fidelity of one pair on CLIP ViT-B/32 (random weights), against the textbook loop.

    python tests/benchmarks/speed.py [--repeats 3] [--leaks 200]

The textbook loop runs both encoders in full at every step on ten copies of the input, with gradients for
all weights, as the authors' code does. Both get the same inputs, settings and noise.
"""

from __future__ import annotations

import argparse
import gc
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from textbook import textbook
from torch import Tensor

import m2ib

LAYER, BETA, STEPS, SAMPLES = 9, 0.1, 10, 10
SEED = 0


def checkpoint(folder: str) -> str:
    """CLIP ViT-B/32's architecture with seeded random weights, as transformers saves it."""
    from transformers import CLIPConfig, CLIPModel

    torch.manual_seed(0)
    text = {"eos_token_id": 2}  # as in OpenAI's public configuration
    CLIPModel(CLIPConfig(text_config=text)).save_pretrained(folder)
    return folder


def slow_map(module: Any, pixels: Tensor, ids: Tensor, side: str) -> np.ndarray:
    """The capacity per position of one side, (T,), by the textbook loop."""
    blocks = {"image": module.vision_model, "text": module.text_model}[side].encoder.layers

    def run() -> tuple[Tensor, Tensor]:
        copies = (SAMPLES, -1, -1, -1)
        image = module.get_image_features(pixel_values=pixels.expand(*copies)).pooler_output  # (S, D)
        text = module.get_text_features(input_ids=ids.expand(SAMPLES, -1)).pooler_output  # (S, D)
        return (image, text) if side == "image" else (text, image)

    capacity, _ = textbook(module, blocks[LAYER], run, beta=BETA, steps=STEPS, samples=SAMPLES, seed=SEED)
    return capacity[0].numpy()


def timed(function: Any, repeats: int) -> tuple[float, Any]:
    """The fastest of ``repeats`` runs in seconds, and the last result."""
    best, result = float("inf"), None
    for _ in range(repeats):
        started = time.perf_counter()
        result = function()
        best = min(best, time.perf_counter() - started)
    return best, result


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Rank correlation."""
    ranks = [np.argsort(np.argsort(values)) for values in (a, b)]
    return float(np.corrcoef(*ranks)[0, 1])


def resident() -> float:
    """MiB of this process now."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20


def peak_above(function: Any) -> float:
    """MiB that the peak lies above the memory in use before ``function`` runs."""
    gc.collect()
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # resets the peak
    before = resident()
    function()
    with open("/proc/self/status") as file:
        high = next(int(line.split()[1]) / 1024 for line in file if line.startswith("VmHWM"))
    return high - before


def peak_alone(dtype: str, fast: bool) -> float:
    """:func:`peak_above` of the first explanation in a process of its own, where nothing is left to reuse."""
    program = f"import speed; print(speed.first_peak({dtype!r}, {fast}))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parent,
    )
    return float(done.stdout.split()[-1])


def first_peak(dtype: str, fast: bool) -> float:
    """The peak of one explanation above the model that was just loaded."""
    with tempfile.TemporaryDirectory() as folder:
        model = m2ib.load_model("clip", checkpoint=checkpoint(folder), device="cpu", dtype=dtype)
    for parameter in model.module.parameters():
        parameter.sum()  # weights that are mapped from the file come into memory when they are first read
    pixels, ids = inputs()
    return peak_above(lambda: m2ib.explain(model, image=pixels, text=ids, layer=LAYER, beta=BETA, fast=fast))


def inputs() -> tuple[Tensor, Tensor]:
    """A random image (3, 224, 224) and a text of ten tokens."""
    pixels = torch.randn(3, 224, 224, generator=torch.Generator().manual_seed(1))
    return pixels, torch.tensor([49406, 320, 2368, 539, 320, 736, 530, 518, 1994, 49407])


def hooks(module: torch.nn.Module) -> int:
    """Hooks and patched forwards on all parts of a module."""
    return sum(
        len(part._forward_hooks) + len(part._forward_pre_hooks) + ("forward" in part.__dict__)
        for part in module.modules()
    )


def fidelity(
    full: m2ib.Model, half: m2ib.Model, settings: dict[str, Any], pairs: int
) -> dict[str, list[float]]:
    """Rank correlation of the bfloat16 maps with the float32 maps, by side; random images, texts of 24 tokens."""
    ranks: dict[str, list[float]] = {"image": [], "text": []}
    generator = torch.Generator().manual_seed(2)
    for _ in range(pairs):
        pixels = torch.randn(3, 224, 224, generator=generator)
        words = torch.randint(300, 40000, (22,), generator=generator)
        ids = torch.cat([torch.tensor([49406]), words, torch.tensor([49407])])
        maps = [m2ib.explain(model, image=pixels, text=ids, **settings) for model in (full, half)]
        for side, values in ranks.items():
            values.append(spearman(*(explanation[side].grid.reshape(-1) for explanation in maps)))
    return ranks


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--leaks", type=int, default=200, help="explanations in a row")
    options = parser.parse_args()
    console = Console()
    pixels, ids = inputs()
    settings: dict[str, Any] = {
        "layer": LAYER,
        "beta": BETA,
        "steps": STEPS,
        "samples": SAMPLES,
        "seed": SEED,
    }
    with tempfile.TemporaryDirectory() as folder:
        source = checkpoint(folder)
        full = m2ib.load_model("clip", checkpoint=source, device="cpu")
        half = m2ib.load_model("clip", checkpoint=source, device="cpu", dtype="bfloat16")
    runs = {
        "m2ib float32": lambda: m2ib.explain(full, image=pixels, text=ids, **settings),
        "m2ib float32, general tail": lambda: m2ib.explain(
            full, image=pixels, text=ids, fast=False, **settings
        ),
        "m2ib bfloat16": lambda: m2ib.explain(half, image=pixels, text=ids, **settings),
    }
    for run in runs.values():
        run()  # warm
    peaks = {
        "m2ib float32": peak_alone("float32", True),
        "m2ib float32, general tail": peak_alone("float32", False),
        "m2ib bfloat16": peak_alone("bfloat16", True),
    }
    times, maps = {}, {}
    for name, run in runs.items():
        times[name], explanation = timed(run, options.repeats)
        maps[name] = [attribution.capacity for attribution in explanation]
    full.module.requires_grad_(True)
    slow, reference = timed(
        lambda: [slow_map(full.module, pixels[None], ids[None], side) for side in ("image", "text")], 1
    )
    full.module.requires_grad_(False)

    table = Table("one pair, both directions", "seconds", "times faster", "error", "peak MiB", title=None)
    table.add_row("textbook loop, float32", f"{slow:.2f}", "1", "", "")
    for name in runs:
        errors = [abs(a - b).max() / abs(b).max() for a, b in zip(maps[name], reference, strict=True)]
        ratio, error = f"{slow / times[name]:.1f}", f"{max(errors):.1e}"
        table.add_row(name, f"{times[name]:.3f}", ratio, error, f"{peaks[name]:.0f}")
    console.print(
        f"CLIP ViT-B/32, {torch.get_num_threads()} threads; the textbook loop ran once, the others are the best of "
        f"{options.repeats}. error: largest difference to the textbook map over its largest value. "
        "peak: above the loaded model"
    )
    console.print(table)
    ranks = fidelity(full, half, settings, pairs=5)
    for side, values in ranks.items():
        console.print(
            f"bfloat16 against float32, Spearman of the {side} map over {len(values)} pairs: "
            f"mean {np.mean(values):.4f}, lowest {min(values):.4f}"
        )

    if options.leaks:
        run = runs["m2ib float32"]
        hooked, memory = hooks(full.module), []
        for number in range(options.leaks):
            run()
            if number + 1 in (options.leaks // 10, options.leaks):
                gc.collect()
                memory.append(resident())
        console.print(
            f"{options.leaks} explanations in a row: resident {memory[0]:.0f} MiB after a tenth of them, "
            f"{memory[-1]:.0f} MiB after all; hooks {hooked} before, {hooks(full.module)} after"
        )


if __name__ == "__main__":
    main()
