"""Time of every method, and of the preset ``sharp``, for one image against one text on CLIP ViT-B/32 (random weights), in one run.

    python tests/benchmarks/methods.py [--masks 2048] [--repeats 3]

One side alone is timed, with the other side's embedding known, as ``m2ib evaluate`` does. Methods that hide parts of
the input run once, the others ``--repeats`` times, and the fastest run counts.
"""

from __future__ import annotations

import argparse
import tempfile

import torch
from rich.console import Console
from rich.table import Table
from speed import checkpoint, inputs, timed

import m2ib
from m2ib.pipeline import explain_side
from m2ib.registry.plan import plan_of


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--masks", type=int, default=2048)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = m2ib.load_model("clip", checkpoint=checkpoint(folder), device="cpu")
    pixels, ids = inputs()
    item, text = model.item("image", pixels), model.item("text", ids)
    batch = model.collate("image", [item])
    target = model.embed("text", model.collate("text", [text]))  # (1, D)
    asked = {
        info.name: (info, {})
        for info in m2ib.list_methods()
        if not isinstance(info.spec, m2ib.PairMethodSpec)
    }
    asked["m2ib, sharp"] = (asked["m2ib"][0], {"preset": "sharp"})
    seconds: dict[str, float] = {}
    for name, (info, settings) in asked.items():
        given = {"masks": options.masks} if info.spec.hides else settings
        plan = plan_of(info.name, {"seed": 0, **given}, info=info)
        if not info.spec.hides:  # what is made once, before the clock runs
            explain_side(model, "image", [item], batch, target, plan)
        repeats = 1 if info.spec.hides else options.repeats
        seconds[name], _ = timed(
            lambda plan=plan: explain_side(model, "image", [item], batch, target, plan), repeats
        )
    table = Table("method", "seconds", "over m2ib's", title=f"{torch.get_num_threads()} threads")
    for name, took in seconds.items():
        table.add_row(name, f"{took:.3f}", f"{took / seconds['m2ib']:.2f}")
    Console().print(table)
    for name in ("m2ib", "m2ib, sharp"):
        for slow in ("rise", "kernelshap"):
            print(
                f"{name} is {seconds[slow] / seconds[name]:.1f} times faster than {slow} with {options.masks} masks"
            )


if __name__ == "__main__":
    main()
