"""CLIP ViT-B/32 with random weights on a CUDA device: are its maps right, what do they take, what memory do they need?

    python tests/benchmarks/gpu.py

Minutes, ten at most. What must hold is marked "ok" or "WRONG"; the exit code is 1 where something is wrong or a row failed, 2 where
torch sees no CUDA device. float32 is without TF32 where nothing else is said. Times are medians, from an idle device to an idle one.
The floor is that of ``floor.py`` by this device's own matrix rate, of a product of 8000 x 768 by 768 x 3072: the rows of 16 pairs' fits.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from floor import explanation_work, product_work
from textbook import clip_maps, error_of, spearman
from torch import Tensor
from torch.nn.functional import linear

import m2ib
from m2ib.methods.bottleneck import fit

BETA, STEPS, SAMPLES, SEED = 0.1, 10, 10, 0
TOKENS = (7, 10, 16, 24)  # of texts
TOLERANCE, RANKS = 1e-3, 0.99
Maps = list[np.ndarray]
MIB = 2**20


@dataclass(frozen=True)
class Sizes:
    """Of all rows. The texts' last id is the largest one, by which transformers finds the end of the legacy configurations."""

    text: dict[str, Any] = field(default_factory=lambda: {"eos_token_id": 2})
    vision: dict[str, Any] = field(default_factory=dict)
    layer: int = 9
    repeats: int = 5
    batches: tuple[int, ...] = (1, 8, 32)
    many: tuple[tuple[int, tuple[int, ...]], ...] = ((64, (1, 4, 16, 64)), (256, (16, 64, 256)))
    captions: int = 16
    crowd: int = 256
    run: int = 384
    product: tuple[int, int, int] = (8000, 768, 3072)


_SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4}
REHEARSED = Sizes(
    {**_SMALL, "vocab_size": 100, "bos_token_id": 98, "max_position_embeddings": 24, "eos_token_id": 2},
    {**_SMALL, "image_size": 32, "patch_size": 8},
    layer=1,
    repeats=1,
    batches=(1, 4),
    many=((8, (1, 4)),),
    captions=3,
    crowd=8,
    run=8,
    product=(8, 32, 64),
)


class Bench:
    """The models of one checkpoint, on one device, and what was found so far."""

    def __init__(self, device: torch.device, sizes: Sizes, folder: str) -> None:
        from transformers import CLIPConfig, CLIPModel

        self.device, self.sizes, self.folder = device, sizes, folder
        self.wrong: list[str] = []
        self.config = CLIPConfig(text_config=sizes.text, vision_config=sizes.vision)
        self.settings: dict[str, Any] = {"beta": BETA, "steps": STEPS, "samples": SAMPLES, "seed": SEED}
        torch.manual_seed(0)
        CLIPModel(self.config).save_pretrained(folder)

    def model(self, dtype: str, device: torch.device | None = None) -> m2ib.Model:
        return m2ib.load_model("clip", checkpoint=self.folder, device=device or self.device, dtype=dtype)

    def pairs(self, count: int, tokens: Sequence[int] = TOKENS) -> list[dict[str, Tensor]]:
        """Random images, and texts of each of these lengths in turn."""
        random, size = torch.Generator().manual_seed(2), self.config.vision_config.image_size
        end, found = self.config.text_config.vocab_size - 1, []
        for number in range(count):
            words = torch.randint(1, end - 1, (tokens[number % len(tokens)] - 2,), generator=random)
            ids = torch.cat([torch.tensor([end - 1]), words, torch.tensor([end])])
            found.append({"image": torch.randn(3, size, size, generator=random), "text": ids})
        return found

    def maps(self, model: m2ib.Model, pairs: Sequence[Any], **more: Any) -> list[Maps]:
        """Of each pair both sides, by ``explain_many``."""
        settings = {**self.settings, "layer": self.sizes.layer, **more}
        found = m2ib.explain_many(model, pairs, show_progress=False, **settings)
        return [[attribution.capacity for attribution in each] for each in found]

    def wait(self) -> None:
        """Until the device is idle."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def seconds(self, work: Callable[[], object], repeats: int | None = None) -> float:
        """The median."""
        taken = []
        for _ in range(repeats or self.sizes.repeats):
            self.wait()
            begun = time.perf_counter()
            work()
            self.wait()
            taken.append(time.perf_counter() - begun)
        return statistics.median(taken)

    def peak(self, work: Callable[[], object]) -> int:
        """Bytes that are taken at most above what was taken before, the weights; 0 on a processor, where nothing counts them."""
        if self.device.type != "cuda":
            work()
            return 0
        free_memory()
        torch.cuda.reset_peak_memory_stats(self.device)
        before = torch.cuda.memory_allocated(self.device)
        work()
        self.wait()
        return torch.cuda.max_memory_allocated(self.device) - before

    def rate(self, dtype: torch.dtype) -> float:
        """Operations a second of the product."""
        rows, inside, outside = self.sizes.product
        x, weight = (torch.randn(size, inside).to(self.device, dtype) for size in (rows, outside))
        times = 200

        def launched() -> None:
            for _ in range(times):
                linear(x, weight)

        with torch.no_grad():
            launched()
            if self.device.type == "cuda":
                begun, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                begun.record()
                launched()
                ended.record()
                ended.synchronize()
                seconds = begun.elapsed_time(ended) / 1000
            else:
                seconds = self.seconds(launched, 1)
        return times * product_work(rows, inside, outside).operations / seconds

    def work(self, tokens: int) -> float:
        """Operations of an explanation with a text of so many."""
        layer = self.sizes.layer
        return explanation_work(self.config, tokens, layer=layer, steps=STEPS, samples=SAMPLES).operations

    def say(self, name: str, found: str, holds: bool | None = None) -> None:
        """A row of the table; ``holds``: whether what must be so is so."""
        verdict = "" if holds is None else ", ok" if holds else ", WRONG"
        print(f"{name:<44} {found}{verdict}", flush=True)
        if holds is False:
            self.wrong.append(name)


def free_memory() -> None:
    gc.collect()
    torch.cuda.empty_cache()


@contextmanager
def tf32(on: bool) -> Iterator[None]:
    """Whether float32 is multiplied in TF32; not at all outside."""
    torch.set_float32_matmul_precision("high" if on else "highest")
    torch.backends.cudnn.allow_tf32 = on
    try:
        yield
    finally:
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = False


@contextmanager
def noise_of_float32() -> Iterator[None]:
    """float64 draws other noise of its own; inside it has that of the other dtypes."""
    own = fit.noise_of

    def noise(settings: Any, shape: Any, reads: Any, dtype: torch.dtype, device: Any) -> Iterator[Tensor]:
        return (each.to(dtype) for each in own(settings, shape, reads, torch.float32, device))

    fit.noise_of = noise
    try:
        yield
    finally:
        fit.noise_of = own


def correct(bench: Bench) -> None:
    """float32 against the processor's float64, halves against float32, in batches of every size."""
    kinds = bench.pairs(len(TOKENS))
    with noise_of_float32():
        reference = bench.maps(bench.model("float64", torch.device("cpu")), kinds, batch_size=1)
    single: list[Maps] = []
    for dtype in ("float32", "bfloat16", "float16"):
        model = bench.model(dtype)
        for size in bench.sizes.batches:
            pairs = [
                {side: each.clone() for side, each in kinds[n % len(kinds)].items()}
                for n in range(max(size, len(kinds)))
            ]
            found = bench.maps(model, pairs, batch_size=size)
            name = f"maps in {dtype}, batches of {size}"
            if dtype == "float32":
                single = single or found[: len(kinds)]
                error = max(error_of(maps, reference[n % len(kinds)]) for n, maps in enumerate(found))
                said = f"{error:.1e} from float64 on the CPU, at most {TOLERANCE}"
                bench.say(name, said, error <= TOLERANCE)
                continue
            ranks = [
                min(spearman(maps[side], single[n % len(kinds)][side]) for n, maps in enumerate(found))
                for side in (0, 1)
            ]
            said = f"least Spearman to float32: image {ranks[0]:.4f}, text {ranks[1]:.4f}, at least {RANKS}"
            bench.say(name, said, min(ranks) >= RANKS)


def crowded(bench: Bench) -> None:
    """A batch that is too large for what is left of the memory."""
    model, pairs = bench.model("float32"), bench.pairs(bench.sizes.crowd)
    few = bench.peak(lambda: bench.maps(model, pairs[: len(pairs) // 16 + 1], batch_size=len(pairs)))
    expected: list[Maps] = []
    every = bench.peak(lambda: expected.extend(bench.maps(model, pairs, batch_size=len(pairs))))
    with little_memory(bench, model, few + (every - few) // 3, len(pairs)) as ran:
        found = bench.maps(model, pairs, batch_size=len(pairs))
    error = max(map(error_of, found, expected))
    least = min(ran, default=0)
    said = (
        f"{ran[0]} at once, {least} where memory ended; {len(found)} maps, {error:.1e} from those with memory"
    )
    bench.say("a batch larger than memory", said, least < ran[0] and error <= TOLERANCE)


@contextmanager
def little_memory(bench: Bench, model: m2ib.Model, left: int, images: int) -> Iterator[list[int]]:
    """So many bytes are left to take; gives the numbers of images that were run at once meanwhile.

    A processor's memory is no one's to take: there it is said to suffice for a quarter of the ``images``.
    """
    ran: list[int] = []
    most, taken = images // 4, None
    if bench.device.type == "cuda":
        free_memory()
        free, _ = torch.cuda.mem_get_info(bench.device)
        most, taken = images, torch.empty(max(0, free - left), dtype=torch.uint8, device=bench.device)

    def counted(module: Any, args: Any, given: dict[str, Any]) -> None:
        ran.append(len(given["pixel_values"]))
        if ran[-1] > most:
            raise torch.OutOfMemoryError("out of memory, as rehearsed")

    handle = model.module.vision_model.register_forward_pre_hook(counted, with_kwargs=True)
    try:
        yield ran
    finally:
        handle.remove()
        del taken
        free_memory()


def loops(bench: Bench) -> None:
    """One pair, both sides, against the textbook loop, and over the floor."""
    (pair,) = bench.pairs(1, [10])
    pixels, ids = pair["image"], pair["text"]
    layer, settings = bench.sizes.layer, bench.settings
    work = bench.work(len(ids))
    for dtype, fast in (("float32", False), ("float32", True), ("bfloat16", False)):
        with tf32(fast):
            model = bench.model(dtype)
            explain = partial(m2ib.explain, model, image=pixels, text=ids, layer=layer, **settings)
            maps = [attribution.capacity for attribution in explain()]
            taken, slow, over = [], [], []
            textbook = partial(clip_maps, model.module, pixels, ids, layer, **settings)
            error = error_of(maps, textbook())
            for _ in range(bench.sizes.repeats):
                before = bench.rate(model.dtype)
                taken.append(bench.seconds(explain, 1))
                rate = (before + bench.rate(model.dtype)) / 2
                over.append(taken[-1] * rate / work)
                slow.append(bench.seconds(textbook, 1))
        seconds, loop = statistics.median(taken), statistics.median(slow)
        bench.say(
            f"one pair, {dtype}{', TF32' if fast else ''}",
            f"{seconds:.3f} s, textbook loop {loop:.3f} s, {loop / seconds:.1f} times faster, {statistics.median(over):.2f} times the "
            f"floor at {rate / 1e9:.0f} GFLOP/s, {error:.1e} from the loop",
            error <= TOLERANCE if dtype == "float32" and not fast else None,
        )


def captions(bench: Bench) -> None:
    """Several texts on one image, both sides."""
    model, drawn = bench.model("float32"), bench.pairs(bench.sizes.captions)
    pairs = [{"image": drawn[0]["image"], "text": each["text"]} for each in drawn]
    bench.maps(model, pairs)
    one = bench.seconds(lambda: [bench.maps(model, [pair]) for pair in pairs]) / len(pairs)
    further = (bench.seconds(lambda: bench.maps(model, pairs)) - one) / (len(pairs) - 1)
    said = f"{further:.4f} s, a pair alone {one:.4f} s: {further / one:.2f} of it"
    bench.say(f"each further caption of {len(pairs)}", said)


def many(bench: Bench) -> None:
    """Pairs a second, and over the floor."""
    work = sum(bench.work(tokens) for tokens in TOKENS) / len(TOKENS)
    for dtype in ("float32", "bfloat16"):
        model = bench.model(dtype)
        rate = bench.rate(model.dtype)
        for count, sizes in bench.sizes.many:
            pairs = bench.pairs(count)
            bench.maps(model, pairs[: sizes[-1]], batch_size=sizes[-1])
            for size in sizes:
                seconds = bench.seconds(partial(bench.maps, model, pairs, batch_size=size), 1)
                name = f"{count} pairs, {dtype}, batches of {size}"
                over = seconds / count * rate / work
                bench.say(name, f"{count / seconds:.1f} pairs/s, {over:.1f} times the floor")


def memory(bench: Bench) -> None:
    for dtype in ("float32", "bfloat16"):
        model = bench.model(dtype)
        weights = sum(each.nbytes for each in model.module.parameters()) / MIB
        for size in bench.sizes.batches:
            pairs = bench.pairs(size)
            peak = bench.peak(partial(bench.maps, model, pairs, batch_size=size)) / MIB
            name = f"memory, {dtype}, batches of {size}"
            bench.say(name, f"peak {peak:.0f} MiB above {weights:.0f} MiB of weights")


def workers(bench: Bench) -> None:
    """``run`` here, and on two workers that share the device: what a pair takes once they have begun."""
    if importlib.util.find_spec("pyarrow") is None:
        bench.say("run", "left out: it needs pyarrow (pip install 'm2ib[run]')")
        return
    model, count = bench.model("float32"), bench.sizes.run
    pairs = bench.pairs(3 * count)

    def ran(number: int, using: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            settings = {**bench.settings, "layer": bench.sizes.layer}
            rows = m2ib.run(
                model, pairs[:number], folder, workers=using, errors="raise", show_progress=False, **settings
            )
            assert len(rows) == number

    ran(count, 1)
    rates = []
    for using in (1, 2):
        short, long = (bench.seconds(partial(ran, number, using), 1) for number in (count, 3 * count))
        rates.append(2 * count / (long - short))
        compared = f", {rates[1] / rates[0]:.2f} times one" if using == 2 else ""
        said = f"{rates[-1]:.1f} pairs/s{compared}; {count} pairs with the start {short:.1f} s"
        bench.say(f"run with workers={using} on one device", said)


ROWS = (correct, crowded, loops, captions, many, memory, workers)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rehearse", action="store_true", help=argparse.SUPPRESS)  # tiny, on the CPU
    rehearse = parser.parse_args().rehearse
    # one device, which two workers share; named before torch looks for it
    os.environ["CUDA_VISIBLE_DEVICES"] = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    if not rehearse and not torch.cuda.is_available():
        print("gpu.py: torch sees no CUDA device here; run it where there is one", file=sys.stderr)
        return 2
    begun = time.perf_counter()
    device, sizes = torch.device("cpu" if rehearse else "cuda:0"), REHEARSED if rehearse else Sizes()
    what = "a tiny CLIP on the CPU" if rehearse else torch.cuda.get_device_name()
    print(f"{what}, torch {torch.__version__}, CUDA {torch.version.cuda}")
    with tempfile.TemporaryDirectory() as folder, tf32(False):
        bench = Bench(device, sizes, folder)
        for row in ROWS:
            try:
                row(bench)
            except Exception as error:  # the other rows are told all the same
                bench.say(row.__name__, f"{type(error).__name__}: {error}".splitlines()[0], False)
            free_memory()
    print(f"{time.perf_counter() - begun:.0f} s; wrong: {', '.join(bench.wrong) or 'nothing'}")
    return 1 if bench.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
