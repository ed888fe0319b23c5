"""One pair on each family of models at real size, with random weights, against the textbook loop.

    python tests/benchmarks/families.py [--families SigLIP2 PE-Core ...] [--repeats 3] [--textbook-steps 2]

The textbook loop is that of ``textbook.py``: both encoders in full at every step on ten copies of the inputs, with gradients
for all weights. It runs what m2ib's own encoders run, on the same positions (texts without padding that is not read), and all
its steps cost the same: with fewer than ten its seconds are scaled up to ten.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from speed import checkpoint
from textbook import error_of, textbook
from torch import Tensor

import m2ib

SETTINGS: dict[str, Any] = {"beta": 0.1, "seed": 0, "samples": 10}
STEPS, WORDS = 10, 10


def open_clip_model(architecture: Any, folder: str) -> m2ib.Model:
    import open_clip

    if isinstance(architecture, str):  # by its configuration, for a name asks for one of its checkpoints
        architecture = open_clip.get_model_config(architecture)
    return m2ib.load_model("open-clip", architecture=architecture, device="cpu")


def biomedical(folder: str) -> m2ib.Model:
    """BiomedCLIP's configuration: timm's ViT-B/16 and a BERT-base of 256 tokens."""
    from transformers import BertConfig, BertTokenizer

    BertConfig().save_pretrained(folder)
    words = {f"w{number}": number for number in range(BertConfig().vocab_size)}
    special = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103}
    words = {word: number for word, number in words.items() if number not in special.values()}
    BertTokenizer(vocab=words | special).save_pretrained(folder)
    vision = {"timm_model_name": "vit_base_patch16_224", "timm_pool": "", "timm_proj": "linear"}
    text = {"hf_model_name": folder, "hf_tokenizer_name": folder, "hf_model_pretrained": False}
    text |= {"hf_proj_type": "mlp", "hf_pooler_type": "cls_last_hidden_state_pooler", "context_length": 256}
    config = {"embed_dim": 512, "vision_cfg": {**vision, "image_size": 224}, "text_cfg": text}
    return open_clip_model(config, folder)


FAMILIES: dict[str, Callable[[str], m2ib.Model]] = {
    "CLIP ViT-B/32": lambda folder: m2ib.load_model("clip", checkpoint=checkpoint(folder), device="cpu"),
    "SigLIP2 ViT-B/16": partial(open_clip_model, "ViT-B-16-SigLIP2"),
    "PE-Core-B-16": partial(open_clip_model, "PE-Core-B-16"),
    "EVA02-B-16": partial(open_clip_model, "EVA02-B-16"),
    "MobileCLIP2-S2": partial(open_clip_model, "MobileCLIP2-S2"),
    "BiomedCLIP": biomedical,
    "CoCa ViT-B/32": partial(open_clip_model, "coca_ViT-B-32"),
}


def inputs_of(model: m2ib.Model) -> dict[str, Tensor]:
    """A random image, and a text of ten tokens; of as many as the model takes, where it reads its padding."""
    module: Any = model.module
    visual = getattr(module, "visual", None)
    size = (224, 224) if visual is None else visual.image_size
    size = (size, size) if isinstance(size, int) else tuple(size)
    pixels = torch.randn(3, *size, generator=torch.Generator().manual_seed(1))
    bert = hasattr(getattr(module, "text", None), "transformer") and hasattr(module.text, "config")
    ends = (101, 102) if bert else (49406, 49407)
    words = torch.randint(300, 20000, (WORDS - 2,), generator=torch.Generator().manual_seed(2))
    ids = torch.cat([torch.tensor([ends[0]]), words, torch.tensor([ends[1]])])
    try:
        model.encoder("text").describe(ids)  # type: ignore[misc]
    except m2ib.InputError as error:
        if "takes exactly" not in str(error):
            raise
        ids = torch.cat([ids, torch.zeros(int(module.text.context_length) - WORDS, dtype=torch.long)])
    return {"image": pixels, "text": ids}


def slow(
    model: m2ib.Model, inputs: dict[str, Tensor], side: str, layer: int, steps: int
) -> tuple[Any, float]:
    """The map of one side by the textbook loop, and its seconds for ten steps."""
    items = {name: model.encoder(name).describe(given).inputs for name, given in inputs.items()}  # type: ignore[misc]
    copies: dict[str, Any] = {
        name: item[None].expand(SETTINGS["samples"], *item.shape) for name, item in items.items()
    }
    names = [side, *(name for name in inputs if name != side)]

    def run() -> tuple[Tensor, Tensor]:
        own, other = (model.encoder(name).embed(copies[name]) for name in names)
        return own, other

    place = model.encoder(side).layer(layer)
    model.module.requires_grad_(True)
    started = time.perf_counter()
    capacity, of_steps = textbook(
        model.module, place.module, run, steps=steps, axis=place.channel_axis, **SETTINGS
    )
    seconds = time.perf_counter() - started + of_steps * (STEPS / steps - 1)
    model.module.requires_grad_(False)
    return capacity[0].numpy(), seconds


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--families", nargs="*", help="parts of their names; none: all")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--textbook-steps", type=int, default=STEPS)
    options = parser.parse_args()
    wanted = [name for name in FAMILIES if any(part in name for part in options.families or [""])]
    warnings.simplefilter("ignore")
    os.environ["HF_HUB_OFFLINE"] = "1"  # no tokenizer is looked for: texts are ids
    console = Console(width=120)
    columns = "image", "text", "s", "by the general tail", "textbook loop", "times faster", "general", "error"
    table = Table(f"one pair, {torch.get_num_threads()} threads, float32", *columns)
    for name in wanted:
        with tempfile.TemporaryDirectory() as folder:
            torch.manual_seed(0)
            model = FAMILIES[name](str(Path(folder) / "model"))
            inputs = inputs_of(model)
            layers = {side: model.encoder(side).default_layer for side in inputs}
            explain = partial(m2ib.explain, model, **inputs, show_progress=False, **SETTINGS)
            taken: dict[bool, list[float]] = {True: [], False: []}
            maps: Any = explain(steps=options.textbook_steps)
            ours = [np.asarray(maps[side].capacity) for side in inputs]
            loops = [
                slow(model, inputs, side, layer, options.textbook_steps) for side, layer in layers.items()
            ]
            for _ in range(options.repeats):
                for fast in taken:
                    started = time.perf_counter()
                    explain(fast=fast, steps=STEPS)
                    taken[fast].append(time.perf_counter() - started)
            fast, general = (statistics.median(each) for each in taken.values())
            loop = sum(seconds for _, seconds in loops)
            error = error_of(
                ours, [capacity.reshape(each.shape) for (capacity, _), each in zip(loops, ours, strict=True)]
            )
            tails = ["own" if model.encoder(side).tail else "general" for side in inputs]
            shown = (
                *tails,
                f"{fast:.2f}",
                f"{general:.2f}",
                f"{loop:.1f}",
                f"{loop / fast:.1f}",
                f"{loop / general:.1f}",
                f"{error:.1e}",
            )
            table.add_row(name, *shown)
            console.print(*shown)
    console.print(table)


if __name__ == "__main__":
    main()
