"""Which scenes are for what. Nothing else in the benchmark knows a scene's seed.

::

    [500,000,000   900,000,000)   test: what is reported
    [900,000,000 1,000,000,000)   tune: what settings may be chosen on
    [2**40 ...                    training

A benchmark's seed has a million of its split to itself, cut into the parts below.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from m2ib.errors import SettingError

Split = Literal["test", "tune"]

SPLITS: dict[str, tuple[int, int]] = {
    "test": (500_000_000, 900_000_000),
    "tune": (900_000_000, 1_000_000_000),
}
BLOCK = 1_000_000
PART = 250_000  # the most scenes that a seed has for one purpose
LOCALISE, RETRIEVE, SINGLE = 0, 1, 2  # parts: scenes to point in, to find each other, of one object


def scene_seeds(split: str, seed: int, count: int, part: int) -> list[int]:
    """The first ``count`` scene seeds of a part of a benchmark's seed.

    Raises :class:`SettingError` for what is not there.
    """
    if split not in SPLITS:
        raise SettingError(f"benchmark: split {split!r} is unknown; it is {' or '.join(map(repr, SPLITS))}")
    first, end = SPLITS[split]
    most = (end - first) // BLOCK
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < most:
        raise SettingError(
            f"benchmark: seed {seed!r} is out of range; the split {split!r} has the seeds 0 to {most - 1}"
        )
    if isinstance(count, bool) or not isinstance(count, (int, np.integer)) or not 2 <= count <= PART:
        raise SettingError(f"benchmark: scenes={count!r} is out of range; give 2 to {PART:,}")
    start = first + int(seed) * BLOCK + part * PART
    return list(range(start, start + int(count)))
