"""What interactions and a null cost on CLIP ViT-B/32 (random weights), as multiples of explanations in the same run.

    python tests/benchmarks/interactions.py [--repeats 5]

A text of twelve words. Every ratio is of medians of runs in turn: an explanation of the pair, one of the image side alone
(against the text's embedding), each way to find interactions without the maps, and the image side with ``null=16``.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from speed import checkpoint

import m2ib
from m2ib.activations.reference import References
from m2ib.registry.pair_plan import pair_plan_of

WORDS, NULL = 12, 16
MOST = {"second-order": 3.0, "by-word": 0.6 * WORDS, f"null={NULL}": 12.0}


def text(seed: int) -> torch.Tensor:
    """Ids of a text of so many tokens, each a word, between those that begin and end it."""
    inner = torch.randint(1000, 40000, (WORDS,), generator=torch.Generator().manual_seed(seed))
    return torch.tensor([49406, *inner.tolist(), 49407])


def image(seed: int) -> torch.Tensor:
    return torch.randn(3, 224, 224, generator=torch.Generator().manual_seed(seed))


def found(model: m2ib.Model, way: Any) -> m2ib.Interactions:
    plan = pair_plan_of(way, 0)
    assert plan is not None
    items = [model.item("image", image(0)), model.item("text", text(0))]
    with model.running():
        made = plan.find(model, ("image", "text"), items, References(), fast=True)
    assert made.units[1].number == WORDS
    return made


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = m2ib.load_model("clip", checkpoint=checkpoint(folder), device="cpu")
    vector = m2ib.embedding(model.embed("text", text(0)[None])[0])
    explain = partial(m2ib.explain, model, image=image(0), show_progress=False)
    reference = {"text": [text(seed) for seed in range(1, NULL + 1)]}
    runs: dict[str, Callable[[], Any]] = {
        "one explanation": lambda: explain(text=text(0)),
        "its image side": lambda: explain(text=vector),
        "second-order": lambda: found(model, "second-order"),
        "by-word": lambda: found(model, "by-word"),
        "banzhaf": lambda: found(model, "banzhaf"),
        f"null={NULL}": lambda: explain(text=vector, null=NULL, reference=reference),
    }
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for repeat in range(options.repeats + 1):
        for name, run in runs.items():
            began = time.perf_counter()
            run()
            if repeat:  # the first one warms up
                seconds[name].append(time.perf_counter() - began)
    middle = {name: statistics.median(each) for name, each in seconds.items()}
    table = Table(
        f"{torch.get_num_threads()} threads", "seconds", "of one explanation", "of the image side", "wanted"
    )
    for name, each in middle.items():
        whole, side = each / middle["one explanation"], each / middle["its image side"]
        wanted = f"<= {MOST[name]:g}" if name in MOST else ""
        table.add_row(name, f"{each:.2f}", f"{whole:.2f}", f"{side:.2f}", wanted)
    console = Console()
    console.print(table)
    console.print("wanted: of second-order, of one explanation; of the others, of the image side")


if __name__ == "__main__":
    main()
