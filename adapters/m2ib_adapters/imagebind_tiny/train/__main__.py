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

from m2ib_adapters.imagebind.network import ImageBind
from m2ib_adapters.imagebind_tiny.architecture import SIZES
from m2ib_adapters.imagebind_tiny.train.recipe import BOUND, FULL, QUICK
from m2ib_adapters.imagebind_tiny.train.stages import Log, bind, pool_images, together
from m2ib_adapters.inputs.media import sha256


def main() -> None:
    """Train, save, say the hash."""
    parser = argparse.ArgumentParser(prog="python -m m2ib_adapters.imagebind_tiny.train", description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("weights.safetensors"))
    parser.add_argument("--threads", type=int, default=2, help="another number rounds otherwise")
    parser.add_argument("--quick", action="store_true", help="a few steps, to see that it runs")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    with given.out.with_suffix(".log.jsonl").open("w", encoding="utf-8") as file:

        def log(line: dict[str, Any]) -> None:
            print(json.dumps(line), flush=True)
            file.write(json.dumps(line) + "\n")
            file.flush()

        train(given, log)


def train(given: argparse.Namespace, log: Log) -> None:
    """All stages, each seeded anew."""
    recipe, started = QUICK if given.quick else FULL, time.perf_counter()
    torch.manual_seed(given.seed)
    module = ImageBind(SIZES).eval().requires_grad_(False)
    numbers = sum(parameter.numel() for parameter in module.parameters())
    versions = {"torch": torch.__version__, "threads": given.threads}
    log({"seed": given.seed, "parameters": numbers, **versions, "recipe": dataclasses.asdict(recipe)})
    torch.manual_seed(1000 * given.seed)
    together(module, recipe, given.seed, log)
    pool = pool_images(module, recipe, given.seed)
    for number, name in enumerate(BOUND, 1):
        torch.manual_seed(1000 * given.seed + number)
        bind(module, name, pool, recipe, given.seed, log)
    save_file({key: value.half().contiguous() for key, value in module.state_dict().items()}, given.out)
    seconds = round(time.perf_counter() - started, 1)
    log({"done": given.out.name, "seconds": seconds, "sha256": sha256(given.out)})


if __name__ == "__main__":
    main()
