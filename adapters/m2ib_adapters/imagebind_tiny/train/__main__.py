"""``python -m m2ib_adapters.imagebind_tiny.train --seed 0 --out weights.safetensors``

Writes the weights and, beside them, a log: one JSON object a line, the last one with the file's SHA-256. What each stage
leaves is kept beside them in float32 until the run is done, so that one that was cut off can go on with ``--resume``.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_model, save_file, save_model

from m2ib_adapters.files import sha256
from m2ib_adapters.imagebind.network import ImageBind
from m2ib_adapters.imagebind_tiny.architecture import SIZES
from m2ib_adapters.imagebind_tiny.train.recipe import BOUND, FULL, QUICK
from m2ib_adapters.imagebind_tiny.train.stages import Log, bind, pool_images, together

_DONE, _SPENT = "done", "seconds"  # what the kept file calls the stages behind it, and their time


def main() -> None:
    """Train, save, say the hash."""
    parser = argparse.ArgumentParser(prog="python -m m2ib_adapters.imagebind_tiny.train", description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("weights.safetensors"))
    parser.add_argument("--threads", type=int, default=2, help="another number rounds otherwise")
    parser.add_argument("--resume", action="store_true", help="go on after the last finished stage")
    parser.add_argument("--quick", action="store_true", help="a few steps, to see that it runs")
    given = parser.parse_args()
    given.recipe = QUICK if given.quick else FULL
    given.kept = given.out.with_suffix(".float32.safetensors")
    torch.set_num_threads(given.threads)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    if given.resume and (reason := _cannot_resume(given)):
        parser.error(reason)
    with given.out.with_suffix(".log.jsonl").open("a" if given.resume else "w", encoding="utf-8") as file:

        def log(line: dict[str, Any]) -> None:
            print(json.dumps(line), flush=True)
            file.write(json.dumps(line) + "\n")
            file.flush()

        train(given, log)


def train(given: argparse.Namespace, log: Log) -> None:
    """All stages, or those that are left. Each is seeded anew, so it does not matter where a run was cut."""
    recipe, kept = given.recipe, given.kept
    started = time.perf_counter()
    torch.manual_seed(given.seed)
    module = ImageBind(SIZES).eval().requires_grad_(False)
    done: list[str] = []
    if given.resume:
        load_model(module, kept)
        metadata = _metadata(kept)
        done = metadata[_DONE].split()
        started -= float(metadata[_SPENT])
        log({"resumed after": done})
    else:
        numbers = sum(parameter.numel() for parameter in module.parameters())
        versions = {"torch": torch.__version__, "threads": given.threads}
        log({"seed": given.seed, "parameters": numbers, **versions, "recipe": dataclasses.asdict(recipe)})
    pool = None
    for number, name in enumerate(("together", *BOUND)):
        if name in done:
            continue
        if name != "together" and pool is None:
            pool = pool_images(module, recipe, given.seed)
        torch.manual_seed(1000 * given.seed + number)
        if pool is None:
            together(module, recipe, given.seed, log)
        else:
            bind(module, name, pool, recipe, given.seed, log)
        done.append(name)
        spent = str(time.perf_counter() - started)
        save_model(module, str(kept), metadata={_DONE: " ".join(done), _SPENT: spent, **_same(given)})
    save_file({key: value.half().contiguous() for key, value in module.state_dict().items()}, given.out)
    kept.unlink()
    seconds = round(time.perf_counter() - started, 1)
    log({"done": given.out.name, "seconds": seconds, "sha256": sha256(given.out)})


def _same(given: argparse.Namespace) -> dict[str, str]:
    """What a run that goes on must have in common with the one that was cut off."""
    recipe = dataclasses.asdict(given.recipe)
    same = {"seed": given.seed, "threads": given.threads, "torch": torch.__version__, "recipe": recipe}
    return {name: json.dumps(value) for name, value in same.items()}


def _metadata(kept: Path) -> dict[str, str]:
    with safe_open(kept, "pt") as file:
        return dict(file.metadata())


def _cannot_resume(given: argparse.Namespace) -> str:
    """Why not; "" if it can."""
    if not given.kept.is_file():
        return f"--resume: there is no {str(given.kept)!r}, which a run that was cut off leaves; start without --resume"
    before = _metadata(given.kept)
    for name, value in _same(given).items():
        if before.get(name) != value:
            return f"--resume: the run that was cut off had {name}={before.get(name)}, not {value}"
    return ""


if __name__ == "__main__":
    main()
