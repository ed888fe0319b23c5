"""What is to be done with a chunk of pairs, and what became of it: between an evaluation and where its maps are made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from m2ib.data.pairs import Pair
from m2ib.evaluation.resume import CheckedPairs, KnownPair
from m2ib.evaluation.store import MapOf, MapRecord
from m2ib.evaluation.study import SHUFFLED

Run = tuple[int, str, int]
"""(place, method, seed)."""
Made = tuple[np.ndarray, dict[str, float]]
"""A map and its scores."""


@dataclass(frozen=True)
class ChunkTask:
    """A chunk of pairs, and what is still to be done with it.

    rows   (number in the data, pair)
    todo   runs that are not done, and all of them
    known  what is known of these pairs; None for a new chunk
    look   whether it has to be looked whether they are as they were
    bad    ids of those that cannot be used
    made   by place and method, maps and scores by pair that another seed gives too
    """

    number: int
    rows: Sequence[tuple[int, Pair]]
    todo: Sequence[Run]
    every: Sequence[Run]
    known: Sequence[KnownPair] | None
    look: bool
    bad: frozenset[str] = frozenset()
    made: Mapping[tuple[int, str], Mapping[str, Made]] = field(default_factory=dict)


@dataclass
class ChunkFound:
    """What became of a chunk.

    checked     whether the pairs are as they were, where it was looked
    unembedded  (id, why) of those that have no embedding
    maps        by run, with their scores, and those of its control
    pairs       by run, how many it had to explain
    warnings    of maps and their inputs
    failures    why a map or a score could not be made
    """

    checked: CheckedPairs | None = None
    unembedded: list[tuple[str, str]] = field(default_factory=list)
    maps: dict[Run, list[MapRecord]] = field(default_factory=dict)
    pairs: dict[Run, int] = field(default_factory=dict)
    warnings: list[tuple[MapOf, str]] = field(default_factory=list)
    failures: list[tuple[MapOf, str]] = field(default_factory=list)

    def whole(self, run: Run) -> bool:
        """Whether all maps of a run could be made, and all their scores."""
        place, name, seed = run
        failed = {of[:3] for of, _ in self.failures} & {
            (place, each, seed) for each in (name, name + SHUFFLED)
        }
        return (
            not self.unembedded
            and not failed
            and sum(each.method == name for each in self.maps[run]) == self.pairs[run]
        )
