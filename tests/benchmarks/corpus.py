"""Many pairs: in batches against one by one, on workers, what a run costs beyond explaining, and what memory it needs.

    python tests/benchmarks/corpus.py [many captions seeds workers overhead ray memory] [--pairs 64] [--repeats 5]

Each part prints its table. ``many``, ``captions``, ``seeds`` and ``overhead`` are CLIP ViT-B/32 with random weights, the others imagebind-tiny on drawn
scenes. What is compared runs in turn, in one process, and the medians are given.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from speed import checkpoint, resident

import m2ib
from m2ib.corpus.engine import chunks_of, stream
from m2ib.corpus.explain import ExplainPairs
from m2ib.corpus.processes import Processes
from m2ib.corpus.ray_data import RayData
from m2ib.corpus.rows import rows_of
from m2ib.corpus.worker import FEW_KERNELS
from m2ib.scenes import scene

CONSOLE = Console()
BATCHES = (1, 4, 8, 16)
CAPTIONS = 16
SEEDS = 5
QUIET: Any = {"show_progress": False}


def in_turn(what: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """The median seconds of each, one after the other, again and again."""
    taken: dict[str, list[float]] = {name: [] for name in what}
    for _ in range(repeats):
        for name, work in what.items():
            begun = time.perf_counter()
            work()
            taken[name].append(time.perf_counter() - begun)
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


def clip() -> m2ib.Model:
    with tempfile.TemporaryDirectory() as folder:
        return m2ib.load_model("clip", checkpoint=checkpoint(folder), device="cpu")


def clip_pairs(count: int) -> list[dict[str, Any]]:
    """Random images, and texts of 7 to 24 tokens."""
    random = torch.Generator().manual_seed(2)
    found = []
    for number in range(count):
        words = torch.randint(300, 40000, (5 + number % 18,), generator=random)
        ids = torch.cat([torch.tensor([49406]), words, torch.tensor([49407])])
        found.append({"image": torch.randn(3, 224, 224, generator=random), "text": ids})
    return found


def scene_pairs(count: int) -> Iterator[dict[str, Any]]:
    """No two alike."""
    for seed in range(count):
        drawn = scene(seed)
        yield {"image": drawn.inputs["image"], "text": drawn.text}


def explained(model: m2ib.Model, pairs: Sequence[Any], **more: Any) -> None:
    """By ``explain_many``, to the end."""
    for _ in m2ib.explain_many(model, pairs, **more, **QUIET):
        pass


def many(options: argparse.Namespace) -> None:
    model, pairs = clip(), clip_pairs(options.pairs)

    def one_by_one() -> None:
        for pair in pairs:
            m2ib.explain(model, **pair, **QUIET)

    what: dict[str, Callable[[], object]] = {"one by one": one_by_one}
    what |= {f"batches of {size}": partial(explained, model, pairs, batch_size=size) for size in BATCHES}
    what["batches by default"] = partial(explained, model, pairs)
    explained(model, pairs)
    taken = in_turn(what, options.repeats)
    table = Table(f"{len(pairs)} pairs, CLIP", "seconds", "times faster")
    for name, seconds in taken.items():
        table.add_row(name, f"{seconds:.2f}", f"{taken['one by one'] / seconds:.2f}")
    CONSOLE.print(table)


def captions(options: argparse.Namespace) -> None:
    model, drawn = clip(), clip_pairs(CAPTIONS)
    pairs = [{"image": drawn[0]["image"], "text": each["text"]} for each in drawn]

    def alone() -> None:
        for pair in pairs:
            explained(model, [pair])

    alone()
    what = {"alone": alone, "together": partial(explained, model, pairs)}
    taken = in_turn(what, options.repeats)
    one = taken["alone"] / CAPTIONS
    further = (taken["together"] - one) / (CAPTIONS - 1)
    CONSOLE.print(
        f"{CAPTIONS} captions of one image, CLIP, both sides: a pair alone {one:.3f} s, each further caption {further:.3f} s, "
        f"{further / one:.2f} of it"
    )


def seeds(options: argparse.Namespace) -> None:
    model, (pair,) = clip(), clip_pairs(1)

    def apart() -> None:
        for seed in range(SEEDS):
            m2ib.explain(model, **pair, seed=seed, **QUIET)

    one, together = (partial(m2ib.explain, model, **pair, seeds=count, **QUIET) for count in (1, SEEDS))
    together()
    taken = in_turn({"one": one, "together": together, "apart": apart}, options.repeats)
    CONSOLE.print(
        f"CLIP, both sides: one seed {taken['one']:.3f} s, seeds={SEEDS} {taken['together']:.3f} s, {taken['together'] / taken['one']:.2f} times one and "
        f"{taken['together'] / taken['apart']:.2f} times {SEEDS} calls"
    )


def workers(options: argparse.Namespace) -> None:
    model, pairs = m2ib.load_model("imagebind-tiny", device="cpu"), list(scene_pairs(options.small))

    def on(count: int) -> Callable[[], object]:
        def work() -> None:
            with tempfile.TemporaryDirectory() as folder:
                m2ib.run(model, pairs, folder, workers=count, **QUIET)

        return work

    taken = in_turn({"one process": on(1), "two, half the threads each": on(2)}, options.repeats)
    first = next(iter(taken.values()))
    table = Table(
        f"{len(pairs)} pairs, imagebind-tiny, {torch.get_num_threads()} threads", "seconds", "times faster"
    )
    for name, seconds in taken.items():
        table.add_row(name, f"{seconds:.2f}", f"{first / seconds:.2f}")
    CONSOLE.print(table)
    CONSOLE.print("With the start of the workers, some seconds.")


def overhead(options: argparse.Namespace) -> None:
    model, pairs = clip(), clip_pairs(options.pairs)

    def written() -> None:
        with tempfile.TemporaryDirectory() as folder:
            m2ib.run(model, pairs, folder, **QUIET)

    explained(model, pairs)
    what = {"explain_many": partial(explained, model, pairs), "run": written}
    taken = in_turn(what, options.repeats)
    more = taken["run"] / taken["explain_many"] - 1
    CONSOLE.print(
        f"{len(pairs)} pairs, CLIP: explain_many {taken['explain_many']:.2f} s, run {taken['run']:.2f} s: {more:+.1%}, "
        f"{(taken['run'] - taken['explain_many']) / len(pairs) * 1000:.1f} ms a pair"
    )


def steady(backend: Any, job: ExplainPairs, pairs: Sequence[Any]) -> float:
    """Pairs a second, from when the first results are there."""
    begun, done = 0.0, 0
    for chunk in stream(chunks_of(rows_of(pairs, "benchmark").rows, 16), job, backend):
        if begun:
            done += len(chunk)
        else:
            begun = time.perf_counter()
    return done / (time.perf_counter() - begun)


def ray(options: argparse.Namespace) -> None:
    model, pairs = m2ib.load_model("imagebind-tiny", device="cpu"), list(scene_pairs(options.small))
    job = ExplainPairs(model, [{}])
    rates: dict[str, list[float]] = {"two processes": [], "Ray, two actors": []}
    for _ in range(options.repeats):
        rates["two processes"].append(steady(Processes(2), job, pairs))
        rates["Ray, two actors"].append(steady(RayData("local", 2), job, pairs))
    medians = {name: statistics.median(each) for name, each in rates.items()}
    table = Table(f"{len(pairs)} pairs, imagebind-tiny", "pairs a second", "of the first")
    for name, rate in medians.items():
        table.add_row(name, f"{rate:.1f}", f"{rate / medians['two processes']:.2f}")
    CONSOLE.print(table)


def memory(options: argparse.Namespace) -> None:
    model = m2ib.load_model("imagebind-tiny", device="cpu")
    seen: list[tuple[int, float]] = []
    given, over = [0], threading.Event()

    def pairs() -> Iterator[Any]:
        for pair in scene_pairs(options.long):
            given[0] += 1
            yield pair

    def watch() -> None:
        while not over.wait(0.05):
            seen.append((given[0], resident()))

    before = resident()
    watching = threading.Thread(target=watch, daemon=True)  # a run that fails does not wait for it
    watching.start()
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        table = m2ib.run(model, pairs(), folder, **QUIET)
        seconds = time.perf_counter() - begun
        size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
        rows = len(table)
    over.set()
    watching.join()
    early = max(each for number, each in seen if number <= 100)
    CONSOLE.print(
        f"{rows} pairs in {seconds:.0f} s: {max(each for _, each in seen) - before:.0f} MiB at most above the loaded model, "
        f"{early - before:.0f} MiB of them by pair 100, {seen[-1][1] - before:.0f} MiB at the end; the folder has {size / rows / 1024:.1f} kiB a pair"
    )


PARTS = {
    "many": many,
    "captions": captions,
    "seeds": seeds,
    "workers": workers,
    "overhead": overhead,
    "ray": ray,
    "memory": memory,
}


def main() -> None:
    os.environ.update(FEW_KERNELS | os.environ)  # as the commands do
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=[*PARTS])
    parser.add_argument("--pairs", type=int, default=64, help="of CLIP")
    parser.add_argument("--small", type=int, default=1600, help="of imagebind-tiny, for workers")
    parser.add_argument("--long", type=int, default=10_000, help="of imagebind-tiny, for memory")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    for name in options.parts:
        PARTS[name](options)


if __name__ == "__main__":
    main()
