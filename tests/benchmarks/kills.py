"""SIGKILL at any moment: ``python tests/benchmarks/kills.py --kills 200`` kills what writes results, again and again, and looks
what is left. Of ``save`` and ``explain --out --force`` that is the whole of the older or of the newer results; ``run`` (here, on two
processes, on Ray), ``evaluate`` and ``tune`` go on to the figures of one that was left alone. The exit code is 1 where something was lost or mixed.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

import m2ib
import m2ib.corpus.shards
from m2ib.cli import main

PAIRS = ("--model", "imagebind-tiny", "--device", "cpu", "--data", "scenes")
EVALUATE = (
    *(
        "evaluate",
        *PAIRS,
        "--seeds",
        "0",
        "1",
        "--methods",
        "m2ib",
        "gradcam",
        "--metrics",
        "drop",
        "iou",
        "rank-correlation",
    ),
    *("data.count=6", "settings.steps=2", "settings.samples=2", "batch_size=1"),
)
TUNE = (
    *("tune", *PAIRS, "--side", "image", "--metric", "drop", "data.split=tune", "pairs=2", "held_out=2"),
    *("grid.layer=[2]", "grid.beta=[0.1,1]", "grid.variance=[1]", "settings.steps=2", "settings.samples=2"),
)
RUN = (
    *("run", *PAIRS, "data.count=24", "batch_size=2", "settings.steps=2", "settings.samples=2"),
    *("--method", "m2ib,gradcam"),
)
TEXTS = ("a tabby cat", "a cup of coffee")


@dataclass
class Tally:
    """kills, of them after which the older and the newer results were there, and what was lost or mixed."""

    kills: int = 0
    older: int = 0
    newer: int = 0
    faults: int = 0

    def fault(self, text: str) -> None:
        self.faults += 1
        print(f"  {text}", flush=True)


def forked(work: Callable[[], object]) -> int:
    """Begin the work in a fork, which says nothing and never comes back; its number."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            with (
                open(os.devnull, "w") as nowhere,
                contextlib.redirect_stdout(nowhere),
                contextlib.redirect_stderr(nowhere),
            ):
                work()
            status = 0
        finally:
            os._exit(status)
    return child


def killed(work: Callable[[], object], longest: float, earliest: float = 0) -> bool:
    """Do the work in a fork; whether it was killed before it came to its end, which is between so many seconds from now."""
    child = forked(work)
    time.sleep(random.uniform(earliest, longest))
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def seconds(work: Callable[[], object]) -> float:
    """How long it takes in a fork."""
    begun = time.perf_counter()
    if os.waitpid(forked(work), 0)[1] != 0:
        raise SystemExit("the command does not work when it is left alone")
    return time.perf_counter() - begun


def switched(folder: Path, kills: int, write: Callable[[int], object], whole: Callable[[], int]) -> Tally:
    """Two results in turn in one folder.

    write  the first or the second of them, over what is there
    whole  which of them is there; raises where it is neither
    """
    tally = Tally()
    write(0)
    known, longest = 0, seconds(lambda: write(0))
    while tally.kills < kills:
        asked = 1 - known
        again = partial(late_write, write, asked, longest)
        tally.kills += killed(again, 2 * longest, 0.5 * longest)
        try:
            found = whole()
        except Exception as error:
            tally.fault(f"{folder.name}: {type(error).__name__}: {error}")
            shutil.rmtree(folder)
            write(known)
            continue
        if found == known:
            tally.older += 1
        else:
            tally.newer += 1
        known = found
    write(known)
    if left := [path.name for path in folder.iterdir() if path.name.startswith(".m2ib-")]:
        tally.fault(f"{folder.name}: {left} are left behind")
    return tally


def late_write(write: Callable[[int], object], asked: int, longest: float) -> None:
    """Again and again, so that the kill meets the writing."""
    ends = time.perf_counter() + 3 * longest
    while time.perf_counter() < ends:
        write(asked)


def explanations() -> tuple[m2ib.Explanation, m2ib.Explanation]:
    import skimage.data

    model = m2ib.load_model("photo", device="cpu", size=64)
    first, second = (
        m2ib.explain(model, image=skimage.data.cat(), text=text, steps=2, samples=2) for text in TEXTS
    )
    return first, second


def saving(place: Path, kills: int) -> Tally:
    both, folder = explanations(), place / "save"

    def whole() -> int:
        found = m2ib.load_explanation(folder)
        number = [each.similarity for each in both].index(found.similarity)
        for one, other in zip(found, both[number], strict=True):
            assert np.array_equal(one.grid, other.grid), "the maps are of another text"
        return number

    return switched(folder, kills, lambda number: both[number].save(folder, force=True), whole)


def explaining(place: Path, kills: int) -> Tally:
    import skimage.data
    from PIL import Image

    Image.fromarray(skimage.data.cat()).save(place / "cat.png")
    folder = place / "explain"
    words = [
        "explain",
        "--model",
        "photo",
        "--device",
        "cpu",
        "--image",
        str(place / "cat.png"),
        "--out",
        str(folder),
    ]
    words += ["--force", "options.size=64", "steps=2", "samples=2"]

    def write(number: int) -> None:
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            assert main([*words, "--text", TEXTS[number]]) == 0

    similarities = []
    for number in (0, 1):
        write(number)
        similarities.append(m2ib.load_explanation(folder).similarity)

    def whole() -> int:
        found = m2ib.load_explanation(folder)
        number = similarities.index(found.similarity)
        if (folder / "index.html").exists():
            page = (folder / "index.html").read_text(encoding="utf-8")
            assert f"{found.similarity:.4f}" in page, "the page is of another explanation"
        return number

    return switched(folder, kills, write, whole)


def going_on(name: str, command: tuple[str, ...], place: Path, kills: int) -> Tally:
    """One command, killed and given again until it comes to its end, as often as it takes."""
    tally = Tally()

    def run(folder: Path) -> None:
        if main([*command, "--out", str(folder)]) != 0:
            os._exit(1)

    longest = seconds(lambda: run(place / name))
    wanted = figures(place / name)
    rounds = 0
    while tally.kills < kills:
        folder = place / f"{name} {rounds}"
        rounds += 1
        for _ in range(8):
            if tally.kills < kills:
                tally.kills += killed(lambda folder=folder: run(folder), 0.6 * longest)  # type: ignore[misc]
        try:
            seconds(lambda folder=folder: run(folder))  # type: ignore[misc]
            if figures(folder) != wanted:
                tally.fault(f"{folder.name}: its figures are not those of a run that was left alone")
        except SystemExit:
            tally.fault(f"{folder.name}: it does not go on")
        shutil.rmtree(folder)
    return tally


def figures(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """All tables without the times."""
    found = {}
    if (folder / "rows").is_dir():
        rows = pq.read_table(folder / "rows").drop_columns(["seconds"]).to_pylist()
        found["rows"] = sorted(rows, key=lambda row: (row["number"], row["method"]))
    for path in sorted(folder.glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            found[path.name] = [
                {k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)
            ]
    return found


def run() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="in all; default: %(default)s")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    random.seed(given.seed)
    each = -(-given.kills // 7)
    m2ib.corpus.shards._PATIENCE = -1  # a shard after each batch
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        tallies = {
            "save": saving(place, each),
            "explain --out": explaining(place, each),
            "run": going_on("run", RUN, place, each),
            "run, processes": going_on("run 2", (*RUN, "--workers", "2"), place, each),
            "run, Ray": going_on("run ray", (*RUN, "--workers", "2", "--ray", "local"), place, each),
            "evaluate": going_on("evaluate", EVALUATE, place, each),
            "tune": going_on("tune", TUNE, place, each),
        }
    print(f"\n{'':14} {'kills':>6} {'older':>6} {'newer':>6} {'faults':>6}")
    for name, tally in tallies.items():
        print(f"{name:14} {tally.kills:6} {tally.older:6} {tally.newer:6} {tally.faults:6}")
    return int(any(tally.faults for tally in tallies.values()))


if __name__ == "__main__":
    sys.exit(run())
