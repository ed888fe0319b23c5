"""Is the model sound? What no map can make up for, measured on scenes with any number of objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from m2ib.benchmark.rows import HEALTH, Result
from m2ib.metrics import auc
from m2ib.scenes import KINDS, Scene


def health(
    seed: int,
    scenes: Sequence[Scene],
    embeddings: Mapping[str, Tensor],
    captions: Tensor,
    queries: Mapping[str, Tensor],
) -> list[Result]:
    """Retrieval among the scenes, and how well a query for one kind tells who holds it.

    embeddings  by modality (N, D), of the scenes, of length 1
    captions    (N, D) of their full captions
    queries     by kind (D,), of texts that name it alone
    """
    found = []
    for modality, rows in embeddings.items():
        values = {"query_auc": query_auc(scenes, rows, queries)}
        if rows is not captions:
            values |= retrieval(scenes, rows @ captions.T)
        found += [
            Result(seed, modality, HEALTH, "", metric, value, len(scenes)) for metric, value in values.items()
        ]
    return found


def retrieval(scenes: Sequence[Scene], cosine: Tensor) -> dict[str, float]:
    """Of the cosines (N, N) of scenes (rows) and captions (columns), both ways."""
    sets = [frozenset(scene.kinds) for scene in scenes]
    found = {}
    for way, table in (("to_text", cosine), ("from_text", cosine.T)):
        nearest = table.argmax(1).tolist()
        found[f"recall_{way}"] = float(np.mean([n == at for n, at in enumerate(nearest)]))
        found[f"kinds_{way}"] = float(np.mean([sets[n] == sets[at] for n, at in enumerate(nearest)]))
    return found | {"kinds_found": (found["kinds_to_text"] + found["kinds_from_text"]) / 2}


def query_auc(scenes: Sequence[Scene], rows: Tensor, queries: Mapping[str, Tensor]) -> float:
    """Mean over the kinds that some scenes hold and some do not; NaN where there is none."""
    found = []
    for kind in KINDS:
        holds = np.array([kind in scene.kinds for scene in scenes], bool)
        cosine = (rows @ queries[kind]).cpu().numpy()  # (N,)
        found.append(auc(cosine, holds))
    known = [value for value in found if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")
