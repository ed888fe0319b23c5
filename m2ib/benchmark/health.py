"""Is the model sound? What no map can make up for, measured on scenes with any number of objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from m2ib.benchmark.scores import HEALTH, Means
from m2ib.contract.model import Model
from m2ib.metrics import auc
from m2ib.scenes import KINDS, Scene, query

TEXT = "text"
_AT_ONCE = 64  # inputs embedded together


def health(model: Model, modalities: Sequence[str], seed: int, scenes: Sequence[Scene]) -> Means:
    """Retrieval among the scenes by their captions, and how well a query for one kind tells who holds it."""
    rows = {
        modality: _embedded(model, modality, [scene.inputs[modality] for scene in scenes])
        for modality in dict.fromkeys([*modalities, TEXT])
    }
    queries = dict(zip(KINDS, _embedded(model, TEXT, [query(kind) for kind in KINDS]), strict=True))
    found: Means = {}
    for modality, embeddings in rows.items():
        values = {"query_auc": query_auc(scenes, embeddings, queries)}
        if modality != TEXT:
            values |= retrieval(scenes, embeddings @ rows[TEXT].T)
        for metric, value in values.items():
            found[seed, (modality, HEALTH, "", metric)] = value, len(scenes)
    return found


def _embedded(model: Model, modality: str, raws: Sequence[Any]) -> Tensor:
    """(N, D) of length 1, made in batches."""
    items = [model.item(modality, raw) for raw in raws]
    batches = (items[start : start + _AT_ONCE] for start in range(0, len(items), _AT_ONCE))
    return torch.cat([model.embed(modality, model.collate(modality, batch)) for batch in batches])


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
