"""An evaluation that is killed at any moment and goes on gives the figures of one that was left alone."""

from __future__ import annotations

import csv
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

WORDS = (
    *("--model", "imagebind-tiny", "--device", "cpu", "--data", "scenes", "--seeds", "0", "1"),
    *("--methods", "m2ib", "gradcam", "random", "--metrics", "drop", "increase", "deletion", "iou"),
    *("rank-correlation", "data.count=30", "settings.steps=2", "curve_steps=10", "batch_size=1"),
)

# One whole run, in which everything is imported; then for each line a process that runs the same command elsewhere.
RUNS = """
import os, sys
from m2ib.cli import main
words = sys.argv[1:]
code = main([*words, "whole"])
print("ready", flush=True)
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        os._exit(main([*words, "cut"]))
    print(child, flush=True)
    print("ended", os.waitpid(child, 0)[1], flush=True)
"""


def without_seconds(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def units(folder: Path) -> int:
    """How many units of work are done."""
    try:
        with sqlite3.connect(f"file:{folder / 'evaluation.sqlite'}?mode=ro", uri=True) as connection:
            found: int = connection.execute("SELECT count(*) FROM done").fetchone()[0]
        connection.close()
    except sqlite3.Error:  # not there yet
        return 0
    return found


def test_killed_ten_times(tmp_path: Path) -> None:
    runs = subprocess.Popen(
        [sys.executable, "-c", RUNS, "evaluate", *WORDS, "--out"],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert runs.stdin is not None
    assert runs.stdout is not None

    def next_line(*beginnings: str) -> str:
        """Past what the command itself prints."""
        for line in runs.stdout or ():
            if line.startswith(beginnings) or (not beginnings and line.strip().isdecimal()):
                return line.strip()
        raise AssertionError("the runs came to an end")

    def start() -> int:
        assert runs.stdin is not None
        runs.stdin.write("again\n")
        runs.stdin.flush()
        return int(next_line())

    with runs:
        next_line("ready")
        total = units(tmp_path / "whole")
        moments, cut, killed_at = random.Random(0), tmp_path / "cut", []
        for number in range(10):
            child = start()
            goal = 0 if number == 0 else units(cut) + moments.randint(1, total // 14)
            until = time.monotonic() + 30
            while units(cut) < goal and time.monotonic() < until:
                time.sleep(0.005)
            time.sleep(moments.uniform(0, 0.2))  # somewhere in the next unit
            os.kill(child, signal.SIGKILL)
            assert next_line("ended") == f"ended {signal.SIGKILL.value}"
            killed_at.append(units(cut))
        assert killed_at[-1] < total
        assert len(set(killed_at)) > 5
        start()
        assert next_line("ended") == "ended 0"
        runs.stdin.close()
    assert units(cut) == total
    assert (cut / "samples.csv").read_bytes() == (tmp_path / "whole" / "samples.csv").read_bytes()
    assert without_seconds(cut / "results.csv") == without_seconds(tmp_path / "whole" / "results.csv")
    assert len(without_seconds(cut / "results.csv")) > 10
