"""``python -m m2ib_adapters.imagebind_tiny.train --seed 0 --out weights.safetensors``

Writes the weights and, beside them, a log: one JSON object a line, the last one with the file's SHA-256.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from m2ib_adapters.files import sha256
from m2ib_adapters.imagebind.architecture import Architecture
from m2ib_adapters.imagebind.network import ImageBind
from m2ib_adapters.imagebind_tiny.architecture import ARCHITECTURE
from m2ib_adapters.imagebind_tiny.train.recipe import BOUND, FULL, QUICK
from m2ib_adapters.imagebind_tiny.train.stages import Pool, bind, together


def main() -> None:
    """Train, save, say the hash."""
    parser = argparse.ArgumentParser(prog="python -m m2ib_adapters.imagebind_tiny.train", description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("weights.safetensors"))
    parser.add_argument("--threads", type=int, default=2, help="other numbers may round otherwise")
    parser.add_argument("--quick", action="store_true", help="a few steps, to see that it runs")
    given = parser.parse_args()
    recipe = QUICK if given.quick else FULL
    torch.set_num_threads(given.threads)
    torch.manual_seed(given.seed)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    with given.out.with_suffix(".log.jsonl").open("w", encoding="utf-8") as file:

        def log(line: dict[str, Any]) -> None:
            print(json.dumps(line), flush=True)
            file.write(json.dumps(line) + "\n")
            file.flush()

        module = ImageBind(Architecture.of(ARCHITECTURE)).eval().requires_grad_(False)
        numbers = sum(parameter.numel() for parameter in module.parameters())
        versions = {"torch": torch.__version__, "threads": given.threads}
        log({"seed": given.seed, "parameters": numbers, **versions, "recipe": dataclasses.asdict(recipe)})
        together(module, recipe, given.seed, log)
        save(module, given.out)  # image and text can be used while the others are trained
        pool = Pool(module, recipe, given.seed)
        log({"stage": "pool", "scenes": recipe.pool, "seconds": round(time.perf_counter() - started, 1)})
        for name in BOUND:
            bind(module, name, pool, recipe, given.seed, log)
            save(module, given.out)
        seconds = round(time.perf_counter() - started, 1)
        log({"done": given.out.name, "seconds": seconds, "sha256": sha256(given.out)})


def save(module: ImageBind, path: Path) -> None:
    """The state dict, in half precision."""
    state = {name: tensor.half().contiguous() for name, tensor in module.state_dict().items()}
    save_file(state, path)


if __name__ == "__main__":
    main()
