"""A method that only molecules have: heavier atoms are higher."""

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor

import m2ib
from m2ib.methods import Batch, Map, Method, PreparedBatch

WEIGHTS = {
    "C": 12.0,
    "N": 14.0,
    "O": 16.0,
    "F": 19.0,
    "P": 31.0,
    "S": 32.1,
    "Cl": 35.5,
    "Br": 79.9,
    "I": 126.9,
    "B": 10.8,
    "Na": 23.0,
    "*": 0.0,
}


def heavy() -> Method:
    def prepare(batch: Batch, settings: Any) -> PreparedBatch:
        def maps(targets: Tensor, advance: Callable[[], None]) -> list[Map]:
            advance()
            return [
                Map(np.array([WEIGHTS[name.capitalize()] for name in item.view["atoms"]]))
                for item in batch.items
            ]

        return PreparedBatch(batch.embed(), maps)

    def refuse(encoder: m2ib.Encoder) -> str | None:
        return None if encoder.modality == "smiles" else "it weighs atoms, and there are none"

    return Method(prepare, unit="u", refuse=refuse, additive=False)
