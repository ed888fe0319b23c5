"""Many pairs of the toy model in :mod:`toy`, and what a run made of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

import m2ib
from toy import toy_model

FEW: Any = {"steps": 2, "samples": 2, "show_progress": False}
WORDS = ("a dog", "two cats asleep on a sofa", "a red cup", "rain", "snow on the roof of a shed")


def model() -> m2ib.Model:
    return toy_model()


def pictures(count: int) -> list[np.ndarray]:
    return list(np.random.default_rng(1).random((count, 8, 8, 3)))


def pairs(count: int) -> list[dict[str, Any]]:
    return [
        {"id": f"p{number}", "image": picture, "text": WORDS[number % len(WORDS)]}
        for number, picture in enumerate(pictures(count))
    ]


def table(folder: Path) -> list[dict[str, Any]]:
    """What stands in a run's folder, sorted, without the times."""
    rows = [row for path in sorted(folder.glob("rows/*.parquet")) for row in pq.read_table(path).to_pylist()]
    rows.sort(key=lambda row: (row["number"], row["method"]))
    return [{name: value for name, value in row.items() if name not in ("seconds", "arrays")} for row in rows]
