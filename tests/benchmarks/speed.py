"""Time, memory and fidelity of one pair on CLIP ViT-B/32 (random weights), against the textbook loop.

    python tests/benchmarks/speed.py [--repeats 5] [--leaks 200]

The textbook loop runs both encoders in full at every step on ten copies of the input, with gradients for
all weights, as the authors' code does. Both get the same inputs, settings and noise, and run in turn, in float32 and in
bfloat16. The floor is that of ``floor.py``, by the matrix rate of the processor just before and just after.
"""

from __future__ import annotations

import argparse
import gc
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from floor import explanation_work, rates
from rich.console import Console
from rich.table import Table
from textbook import clip_maps, error_of, spearman
from torch import Tensor

import m2ib

LAYER, BETA, STEPS, SAMPLES = 9, 0.1, 10, 10
SEED = 0
TOKENS = (7, 10, 16, 24)  # of texts


def checkpoint(folder: str) -> str:
    """CLIP ViT-B/32's architecture with seeded random weights, as transformers saves it."""
    from transformers import CLIPConfig, CLIPModel

    torch.manual_seed(0)
    text = {"eos_token_id": 2}  # as in OpenAI's public configuration
    CLIPModel(CLIPConfig(text_config=text)).save_pretrained(folder)
    return folder


def timed(function: Any, repeats: int) -> tuple[float, Any]:
    """The fastest of ``repeats`` runs in seconds, and the last result."""
    best, result = float("inf"), None
    for _ in range(repeats):
        started = time.perf_counter()
        result = function()
        best = min(best, time.perf_counter() - started)
    return best, result


def _name(model: m2ib.Model) -> str:
    return str(model.dtype).removeprefix("torch.")


def _loop(model: m2ib.Model) -> str:
    return f"textbook loop, {_name(model)}"


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
    full: m2ib.Model, other: m2ib.Model, settings: dict[str, Any], pairs: int
) -> dict[int, dict[str, list[float]]]:
    """Rank correlation of another model's maps with the float32 maps, by tokens of the text and side; random images and words."""
    ranks: dict[int, dict[str, list[float]]] = {}
    generator = torch.Generator().manual_seed(2)
    for tokens in TOKENS:
        of_length = ranks.setdefault(tokens, {"image": [], "text": []})
        for _ in range(pairs):
            pixels = torch.randn(3, 224, 224, generator=generator)
            words = torch.randint(300, 40000, (tokens - 2,), generator=generator)
            ids = torch.cat([torch.tensor([49406]), words, torch.tensor([49407])])
            maps = [m2ib.explain(model, image=pixels, text=ids, **settings) for model in (full, other)]
            for side, values in of_length.items():
                values.append(spearman(*(explanation[side].grid.reshape(-1) for explanation in maps)))
    return ranks


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--texts", type=int, default=5, help="of each length, for the rank correlations")
    parser.add_argument("--leaks", type=int, default=200, help="explanations in a row")
    options = parser.parse_args()
    console = Console(width=110)
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
        rounded = m2ib.load_model("clip", checkpoint=source, device="cpu")
    rounded.module.bfloat16().float()
    rows = {  # name: (model, whether by its adapter's own tail)
        "m2ib float32": (full, True),
        "m2ib float32, general tail": (full, False),
        "m2ib bfloat16": (half, True),
    }
    explain = partial(m2ib.explain, image=pixels, text=ids, **settings)
    work = explanation_work(full.module.config, len(ids), layer=LAYER, steps=STEPS, samples=SAMPLES)
    peaks = {name: peak_alone(_name(model), fast) for name, (model, fast) in rows.items()}
    taken: dict[str, list[float]] = {name: [] for name in rows}
    over: dict[str, list[float]] = {name: [] for name in rows}
    slow: dict[str, list[float]] = {"float32": [], "bfloat16": []}
    maps = {}
    for model, fast in rows.values():
        explain(model, fast=fast)  # warm
    for _ in range(options.repeats):
        for name, (model, fast) in rows.items():
            before = max(rates(model.dtype))
            seconds, found = timed(partial(explain, model, fast=fast), 1)
            rate = (before + max(rates(model.dtype))) / 2
            taken[name].append(seconds)
            over[name].append(seconds * rate / work.operations)
            maps[name] = [attribution.capacity for attribution in found]
        for model in (full, half):
            textbook = partial(clip_maps, model.module, pixels, ids, **settings)
            seconds, maps[_loop(model)] = timed(textbook, 1)
            slow[_name(model)].append(seconds)
    loops = {name: statistics.median(each) for name, each in slow.items()}

    columns = "seconds", "times faster", "than float32's", "over the floor", "error", "peak MiB"
    table = Table("one pair, both directions", *columns)
    reference, first = maps[_loop(full)], loops["float32"]
    for model in (full, half):
        seconds, error = loops[_name(model)], error_of(maps[_loop(model)], reference)
        shown = f"{seconds:.2f}", "1", f"{first / seconds:.1f}", "", f"{error:.1e}", ""
        table.add_row(_loop(model), *shown)
    for name, (model, _) in rows.items():
        seconds, floors = statistics.median(taken[name]), statistics.median(over[name])
        ratios = (f"{each / seconds:.1f}" for each in (loops[_name(model)], first))
        error = error_of(maps[name], reference)
        table.add_row(name, f"{seconds:.3f}", *ratios, f"{floors:.2f}", f"{error:.1e}", f"{peaks[name]:.0f}")
    console.print(
        f"CLIP ViT-B/32, {torch.get_num_threads()} threads; medians of {options.repeats}. "
        f"times faster: than the loop in the same dtype, and than that in float32. over the floor: seconds over those of "
        f"{work.operations / 1e9:.0f} GFLOP at the matrix rate. error: largest difference to the float32 loop's map over its "
        "largest value. peak: above the loaded model"
    )
    console.print(table)
    others = {"bfloat16": half, "bfloat16's weights in float32": rounded}
    table = Table(f"Spearman to float32, {options.texts} texts each", "tokens", "side", "median", "least")
    for name, other in others.items():
        for tokens, by_side in fidelity(full, other, settings, pairs=options.texts).items():
            for side, values in by_side.items():
                found = (f"{value:.4f}" for value in (statistics.median(values), min(values)))
                table.add_row(name, str(tokens), side, *found)
    console.print(table)

    if options.leaks:
        hooked, memory = hooks(full.module), []
        for number in range(options.leaks):
            m2ib.explain(full, image=pixels, text=ids, **settings)
            if number + 1 in (options.leaks // 10, options.leaks):
                gc.collect()
                memory.append(resident())
        console.print(
            f"{options.leaks} explanations in a row: resident {memory[0]:.0f} MiB after a tenth of them, "
            f"{memory[-1]:.0f} MiB after all; hooks {hooked} before, {hooks(full.module)} after"
        )


if __name__ == "__main__":
    main()
