"""One pair on each family of models at real size, with random weights, against the textbook loop.

    python tests/benchmarks/families.py [--families SigLIP2 PE-Core ...] [--repeats 3] [--textbook-steps 2]

The textbook loop is that of ``textbook.py``: both encoders in full at every step on ten copies of the inputs, with gradients
for all weights. It runs what m2ib's own encoders run, on the same positions (texts without padding that is not read), and all
its steps cost the same: with fewer than ten its seconds are scaled up to ten.
"""

from __future__ import annotations

import argparse
import copy
import os
import statistics
import sys
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

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))
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


def clap(folder: str) -> m2ib.Model:
    """LAION's configuration, without fusion."""
    sys.path.insert(0, str(ROOT / "plugins" / "m2ib-clap" / "src"))
    from transformers import ClapConfig, ClapFeatureExtractor, ClapModel, ClapProcessor

    from m2ib_clap.adapter import load

    config = ClapConfig()
    processor = ClapProcessor(ClapFeatureExtractor(truncation="rand_trunc"), _words(folder))
    net = ClapModel(config).eval()
    return load(checkpoint=net, device=torch.device("cpu"), dtype=torch.float32, processor=processor)


def _words(folder: str) -> Any:
    """A tokenizer that nobody asks: texts are ids."""
    from sentence_models import word_pieces

    return word_pieces(Path(folder) / "tokenizer")


def bge(folder: str) -> m2ib.Model:
    """bge-base: a BERT-base that is read at its first token."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling
    from transformers import BertConfig, BertModel

    _words(folder)
    BertModel(BertConfig()).save_pretrained(Path(folder) / "tokenizer")
    net = SentenceTransformer(
        modules=[Transformer(str(Path(folder) / "tokenizer")), Pooling(768, "cls"), Normalize()], device="cpu"
    )
    return m2ib.load_model("sentence-transformers", checkpoint=net.eval())


def colmodernvbert(folder: str) -> m2ib.Model:
    """ModernVBERT's sizes, on an image that is not cut: 64 tokens of 1,024 patches."""
    import sentence_models

    sentence_models.colmodernvbert(
        Path(folder), text={}, vision={"image_size": 512, "patch_size": 16}, shuffle=4
    )
    return m2ib.load_model("sentence-transformers", checkpoint=folder, device="cpu")


FAMILIES: dict[str, Callable[[str], m2ib.Model]] = {
    "CLIP ViT-B/32": lambda folder: m2ib.load_model("clip", checkpoint=checkpoint(folder), device="cpu"),
    "SigLIP2 ViT-B/16": partial(open_clip_model, "ViT-B-16-SigLIP2"),
    "PE-Core-B-16": partial(open_clip_model, "PE-Core-B-16"),
    "EVA02-B-16": partial(open_clip_model, "EVA02-B-16"),
    "MobileCLIP2-S2": partial(open_clip_model, "MobileCLIP2-S2"),
    "BiomedCLIP": biomedical,
    "CoCa ViT-B/32": partial(open_clip_model, "coca_ViT-B-32"),
    "CLAP": clap,
    "bge-base text-text": bge,
    "ColModernVBERT": colmodernvbert,
}


def inputs_of(model: m2ib.Model) -> list[tuple[str, Any]]:
    """A random image or sound, and a text of ten tokens; of as many as the model takes, where it reads its padding."""
    draw = torch.Generator().manual_seed(2)
    words = torch.randint(300, 20000, (WORDS - 2,), generator=draw)
    if "audio" in model.modalities:
        sound = 20 * torch.randn(1, 1001, 64, generator=draw) - 40  # dB
        return [("audio", sound), ("text", torch.cat([torch.tensor([0]), words, torch.tensor([2])]))]
    if model.similarity.sets:
        pixels = torch.randint(0, 255, (512, 512, 3), generator=draw, dtype=torch.uint8)
        return [("query", "a bird on a branch near the house"), ("image", pixels.numpy())]
    if "image" not in model.modalities:
        one, other = (torch.randint(5, 30, (2, WORDS), generator=draw)).tolist()
        return [("text", torch.tensor(one)), ("text", torch.tensor(other))]
    module: Any = model.module
    visual = getattr(module, "visual", None)
    size = (224, 224) if visual is None else visual.image_size
    size = (size, size) if isinstance(size, int) else tuple(size)
    pixels = torch.randn(3, *size, generator=torch.Generator().manual_seed(1))
    bert = hasattr(getattr(module, "text", None), "transformer") and hasattr(module.text, "config")
    ends = (101, 102) if bert else (49406, 49407)
    ids = torch.cat([torch.tensor([ends[0]]), words, torch.tensor([ends[1]])])
    try:
        model.encoder("text").describe(ids)  # type: ignore[misc]
    except m2ib.InputError as error:
        if "takes exactly" not in str(error):
            raise
        ids = torch.cat([ids, torch.zeros(int(module.text.context_length) - WORDS, dtype=torch.long)])
    return [("image", pixels), ("text", ids)]


def slow(
    model: m2ib.Model, inputs: list[tuple[str, Any]], side: int, layer: int, steps: int
) -> tuple[Any, float]:
    """The map of one side by the textbook loop, and its seconds for ten steps."""
    copies = [model.collate(name, [model.item(name, given)] * SETTINGS["samples"]) for name, given in inputs]
    name, other_name = inputs[side][0], inputs[1 - side][0]
    # Where both sides run the same blocks, the other one has blocks of its own, at which nothing is changed.
    shared = {*model.encoder(name).blocks} & {*model.encoder(other_name).blocks}
    other_model = copy.deepcopy(model) if shared else model
    leads = model.similarity.leads([each for each, _ in inputs], side)

    def run() -> tuple[Tensor, Tensor]:
        own = model.encoder(name).embed(copies[side])
        return own, other_model.encoder(other_name).embed(copies[1 - side])

    def close(own: Tensor, other: Tensor) -> Tensor:
        return model.similarity.of(*((own, other) if leads else (other, own)))

    model.module.requires_grad_(True)
    started = time.perf_counter()
    capacity, of_steps = textbook(
        model.module, model.encoder(name).layer(layer), run, steps=steps, close=close, **SETTINGS
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
    columns = "tail", "tail", "s", "by the general tail", "textbook loop", "times faster", "general", "error"
    table = Table(f"one pair, {torch.get_num_threads()} threads, float32", *columns)
    for name in wanted:
        with tempfile.TemporaryDirectory() as folder:
            torch.manual_seed(0)
            model = FAMILIES[name](str(Path(folder) / "model"))
            inputs = inputs_of(model)
            layers = [model.encoder(name).default_layer for name, _ in inputs]
            explain = partial(m2ib.explain, model, *inputs, show_progress=False, **SETTINGS)
            taken: dict[bool, list[float]] = {True: [], False: []}
            maps: Any = explain(steps=options.textbook_steps)
            ours = [np.asarray(each.capacity) for each in maps]
            loops = [
                slow(model, inputs, side, layer, options.textbook_steps) for side, layer in enumerate(layers)
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
            tails = [f"{side}: {'own' if model.encoder(side).tail else 'general'}" for side, _ in inputs]
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
