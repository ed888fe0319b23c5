"""Hostile files and words against whatever m2ib reads; a clean outcome is an answer or one of m2ib's own errors.

    python tests/benchmarks/attacks.py --minutes 20
    python tests/benchmarks/attacks.py --only saved --seed 3 --number 1234     # one of them again, with its traceback

Each attack runs in a process of its own, within bounds of time and memory, and may write nothing outside its folder, ask
nothing of stdin or the network and start nothing. Anything else is a finding: it is printed with its number, and the
exit status is 1. Needs a system with fork.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests" / "benchmarks"), str(ROOT / "tests" / "support")]
TARGETS = ("saved", "readers", "tables", "configs", "models", "cli")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--attacks", type=int, help="so many on each target, in place of --minutes")
    parser.add_argument("--only", choices=TARGETS, action="append", help="may be given several times")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--number", type=int, help="this attack alone")
    parser.add_argument("--said", action="store_true", help="print what every attack was answered")
    asked = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    sys.dont_write_bytecode = True
    with tempfile.TemporaryDirectory(prefix="attacks-") as home:
        Path(home, "mpl").mkdir()
        os.environ |= {
            "MPLCONFIGDIR": f"{home}/mpl",
            "HF_HOME": f"{home}/hf",
            "XDG_CACHE_HOME": f"{home}/cache",
        }
        return _run(asked, Path(home))


def _run(asked: argparse.Namespace, home: Path) -> int:
    from attack.sandbox import attempt

    targets: dict[str, Any] = {}
    for name in asked.only or TARGETS:
        (home / name).mkdir()
        targets[name] = importlib.import_module(f"attack.{name}").Target(home / name)
    counts: Counter[tuple[str, str]] = Counter()
    seconds: Counter[str] = Counter()
    seen: set[str] = set()
    begun, number = time.monotonic(), asked.number or 0
    while True:
        for name, target in targets.items():
            rng = Random(f"{asked.seed}/{name}/{number}")
            before = time.monotonic()
            outcome = attempt(
                lambda folder, target=target, rng=rng: target.attack(rng, folder), home / f"{name}-{number}"
            )
            seconds[name] += time.monotonic() - before
            counts[name, outcome.kind] += 1
            if asked.said or asked.number is not None:
                print(
                    f"{name} {number} {outcome.kind}: {outcome.done}: {outcome.said}\n{outcome.trace}",
                    flush=True,
                )
            elif outcome.kind == "finding":
                _tell(asked.seed, name, number, outcome, seen)
        number += 1
        done = number >= asked.attacks if asked.attacks else time.monotonic() - begun > 60 * asked.minutes
        if done or asked.number is not None:
            break
    print(f"{'target':10}{'attacks':>9}{'refused':>9}{'accepted':>9}{'findings':>9}{'a minute':>10}")
    for name in targets:
        kinds = [counts[name, kind] for kind in ("refused", "accepted", "finding")]
        print(
            f"{name:10}{sum(kinds):9}{kinds[0]:9}{kinds[1]:9}{kinds[2]:9}{60 * sum(kinds) / seconds[name]:10.0f}"
        )
    return int(any(kind == "finding" for _, kind in counts))


def _tell(seed: int, name: str, number: int, outcome: Any, seen: set[str]) -> None:
    """One line, and where it was raised if that is new."""
    print(
        f"FINDING --only {name} --seed {seed} --number {number}: {outcome.done}: {outcome.said}", flush=True
    )
    places = [line for line in outcome.trace.splitlines() if line.startswith("  File")]
    if places and places[-1] not in seen:
        seen.add(places[-1])
        print("\n".join(f"    {line.strip()}" for line in outcome.trace.splitlines()[-9:]), flush=True)


if __name__ == "__main__":
    sys.exit(main())
